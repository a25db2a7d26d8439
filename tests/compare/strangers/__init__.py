"""A loop and its port to Lightning that know nothing of this repository."""
