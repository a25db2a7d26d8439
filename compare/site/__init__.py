"""The site: every lesson side by side in a browser."""
