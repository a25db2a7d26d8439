"""Timings, and what several processes cost."""
