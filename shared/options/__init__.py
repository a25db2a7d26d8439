"""The options of single lessons, beside those that every run has."""
