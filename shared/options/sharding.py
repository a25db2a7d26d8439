"""The options of the lesson `sharding`."""

from dataclasses import dataclass
from typing import Literal

from shared.options.distributed import RanksConfig


@dataclass(frozen=True)
class ShardingConfig(RanksConfig):
    """A training by several processes, each of which keeps a part of the model."""

    strategy: Literal["fsdp", "deepspeed_stage_2"] = "fsdp"
    """What is dealt out: with fsdp weights, gradients and the optimizer's state, with
    deepspeed_stage_2 all but the weights. In Lightning the second needs DeepSpeed and a
    GPU."""
