"""One module a figure: a stored dataset becomes a picture, without JAX."""

import contextlib
import os

# Files need no backend. One that was inherited from a notebook, and is not installed here, would stop the import.
_inherited = os.environ.pop("MPLBACKEND", None)
import matplotlib  # noqa: E402

if _inherited is not None:
    os.environ["MPLBACKEND"] = _inherited
    with contextlib.suppress(ValueError):
        matplotlib.rcParams["backend"] = _inherited
