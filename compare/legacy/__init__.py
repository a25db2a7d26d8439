"""Reads code for older versions of Lightning and says what to write now."""
