"""All claims by id, in the order of the notes: a new theme is found by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from pkgutil import walk_packages

from linsim.claims import themes
from linsim.claims.claim import Claim
from linsim.errors import InvalidInput


def gather(*themes: Sequence[Claim]) -> dict[str, Claim]:
    """Claims of several themes by id, in the order of their equations.

    Raises:
      InvalidInput: two claims of one id.
    """
    found: dict[str, Claim] = {}
    for claim in sorted((claim for theme in themes for claim in theme), key=_place):
        if claim.id in found:
            raise InvalidInput("id", claim.id, "an id that no other claim has")
        found[claim.id] = claim
    return found


def _place(claim: Claim) -> tuple[int, ...]:
    """Equations in the order of the notes, 2.10 after 2.9."""
    return tuple(int(number) for number in claim.equation.split("."))


def _themes() -> Iterator[Sequence[Claim]]:
    """The claims of every theme: a module with a tuple CLAIMS, anywhere in `linsim.claims.themes`."""
    for module in walk_packages(themes.__path__, f"{themes.__name__}."):
        yield getattr(import_module(module.name), "CLAIMS", ())


CLAIMS = gather(*_themes())
"""All claims that come with linsim."""
