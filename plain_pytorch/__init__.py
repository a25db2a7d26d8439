"""The lessons with every loop written by hand."""

import shared as shared  # first of all, see there
