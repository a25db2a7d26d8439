"""The table of `make compare`: every number of two runs side by side."""
