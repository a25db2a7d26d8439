"""Compare two recorded runs: `python compare/divergence a.trace b.trace`.

Works from any folder, and needs no package, not even torch.
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
for name in ("compare.divergence", "compare"):  # there when started with -m
    sys.modules.pop(name, None)

if __name__ == "__main__":
    sys.exit(import_module("_compare.divergence.command").main(sys.argv[1:]))
