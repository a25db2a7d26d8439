"""Options that belong to one lesson alone."""
