"""Record a training run: `python -m compare.trace --out a.trace -- my_loop.py`."""

import sys

from compare.trace.command import main

sys.exit(main(sys.argv[1:]))
