"""The right wing: the same lessons with LightningModule and Trainer.

This folder is not PyPI's package of the same name; that one is imported as
pytorch_lightning throughout. Without this file, Python would prefer theirs.
"""

import warnings

import shared as shared  # first of all, see there

# Said by torch 2.14 to pytorch_lightning 2.6, and not to those who read its output.
warnings.filterwarnings("ignore", r".*LeafSpec\)` is deprecated", FutureWarning)
