"""The left wing: every loop written by hand."""
