"""The data sets: their names, their files, their download."""
