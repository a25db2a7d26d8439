"""Compare two recorded runs: `python -m compare.divergence a.trace b.trace`."""

import sys

from compare.divergence.command import main

sys.exit(main(sys.argv[1:]))
