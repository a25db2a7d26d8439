"""Timings: one step of both halves beside the arithmetic alone, and what else costs."""
