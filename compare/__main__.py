"""Compare the two halves of a lesson: `python -m compare train --max-epochs 1`."""

from compare.parity.command import main

main()
