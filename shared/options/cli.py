"""The options of the lesson `cli`, and the keys under which both halves have them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from shared.checkpoints.lightning_format import from_loops
from shared.checkpoints.trained import read_model
from shared.checkpoints.whole_files import CheckpointError
from shared.datasets.catalog import prepare, resolve_auto
from shared.options.train import AnyConfig, Count, TrainConfig
from shared.runtime.errors import UsageError

KEYS = {
    "seed": "seed_everything",
    "threads": "threads",
    "accelerator": "trainer.accelerator",
    "max_epochs": "trainer.max_epochs",
    "limit_train_batches": "trainer.limit_train_batches",
    "limit_val_batches": "trainer.limit_val_batches",
    "limit_test_batches": "trainer.limit_test_batches",
    "limit_predict_batches": "trainer.limit_predict_batches",
    "output_dir": "trainer.default_root_dir",
    "hidden_dim": "model.hidden_dim",
    "latent_dim": "model.latent_dim",
    "learning_rate": "model.learning_rate",
    "dataset": "data.dataset",
    "data_dir": "data.data_dir",
    "batch_size": "data.batch_size",
    "num_workers": "data.num_workers",
    "ckpt_path": "ckpt_path",
}
"""The name of a field, and its key in a YAML file and on the command line."""

PATHS = ("trainer.default_root_dir", "data.data_dir", "ckpt_path")
"""The keys of files and folders."""

MOST_VALUES = 10_000
"""How many values a YAML text may have."""


@dataclass(frozen=True)
class CliConfig(TrainConfig):
    """A run that is described by keys with sections, as those of LightningCLI."""

    subcommand: Literal["fit", "validate", "test", "predict"] = "fit"
    """What to do."""
    limit_predict_batches: Count | None = None
    """Predict this many batches instead of all."""
    ckpt_path: Path | None = None
    """Checkpoint to go on from, or to validate, test or predict with."""

    def by_key(self) -> dict[str, Any]:
        """Return all values but the subcommand by their keys, as YAML can hold them."""
        values = {key: getattr(self, name) for name, key in KEYS.items()}
        return {k: str(v) if isinstance(v, Path) else v for k, v in values.items()}

    def to_arguments(self) -> list[str]:
        """Return the command line that gives this configuration."""
        given = {
            key: value for key, value in self.by_key().items() if value is not None
        }
        return [self.subcommand, *(f"--{key}={value}" for key, value in given.items())]


def require_end(text: str) -> None:
    """See that a YAML text has an end, and one within reach.

    An anchor within itself has none, and ten anchors of ten times the one before are
    ten billion values: whoever goes through them all goes on and on.

    Raises:
        YAMLError: it has none, or is no YAML.
        RecursionError: it is nested too deeply.
    """
    waiting: list[Any] = [yaml.compose(text, yaml.SafeLoader)]
    seen = 0
    while waiting:
        node = waiting.pop()
        if isinstance(node, yaml.MappingNode):
            waiting += [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value
        seen += 1
        if seen > MOST_VALUES:
            raise yaml.YAMLError(
                f"more than {MOST_VALUES:,} values: is an anchor within itself?"
            )


def read_given_checkpoint(
    subcommand: str, ckpt_path: Path | None, max_epochs: int
) -> dict[str, Any] | None:
    """Return the checkpoint that a subcommand is given; only `fit` may have none.

    A Trainer would test and predict with random weights then, without a word.

    Raises:
        UsageError: there has to be one.
        CheckpointError: it cannot be used, or not to go on from.
    """
    if ckpt_path is None:
        if subcommand == "fit":
            return None
        raise UsageError(f"--ckpt_path is missing: name the checkpoint to {subcommand}")
    checkpoint = read_model(ckpt_path)
    if subcommand == "fit":
        require_end_of_epoch(checkpoint, ckpt_path, max_epochs)
    return checkpoint


def with_known_dataset(
    config: AnyConfig, checkpoint: dict[str, Any] | None
) -> AnyConfig:
    """Return the options with the checkpoint's data set, or what there is, for `auto`.

    When that is stored, a run again learns the same, with a network or without.

    Raises:
        UserError: there is no data set of the name that the checkpoint has.
    """
    config = config.with_dataset_of(checkpoint or {})
    if config.dataset == "auto":
        prepare("auto", config.data_dir)
        found: Any = resolve_auto(config.data_dir)
        config = replace(config, dataset=found)
    return config


def require_end_of_epoch(
    checkpoint: dict[str, Any], path: Path, max_epochs: int
) -> None:
    """See that a checkpoint is of this lesson's training, with some of it left to do.

    Raises:
        CheckpointError: it is not.
    """
    try:
        position = from_loops(checkpoint["loops"])
        (state,) = checkpoint["optimizer_states"]
        (group,) = state["param_groups"]
        if "betas" not in group or checkpoint.get("lr_schedulers"):
            raise ValueError("another optimizer, or a schedule")
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be resumed from ({error}): take one that the lesson cli"
            " wrote"
        ) from error
    if position.batch_idx:
        raise CheckpointError(
            f"{path} is of the middle of an epoch: the lesson checkpoint resumes it"
        )
    if position.epoch >= max_epochs:
        raise CheckpointError(
            f"{path} has all of its {position.epoch} epochs: give more than"
            f" --trainer.max_epochs {max_epochs}"
        )
