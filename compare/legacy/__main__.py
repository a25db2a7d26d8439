"""Find what is old in code for Lightning, and say what to write now.

python -m compare.legacy tutorial.md notebook.ipynb folder
python /path/to/compare/legacy tutorial.md
"""

import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036, environments of old code are old
        print("error: compare.legacy needs Python 3.11 or newer", file=sys.stderr)
        sys.exit(2)
    if not __package__:  # run as a folder, from anywhere
        sys.path[0] = str(Path(__file__).resolve().parents[2])
    from compare.legacy.command import main

    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it quietly
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # into `head`, for instance
    sys.exit(main(sys.argv[1:]))
