"""Record a training run: `python compare/trace --out a.trace -- my_loop.py`.

Works from any folder. The script must be able to import nothing of this project, so
the project is loaded under a private name, and its folder leaves sys.path.
"""

import sys
from importlib import import_module, util
from pathlib import Path

folder = Path(__file__).resolve().parents[1]
spec = util.spec_from_file_location(
    "_compare", folder / "__init__.py", submodule_search_locations=[str(folder)]
)
assert spec
sys.modules["_compare"] = util.module_from_spec(spec)
for name in ("compare.trace", "compare"):  # there when started with -m
    sys.modules.pop(name, None)

if __name__ == "__main__":
    sys.exit(import_module("_compare.trace.command").main(sys.argv[1:]))
