"""Tools that compare the halves, or any two training runs."""

import shared as shared  # first of all, see there
