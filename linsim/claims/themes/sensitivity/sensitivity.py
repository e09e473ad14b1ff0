"""Claims about sensitivity to noise along training: it grows with what is learned (theory 2.3)."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every, exceeds
from linsim.claims.themes.simulation import rotation, turned
from linsim.dynamics.modes.mode_flow import mode_layers
from linsim.testing.draws import decades, numbers, seeds, sized, values
from linsim.theory.prices import noise_price

_ZERO = st.just(0.0)


def check_progressive_sensitivity(problem: PlainProblem) -> float:
    """Descend two layers: sensitivity after each step against that before, and against G sum s_i where balanced."""
    sigma, balance, variance = np.asarray(problem["strengths"]), problem["balance"], problem["gamma"] ** 2
    modes = len(sigma)
    inputs = modes + problem["wider"]
    left, middle, right = (rotation(problem["basis"] + n, size) for n, size in enumerate((modes, modes, inputs)))
    first, second = (np.asarray(layer) for layer in mode_layers(sigma * problem["starts"], balance))
    inner, outer = (middle * first) @ right[:, :modes].T, (left * second) @ middle.T
    target = (left * sigma) @ turned(modes, problem["turn"]) @ right[:, :modes].T
    rate = problem["pace"] / (2 * np.hypot(balance, 2 * sigma.max()))  # pace over the top curvature at the minimum
    costs, products = [], []
    for _ in range(150):
        costs.append(variance * (inputs * np.sum(outer**2) + modes * np.sum(inner**2)))
        products.append(outer @ inner)
        pull = 2 * rate * (products[-1] - target)
        inner, outer = inner - outer.T @ pull, outer - pull @ inner.T
    rises = exceeds(costs[1:], costs[:-1], rounding=1e-13)
    sums = np.linalg.svd(products, compute_uv=False).sum(axis=1)
    price = float(noise_price(problem["gamma"], inputs, modes))
    # Balance holds to rounding, some 1e-16 a step.
    return every(rises, equals(costs, price * sums, tolerance=1e-12)) if balance == 0 else rises


def _descent(
    starts: st.SearchStrategy[float], pace: st.SearchStrategy[float], turn: st.SearchStrategy[float] = _ZERO
) -> st.SearchStrategy[PlainProblem]:
    return sized(
        lambda modes: {
            "strengths": values(numbers(0.2, 3), modes),
            "starts": values(starts, modes),
            "wider": st.integers(0, 1),
            "basis": seeds(),
            "balance": _ZERO | numbers(-3, 3),
            "gamma": decades(1e-3, 1),
            "pace": pace,
            "turn": turn,
        },
        (1, 2, 8) if turn is _ZERO else (2,),
    )


CLAIMS = (
    Claim(
        id="progressive-sensitivity",
        statement="Aligned modes that start in [0, sigma_i], any balance, descent at rates up to 1 / top curvature: "
        "sensitivity never falls; balanced, it is G sum s_i",
        source="re-derived",
        equation="2.3",
        domain=_descent(numbers(0, 1), numbers(0.01, 1)),
        check=check_progressive_sensitivity,
        variants=(
            Variant(name="rates-up-to-the-stability-limit", domain=_descent(numbers(0, 1), numbers(1.1, 1.9))),
            Variant(name="not-aligned", domain=_descent(numbers(0.01, 1), numbers(0.01, 1), numbers(100, 170))),
        ),
        beyond=Outside(
            assumption="no mode starts above its target",
            domain=_descent(numbers(1.1, 3), numbers(0.01, 1)),
            example={
                "strengths": (1.0, 1.0),
                "starts": (2.0, 0.0),
                "wider": 1,
                "basis": 0,
                "balance": 0.0,
                "gamma": 1.0,
                "pace": 1.0,
                "turn": 0.0,
            },
        ),
    ),
)
