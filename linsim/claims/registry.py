"""All claims by id, in the order of the notes. A theme is a module with a tuple CLAIMS; it is named here once."""

from __future__ import annotations

from collections.abc import Sequence

from linsim.claims.claim import Claim
from linsim.claims.themes.finetuning import (
    finite_tuning,
    forgetting,
    fronts,
    overtraining,
    pairs,
    regularisation,
    tuned_rates,
)
from linsim.claims.themes.pretraining import balance, dynamics, laziness, learning, matrices, plateaus, steps
from linsim.claims.themes.sensitivity import curvature, flatness, monitors, noise, scatter, sensitivity
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


CLAIMS = gather(
    learning.CLAIMS,
    dynamics.CLAIMS,
    steps.CLAIMS,
    plateaus.CLAIMS,
    balance.CLAIMS,
    laziness.CLAIMS,
    matrices.CLAIMS,
    noise.CLAIMS,
    sensitivity.CLAIMS,
    curvature.CLAIMS,
    flatness.CLAIMS,
    monitors.CLAIMS,
    scatter.CLAIMS,
    forgetting.CLAIMS,
    regularisation.CLAIMS,
    fronts.CLAIMS,
    overtraining.CLAIMS,
    pairs.CLAIMS,
    finite_tuning.CLAIMS,
    tuned_rates.CLAIMS,
)
