"""Mistakes that make two training runs differ, each planted in a small loop.

`python -m compare.clinic` lists them, `python -m compare.clinic NAME` shows one.
"""

from compare.clinic import data, gradients, losses, modes, optimizers, schedules
from compare.clinic.case import CASES, Case, compare_runs

__all__ = [
    "CASES",
    "Case",
    "compare_runs",
    "data",
    "gradients",
    "losses",
    "modes",
    "optimizers",
    "schedules",
]
