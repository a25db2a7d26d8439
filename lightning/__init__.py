"""The lessons with LightningModule and Trainer.

PyPI has a package of the same name. This project imports it as pytorch_lightning;
without this file, Python would find PyPI's package before this folder.
"""

import logging
import warnings

import shared as shared  # first of all, see there

# Messages between libraries, and advice that these small runs do not need.
for message in (
    r".*LeafSpec\)` is deprecated",
    ".*does not have many workers",
    ".*smaller than the logging interval",
    "Checkpoint directory .* exists and is not empty",  # true of every resumed run
    "You're resuming from a checkpoint that ended before the epoch",  # exactly there
    "The dirpath has changed",  # a new run in a new folder
    "GPU available but not used",
    ".*Profiler clears events at the end of each cycle",
):
    warnings.filterwarnings("ignore", message)
logging.getLogger("pytorch_lightning.utilities.rank_zero").addFilter(
    lambda record: "litlogger" not in record.getMessage()
)
# LightningCLI's line on its seed would come before one that says what is wrong.
logging.getLogger("lightning_fabric.utilities.seed").setLevel(logging.WARNING)
