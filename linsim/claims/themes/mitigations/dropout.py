"""A claim about dropout on hidden units."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals
from linsim.claims.themes.simulation import rotation
from linsim.testing.draws import numbers, seeds, sized, values
from linsim.theory.mitigations.dropout import dropped

_STEPS = 6000


def check_dropout(problem: PlainProblem, rule: str = "shared", own: bool = False) -> float:
    """Descend the mean over masks from a checkpoint in hidden bases at random; its singular values at rest."""
    strengths, rate = np.sort(problem["strengths"])[::-1], problem["probability"]
    modes, hidden, seed = len(strengths), len(strengths) + problem["more"], problem["seed"]
    odds = rate / (1 - rate)
    stated = {
        "shared": dropped(strengths, rate, hidden),
        "each-mode-alone": strengths * hidden / (hidden + odds),
        "probability-for-odds": dropped(strengths, rate / (1 + rate), hidden),
    }[rule]
    middle = np.eye(hidden) if own or problem["aligned"] else rotation(seed, hidden)
    turned = not own or problem["aligned"]
    left, right = (rotation(seed + at, modes) if turned else np.eye(modes) for at in (1, 2))
    second = left @ (np.sqrt(strengths) * middle[:, :modes]).T
    first = (middle[:, :modes] * np.sqrt(strengths)) @ right.T
    target = (left * strengths) @ right.T
    step = 0.1 / (strengths[0] * (1 + odds))
    for _ in range(_STEPS):
        residual = 2 * (second @ first - target)
        outer, inner = np.sum(second**2, axis=0), np.sum(first**2, axis=1)
        second, first = (
            second - step * (residual @ first.T + 2 * odds * second * inner),
            first - step * (second.T @ residual + 2 * odds * first * outer[:, None]),
        )
    reached = np.linalg.svd(second @ first, compute_uv=False)
    if own:  # a unit of its own for each mode is kept
        return equals(reached, dropped(strengths, rate, hidden, "own"), 1e-3, scale=strengths[0])
    # Modes at the threshold vanish as 1/(4 t), t = 600/sigma_1.
    return equals(reached, stated, 4e-3, scale=strengths[0])


def check_own_units(problem: PlainProblem, rule: str = "own") -> float:
    """The same from aligned layers, which stay so."""
    if rule == "own":
        return check_dropout(problem, own=True)
    strengths = np.sort(problem["strengths"])[::-1]
    hidden = len(strengths) + problem["more"]
    own, shared = (dropped(strengths, problem["probability"], hidden, units) for units in ("own", "shared"))
    return equals(own, shared, 1e-3, scale=strengths[0])


def _dropping(aligned: bool, least: float = 0.2) -> st.SearchStrategy[PlainProblem]:
    return sized(
        lambda count: {
            "strengths": values(numbers(0.3, 2), count),
            "probability": numbers(least, 0.6),
            "more": st.integers(1, 4),
            "aligned": st.just(aligned),
            "seed": seeds(),
        },
        (2, 3),
    )


CLAIMS = (
    Claim(
        id="dropout-threshold",
        statement="Dropout on h hidden units, two layers in hidden bases at random, whitened inputs: descent of the "
        "mean loss ends at s_i = (sigma_i - q N / h)_+, q = p / (1 - p), N = sum s, in the bases of the task",
        source="Mianjy, Arora and Vidal 2018; modes re-derived",
        equation="7.3",
        domain=_dropping(aligned=False),
        check=check_dropout,
        variants=(
            Variant(name="each-mode-alone", changes={"rule": "each-mode-alone"}),
            Variant(name="probability-for-odds", changes={"rule": "probability-for-odds"}),
        ),
        beyond=Outside(
            assumption="hidden units share modes",
            domain=_dropping(aligned=True),
            example={"strengths": (2.0, 1.0), "probability": 0.5, "more": 2, "aligned": True, "seed": 0},
        ),
    ),
    Claim(
        id="dropout-own-units",
        statement="Layers that begin with a hidden unit of its own for each mode, all else exactly 0, end at s_i = "
        "sigma_i / (1 + q) under dropout, q = p / (1 - p), at a saddle: every mode is shrunk and none is lost",
        source="re-derived",
        equation="7.3",
        domain=_dropping(aligned=False),
        check=check_own_units,
        variants=(Variant(name="as-if-shared", changes={"rule": "shared"}),),
        beyond=Outside(
            assumption="inputs and outputs are in the bases of the task, so that rounding moves nothing off the saddle",
            domain=_dropping(aligned=True),
            example={"strengths": (2.0, 1.0), "probability": 0.5, "more": 2, "aligned": True, "seed": 0},
        ),
    ),
)
