"""What both halves share: the model, the data, the options."""

import os
import signal
import sys

# While `python -m` imports torch, which takes seconds, Ctrl-C just ends the process,
# without a traceback. From then on shared.runtime.command says what was saved.
if sys.argv[0] == "-m":
    signal.signal(signal.SIGINT, signal.SIG_DFL)

# torch.profiler reads this when it starts; otherwise its C++ code logs on stderr.
os.environ.setdefault("KINETO_LOG_LEVEL", "6")
# Otherwise torch.distributed logs the C++ stack of a rank that cannot reach another.
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
