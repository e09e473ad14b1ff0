"""A claim about noise in proportion to each layer: one collective price for all modes (theory 2.2, 2.3)."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from hypothesis import strategies as st

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every, exceeds
from linsim.measures.sensitivity import expected_increase, relative_scales
from linsim.testing.draws import decades, numbers, seeds, values
from linsim.theory.prices import NoiseCost

_expected_increase, _relative_scales = jax.jit(expected_increase), jax.jit(relative_scales)


def check_collective_price(problem: PlainProblem, quartic: float = 1.0, alone: bool = False) -> float:
    """Scale noise with layers in random bases and compare the mean increase with q N^2; no strengths are better.

    The mean is over all weights and signs, by its two moments: gamma_1^2 d_in ||W_2||^2 + gamma_2^2 d_out ||W_1||^2 +
    gamma_1^2 gamma_2^2 d_out h d_in.
    """
    rng, (d_in, hidden, d_out), scale = np.random.default_rng(problem["seed"]), problem["widths"], problem["relative"]
    sigma = np.asarray(problem["strengths"])
    right, middle, left = (np.linalg.qr(rng.standard_normal((size, len(sigma))))[0] for size in (d_in, hidden, d_out))
    stretch = np.where(np.arange(len(sigma)) == 0, problem["stretch"], 1.0)
    inner, outer = (middle * np.sqrt(sigma) * stretch) @ right.T, (left * np.sqrt(sigma) / stretch) @ middle.T
    first, second = scale**2 * np.mean(inner**2), scale**2 * np.mean(outer**2)
    increase = (
        first * d_in * np.sum(outer**2) + second * d_out * np.sum(inner**2) + first * second * d_in * hidden * d_out
    )
    scales = _relative_scales((inner, outer), scale)
    ours = equals([*scales, _expected_increase((inner, outer), scales)], [*np.sqrt([first, second]), increase], 1e-12)
    size, price = float(np.sum(sigma)), scale**2 * (2 + quartic * scale**2) / hidden
    cost = NoiseCost.relative(scale, hidden)
    stated = price * (float(np.sum(sigma**2)) if alone else size**2)
    if problem["stretch"] != 1 or alone or quartic != 1:
        return every(ours, equals(increase, stated, 1e-12))
    told = equals([cost.of(size), cost.marginal(size)], [increase, 2 * increase / size], 1e-12)
    return every(ours, equals(increase, stated, 1e-12), told, _is_best(cost, sigma, price, rng))


def _is_best(cost: NoiseCost, sigma: np.ndarray, price: float, rng: np.random.Generator) -> float:
    """No strengths near the best ones, nor any number of modes learned in full, have a smaller loss under the noise."""
    best = cost.best_strengths(sigma)

    def loss(strengths: np.ndarray) -> Any:
        return np.sum((sigma - strengths) ** 2, axis=-1) + price * np.sum(strengths, axis=-1) ** 2

    near = np.maximum(best + 0.02 * rng.standard_normal((60, len(sigma))), 0)
    order, scale = np.sort(sigma)[::-1], float(np.sum(sigma**2))
    stages = np.tri(len(sigma) + 1, len(sigma), -1) * order
    losses = np.sum((order - stages) ** 2, axis=1) + price * np.sum(stages, axis=1) ** 2
    slope = 2 * (best - sigma) + 2 * price * np.sum(best)  # 0 in modes that are kept, >= 0 in the others
    least = every(equals(np.where(best > 0, slope, 0.0), 0.0, 1e-9, scale=1.0), exceeds(slope, 0.0, 1e-9, scale=1.0))
    lower = every(exceeds(loss(near), float(loss(best)), rounding=1e-12, scale=scale), least)
    return every(lower, equals(losses[cost.best_stage(sigma)], losses.min(), 1e-12, scale=scale))


_ONE = st.just(1.0)


def _networks(stretch: st.SearchStrategy[float] = _ONE) -> st.SearchStrategy[PlainProblem]:
    def of(modes: int) -> st.SearchStrategy[PlainProblem]:
        widths = st.sampled_from(((modes, modes, modes), (modes + 2, modes + 1, modes), (modes, modes + 3, modes + 1)))
        drawn = {"widths": widths, "strengths": values(numbers(0.05, 3), modes), "relative": decades(0.01, 1)}
        return st.fixed_dictionaries(drawn | {"seed": seeds(), "stretch": stretch})

    return st.sampled_from((2, 3, 8)).flatmap(of)


CLAIMS = (
    Claim(
        id="relative-noise-is-collective",
        statement="Noise of r times the root mean square entry of each layer costs two balanced layers, in any bases, "
        "q N^2 with q = r^2 (2 + r^2) / h and N = sum s_i: every mode pays for all; (sigma_i - q N)_+ are best",
        source="re-derived",
        equation="2.2",
        domain=_networks(),
        check=check_collective_price,
        variants=(
            Variant(name="without-the-noise-of-both-layers", changes={"quartic": 0.0}),
            Variant(name="each-mode-pays-for-itself", changes={"alone": True}),
        ),
        beyond=Outside(
            assumption="layers are balanced, up to one factor for all modes",
            domain=_networks(numbers(1.1, 2)),
            example={"widths": (2, 2, 2), "strengths": (1.0, 0.5), "relative": 0.5, "seed": 0, "stretch": 2.0},
        ),
    ),
)
