"""The part that both halves share: the model, the data, the options."""

import os
import signal
import sys

# Importing torch takes seconds. Until then, Ctrl-C ends the process without a
# traceback; afterwards shared.runtime.command prints what was saved.
if sys.argv[0] == "-m":
    signal.signal(signal.SIGINT, signal.SIG_DFL)

# The C++ code of torch.profiler would log on stderr.
os.environ.setdefault("KINETO_LOG_LEVEL", "6")
# torch.distributed would print a C++ stack when a rank cannot reach another one.
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
