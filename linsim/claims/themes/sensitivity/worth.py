"""A claim about which modes are worth learning under noise (theory 2.3)."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every, same_side
from linsim.testing.draws import decades, numbers, seeds
from linsim.theory.prices import NoiseCost, modes_loss, noise_price, useful_modes


def check_useful_modes(problem: PlainProblem, factor: float = 1.0) -> float:
    """Compare the loss under noise of every idealised checkpoint, in full matrices, with n* and with sigma_i > G."""
    rng = np.random.default_rng(problem["seed"])
    left, right = (np.linalg.qr(rng.standard_normal((size, 3)))[0] for size in (3, 4))
    sigma = np.asarray(problem["strengths"])
    losses = []
    for stage in range(4):
        root = np.sqrt(np.where(np.arange(3) < stage, sigma, 0))
        inner, outer = root[:, None] * right.T, left * root
        noise = problem["gamma"] ** 2 * (4 * np.sum(outer**2) + 3 * np.sum(inner**2))
        losses.append(np.sum((outer @ inner - (left * sigma) @ right.T) ** 2) + noise)
    price = factor * float(noise_price(problem["gamma"], 4, 3))
    top, size = float(sigma.max()), float(np.sum(sigma**2)) + price * float(sigma.sum())
    helps = [
        same_side((value - price) / top, (before - after) / size, rounding=1e-13)
        for value, before, after in zip(sigma, losses[:-1], losses[1:], strict=True)
    ]
    best = losses[int(useful_modes(sigma, price))]
    learned = np.where(np.arange(3) < np.arange(4)[:, None], sigma, 0.0)
    told = equals(modes_loss(learned, np.tile(sigma, (4, 1)), price / factor), losses, tolerance=1e-12, scale=size)
    missing, sums = np.sum((sigma - learned) ** 2, axis=1), np.sum(learned, axis=1)
    for near in np.outer([0.995, 1.005], sigma).ravel():  # prices at which another stage becomes the best
        stages = [useful_modes(sigma, near), NoiseCost(float(near), 0.0, 0.0).best_stage(sigma)]
        of_stages = missing + near * sums
        told = every(told, equals(of_stages[stages], of_stages.min(), tolerance=1e-12, scale=size))
    return every(*helps, told, equals(best, min(losses), tolerance=1e-12, scale=size))


def _stages(in_order: bool) -> st.SearchStrategy[PlainProblem]:
    def sorted_so(problem: PlainProblem) -> bool:
        values = problem["strengths"]
        return (list(values) == sorted(values, reverse=True)) == in_order

    drawn = st.tuples(numbers(0.01, 3), numbers(0.01, 3), numbers(0.01, 3))
    strengths: st.SearchStrategy[Any] = drawn.map(lambda values: tuple(sorted(values, reverse=True)))
    parts = {"strengths": strengths if in_order else drawn, "gamma": decades(0.01, 1), "seed": seeds()}
    return st.fixed_dictionaries(parts).filter(sorted_so)


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
