"""The frame of every run: command line, folder, errors, signals, ranks."""
