"""A laboratory for catastrophic overtraining in linear networks.

    import linsim as ls

Its public names are those of `__init__.pyi`, and no others. They are imported when they are first used, so that reading
a stored result needs no JAX.
"""

from lazy_loader import attach_stub

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)

del attach_stub
