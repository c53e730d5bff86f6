"""Ways to make a model small, raced at equal bytes."""

import lazy_loader

# As in `cprec_lib`: the compressors are needed to read a model, the search among them is not.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
