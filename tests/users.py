"""How a user's process compiles, where these tests compile with few optimisations (tests/conftest.py)."""

import os

_OURS = ("XLA_FLAGS", "JAX_DISABLE_MOST_OPTIMIZATIONS")


def as_users() -> dict[str, str]:
    """The environment of a process without the settings of these tests."""
    return {name: value for name, value in os.environ.items() if name not in _OURS}
