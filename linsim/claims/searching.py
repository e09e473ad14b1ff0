"""What the judge asks of Hypothesis beyond its settings; a later version that is made otherwise is left as it is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

_FAILED_DRAWS = 5  # for each problem


@contextlib.contextmanager
def without_loaded_constants() -> Iterator[None]:
    """Hypothesis draws some constants from the source of whatever is loaded; a verdict must not depend on that.

    Where a later version keeps them elsewhere, verdicts vary with what is loaded, no more.
    """
    try:
        from hypothesis.internal.conjecture import providers
        from hypothesis.internal.constants_ast import Constants

        original, forget = providers._get_local_constants, providers.CONSTANTS_CACHE.cache.clear
    except (ImportError, AttributeError):
        yield
        return
    providers._get_local_constants = Constants
    forget()
    try:
        yield
    finally:
        providers._get_local_constants = original
        forget()


@contextlib.contextmanager
def impatient() -> Iterator[None]:
    """Steering ends when it only makes draws that come to nothing; Hypothesis would go on for 100 of them a problem.

    Then the search begins anew. Where a later version keeps the limit elsewhere, that takes long, no more.
    """
    from hypothesis.internal.conjecture import engine

    patience = getattr(engine, "INVALID_PER_VALID", None)
    if patience is not None:
        engine.INVALID_PER_VALID = min(patience, _FAILED_DRAWS)
    try:
        yield
    finally:
        if patience is not None:
            engine.INVALID_PER_VALID = patience
