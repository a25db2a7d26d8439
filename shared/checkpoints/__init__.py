"""Checkpoint files: whole, checked, with Lightning's keys."""
