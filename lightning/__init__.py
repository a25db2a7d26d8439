"""The lessons with LightningModule and Trainer.

This folder is not PyPI's package of the same name; that one is imported as
pytorch_lightning throughout. Without this file, Python would prefer theirs.
"""

import logging
import warnings

import shared as shared  # first of all, see there

# Said by one library to another, or advice that these small runs do not need.
for message in (
    r".*LeafSpec\)` is deprecated",
    ".*does not have many workers",
    ".*smaller than the logging interval",
    "Checkpoint directory .* exists and is not empty",  # so it is when resumed
    "The dirpath has changed",  # the best are counted anew in a new folder
    "You're resuming from a checkpoint that ended before the epoch",  # exactly there
    "GPU available but not used",
    ".*Profiler clears events at the end of each cycle",
):
    warnings.filterwarnings("ignore", message)
logging.getLogger("pytorch_lightning.utilities.rank_zero").addFilter(
    lambda record: "litlogger" not in record.getMessage()
)
# LightningCLI's line on its seed would come before one that says what is wrong.
logging.getLogger("lightning_fabric.utilities.seed").setLevel(logging.WARNING)
