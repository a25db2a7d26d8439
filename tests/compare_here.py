"""The command `python -m compare` with both halves in its own process.

That saves the imports of two processes; `run_forked` can start it.
"""

import importlib
from types import SimpleNamespace

from compare.parity import command
from shared.runtime.command import config_class, parse_config, set_up_torch


class Here:
    """Runs a lesson where subprocess.Popen would start a process for it."""

    def __init__(self, arguments: list[str]) -> None:
        _python, _m, module, *options = arguments
        main = importlib.import_module(module).main
        config = parse_config(config_class(main), module, None, options)
        set_up_torch(config)
        main(config, config.make_run_dir(config.output_dir))

    def wait(self) -> int:
        """Return the exit status of a process that has ended well."""
        return 0


subprocess = SimpleNamespace(Popen=Here)

if __name__ == "__main__":
    vars(command)["subprocess"] = subprocess
    command.main()
