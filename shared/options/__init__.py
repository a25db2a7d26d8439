"""The options of the lessons that have more than those of every run or training."""
