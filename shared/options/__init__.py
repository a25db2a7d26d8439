"""The options that a lesson has of its own."""
