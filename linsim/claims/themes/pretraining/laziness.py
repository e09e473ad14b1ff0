"""Claims about lazy networks, whose balance is far above all strengths: what overtraining can do to them."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every, exceeds
from linsim.claims.themes.simulation import flowed, product, random_start, rotation
from linsim.testing.draws import numbers, seeds, sized, values
from linsim.theory.laziness import LazyLimit

_ZERO = st.just(0.0)


def check_lazy_harm(problem: PlainProblem, share: float = 1.0) -> float:
    """Pre-train to a few budgets, fine-tune from each, and compare the last loss with what the others allow it."""
    lazy, sigma = problem["balance"], np.asarray(problem["strengths"])
    modes = len(sigma)
    balances = lazy * (1 + problem["spread"] * np.linspace(-1, 1, modes))
    layers = random_start(problem["starts"], balances, problem["basis"], (modes, modes, modes))
    left, right = rotation(problem["basis"] + 3, modes), rotation(problem["basis"] + 4, modes)
    target = (left * sigma) @ right.T
    shift = (left * (sigma * (np.asarray(problem["factors"]) - 1))) @ right.T
    missing, away = target - product(layers), float(np.linalg.norm(shift))
    lacking = float(np.linalg.norm(missing))
    overlap = max(float(np.sum(shift * missing)), 0.0) / (away * lacking) if away * lacking > 0 else 0.0
    cosine, later = share * overlap, float(np.max(np.abs(sigma * problem["factors"])))
    roots, time = [], 0.0
    for age in sorted(problem["ages"]):
        layers = flowed(layers, target, (age - time) / (2 * abs(lazy)))
        tuned = flowed(layers, target + shift, problem["tuning"] / (2 * abs(lazy)))
        roots.append(float(np.linalg.norm(product(tuned) - target)))
        time = age
    # `lazy-limit` of both phases: P is within this of linear dynamics.
    farthest = away + lacking
    order = (float(sigma.max()) + lacking) ** 2 * lacking + (later + farthest) ** 2 * farthest
    slack = 2 / math.e * order / lazy**2
    allowed = [(root + slack) / np.sqrt(1 - min(cosine, 1 - 1e-9) ** 2) + slack for root in roots[:-1]]
    # Weights of size sqrt(l) <= 8 carry the integrator's 1e-9; losses are of order 1.
    bounded = every(*(exceeds(bound, roots[-1], rounding=1e-7, scale=away + lacking) for bound in allowed))
    limit = LazyLimit(shift, missing[None], np.exp(-np.sort(problem["ages"]))[None])
    linear = np.sqrt(limit.losses(np.exp([-problem["tuning"]]))[0, 0])
    near = exceeds(np.full(3, slack), np.abs(linear - roots), rounding=1e-7, scale=away + lacking)
    return every(bounded, near, equals(1 / (1 + limit.harm[0]), 1 - overlap**2, tolerance=1e-9, scale=1.0))


def _transfers(
    spread: st.SearchStrategy[float] = _ZERO, oldest: float = 8, longest: float = 3, modes: tuple[int, ...] = (1, 3, 8)
) -> st.SearchStrategy[PlainProblem]:
    age = numbers(0.05, oldest)
    return sized(
        lambda modes: {
            "strengths": values(numbers(0.1, 1), modes),
            "factors": values(st.one_of(numbers(0.2, 4), numbers(-3, -0.2)), modes),
            "starts": values(numbers(0, 0.1), modes),
            "balance": st.one_of(numbers(20, 60), numbers(-60, -20)),
            "ages": st.tuples(age, age, age),
            "tuning": numbers(0.05, longest),
            "basis": seeds(),
            "spread": spread,
        },
        modes,
    )


CLAIMS = (
    Claim(
        id="lazy-harm",
        statement=(
            "Square layers of one large balance l, up to terms in 1/l^2: after fine-tuning for any time the loss at a "
            "later budget is at most 1/(1 - c^2) of that at an earlier one, c the cosine between A_ft - A and A - P_0"
        ),
        source="re-derived",
        equation="1.5",
        domain=_transfers(),
        check=check_lazy_harm,
        variants=(
            Variant(name="no-harm", changes={"share": 0.0}),
            Variant(name="half-the-cosine", changes={"share": 0.5}, domain=_transfers(modes=(1,))),
        ),
        beyond=Outside(
            assumption="no hidden direction has a balance near 0",
            domain=_transfers(st.just(1.0), oldest=3000, longest=60, modes=(3,)),
            example={
                "strengths": (1.0, 0.5, 0.5),
                "factors": (1.0, 4.0, 4.0),
                "starts": (0.001, 0.001, 0.001),
                "balance": 60.0,
                "ages": (5.0, 300.0, 3000.0),
                "tuning": 60.0,
                "basis": 1,
                "spread": 1.0,
            },
        ),
    ),
)
