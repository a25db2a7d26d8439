"""The time of a step of one process and of two, and what messages take of it."""
