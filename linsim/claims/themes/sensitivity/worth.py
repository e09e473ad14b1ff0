"""A claim about which modes are worth learning under noise (theory 2.3)."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every, same_side
from linsim.testing.draws import decades, numbers, seeds, sized, values
from linsim.theory.prices import NoiseCost, modes_loss, noise_price, useful_modes


def check_useful_modes(problem: PlainProblem, factor: float = 1.0) -> float:
    """Compare the loss under noise of every idealised checkpoint, in full matrices, with n* and with sigma_i > G."""
    rng, sigma = np.random.default_rng(problem["seed"]), np.asarray(problem["strengths"])
    modes, losses = len(sigma), []
    left, right = (np.linalg.qr(rng.standard_normal((size, modes)))[0] for size in (modes, modes + 1))
    learned = np.tri(modes + 1, modes, -1) * sigma
    for stage in learned:
        root = np.sqrt(stage)
        inner, outer = root[:, None] * right.T, left * root
        noise = problem["gamma"] ** 2 * ((modes + 1) * np.sum(outer**2) + modes * np.sum(inner**2))
        losses.append(np.sum((outer @ inner - (left * sigma) @ right.T) ** 2) + noise)
    price = factor * float(noise_price(problem["gamma"], modes + 1, modes))
    top, size = float(sigma.max()), float(np.sum(sigma**2)) + price * float(sigma.sum())
    helps = [
        same_side((value - price) / top, (before - after) / size, rounding=1e-13)
        for value, before, after in zip(sigma, losses[:-1], losses[1:], strict=True)
    ]
    best = losses[int(useful_modes(sigma, price))]
    told = equals(
        modes_loss(learned, np.tile(sigma, (modes + 1, 1)), price / factor), losses, tolerance=1e-12, scale=size
    )
    missing, sums = np.sum((sigma - learned) ** 2, axis=1), np.sum(learned, axis=1)
    for near in np.outer([0.995, 1.005], sigma).ravel():  # prices at which another stage becomes the best
        stages = [useful_modes(sigma, near), NoiseCost(float(near), 0.0, 0.0).best_stage(sigma)]
        of_stages = missing + near * sums
        told = every(told, equals(of_stages[stages], of_stages.min(), tolerance=1e-12, scale=size))
    return every(*helps, told, equals(best, min(losses), tolerance=1e-12, scale=size))


def _stages(in_order: bool) -> st.SearchStrategy[PlainProblem]:
    def sorted_so(problem: PlainProblem) -> bool:
        drawn = problem["strengths"]
        return (list(drawn) == sorted(drawn, reverse=True)) == in_order

    def of(modes: int) -> dict[str, st.SearchStrategy[Any]]:
        drawn = values(numbers(0.01, 3), modes)
        falling = drawn.map(lambda strengths: tuple(sorted(strengths, reverse=True)))
        return {"strengths": falling if in_order else drawn, "gamma": decades(0.01, 1), "seed": seeds()}

    return sized(of, (1, 2, 3, 8) if in_order else (3,)).filter(sorted_so)


CLAIMS = (
    Claim(
        id="useful-modes",
        statement="Under noise, learning mode i in full helps iff sigma_i > G; of the stages in decreasing order "
        "n* = #{sigma_i > G} is best",
        source="re-derived",
        equation="2.3",
        domain=_stages(in_order=True),
        check=check_useful_modes,
        variants=(Variant(name="useful-from-half-the-price", changes={"factor": 0.5}),),
        beyond=Outside(
            assumption="modes are learned in decreasing order",
            domain=_stages(in_order=False),
            example={"strengths": (0.01, 1.0, 1.0), "gamma": 0.1, "seed": 0},
        ),
    ),
)
