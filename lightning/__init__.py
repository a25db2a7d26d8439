"""The right wing: the same lessons with LightningModule and Trainer.

This folder is not PyPI's package of the same name; that one is imported as
pytorch_lightning throughout. Without this file, Python would prefer theirs.
"""

import shared as shared  # first of all, see there
