"""CpRec: small and fast sequential recommenders, built step by step.

Sun et al., "A Generic Network Compression Framework for Sequential Recommender Systems",
SIGIR 2020, arXiv 2004.13139.
"""

import os
import sys

import lazy_loader

# libgomp, which shares out torch's work on Linux, lets a thread that waits for another one spin
# for minutes. Where the other one has no core because a neighbour uses it, the spinning thread
# takes the core that would end its wait, and an epoch takes 20 to 60 times as long. So waiting
# threads spin for a bounded time and then sleep; `python -m benchmarks.neighbour` has the times
# from which the number was chosen. libgomp reads it once, when torch loads, and torch's builds for
# macOS and Windows, which bring another runtime, ignore it. A user's own choice stays.
if "torch" not in sys.modules and not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & {*os.environ}:
    os.environ["GOMP_SPINCOUNT"] = "1000"

__version__ = "0.1.0"

# A name is imported when it is first asked for (PEP 562), so `cprec --help` does not wait for
# torch, and `cprec doctor` can report a torch that is broken. The list is in `__init__.pyi`.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
