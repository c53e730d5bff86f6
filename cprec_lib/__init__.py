"""CpRec: small and fast sequential recommenders, built step by step.

Sun et al., "A Generic Network Compression Framework for Sequential Recommender Systems",
SIGIR 2020, arXiv 2004.13139.
"""

import lazy_loader

__version__ = "0.1.0"

# A name is imported when it is first asked for (PEP 562), so `cprec --help` does not wait for
# torch, and `cprec doctor` can report a torch that is broken. The list is in `__init__.pyi`.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
