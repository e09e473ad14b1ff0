"""Claims about sharpness-aware minimisation: starts that it traps, and what label noise makes of it."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every, exceeds
from linsim.testing.draws import decades, numbers, seeds, sized, values
from linsim.theory.mitigations.sharpness import sharpness_threshold, trapping_start

_BATCHES = 1500
"""Pairs of minibatches of opposite label noise: means of second order in the noise are known to a percent."""


def check_trap(problem: PlainProblem, factor: float = 1.0, alone: bool = False) -> float:
    """Step by SAM from starts on either side of the bounds, and look at the direction of steps next to them."""
    strengths, radius = np.asarray(problem["strengths"]), problem["radius"]
    told = trapping_start(strengths[:1] if alone else strengths, radius)
    # Next to the bounds, of a radius so small that residuals are the targets.
    small, near = 1e-4 * np.sqrt(strengths.min()), 0.005
    least, most = (factor * small / radius * bound for bound in told)
    falls, grows = (
        _pull(strengths, np.full(len(strengths), start), small) / (start * strengths)
        for start in (least * (1 - near), most * (1 + near))
    )
    weakest, strongest = np.argmin(strengths), np.argmax(strengths)
    first = _pull(strengths, np.full(len(strengths), least * (1 + near)), small)[weakest] / (least * strengths[weakest])
    last = _pull(strengths, np.full(len(strengths), most * (1 - near)), small)[strongest] / (
        most * strengths[strongest]
    )
    sides = every(exceeds(-falls, 0.0), exceeds(grows, 0.0), exceeds(first, 0.0), exceeds(0.0, last))
    trapped = _settled(strengths, 0.8 * factor * told.least, radius)
    learned = _settled(strengths, 1.25 * factor * told.most, radius)
    return every(
        sides, exceeds(0.02, float(np.max(trapped / strengths))), exceeds(float(np.max(learned / strengths)), 0.5)
    )


def check_threshold(problem: PlainProblem, root: bool = True, factor: float = 1.0) -> float:
    """The mean step of SAM over minibatches, from the strengths stated: what it lacks of 0 as a shift of strengths."""
    strengths, radius, noise = np.asarray(problem["strengths"]), problem["radius"], problem["label_noise"]
    batch, sides, modes = problem["batch_size"], (problem["d_in"], problem["d_out"]), len(strengths)
    stated = sharpness_threshold(strengths, radius, noise, batch, sides)
    if not root or factor != 1.0:
        pull = factor * radius * noise / 2 * np.sqrt(2 * np.sqrt(sides[0] * sides[1]) / batch)
        stated = strengths - pull / (np.sqrt(np.sum(stated)) if root else np.sqrt(modes))
    ratio = (sides[0] / sides[1]) ** 0.25
    first = np.eye(modes, sides[0]) * (np.sqrt(stated) * ratio)[:, None]
    second = np.eye(sides[1], modes) * (np.sqrt(stated) / ratio)
    target = (np.eye(sides[1], modes) * strengths) @ np.eye(modes, sides[0])
    rng = np.random.default_rng(problem["seed"])
    inputs = rng.normal(size=(_BATCHES, sides[0], batch))
    errors = noise * rng.normal(size=(_BATCHES, sides[1], batch))
    speeds = np.zeros(modes)
    for sign in (1, -1):
        labels = target @ inputs + sign * errors
        outer, inner = _slopes(second, first, inputs, labels)
        length = np.sqrt(np.sum(outer**2, axis=(1, 2)) + np.sum(inner**2, axis=(1, 2)))[:, None, None]
        outer, inner = _slopes(second + radius * outer / length, first + radius * inner / length, inputs, labels)
        speeds += np.mean(np.diagonal(outer @ first + second @ inner, axis1=1, axis2=2)[:, :modes], axis=0) / 2
    # ds/dt = - 2 (s - sigma + shift) (w_1^2 + w_2^2)
    missing = speeds / (2 * stated * (ratio**2 + ratio**-2))
    shift, share = float(np.max(strengths - stated)), radius / np.sqrt(np.sum(stated))
    return equals(missing, 0.0, 0.1 + 4 * share, scale=max(shift, 1e-12))


def _slopes(second: np.ndarray, first: np.ndarray, inputs: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, ...]:
    """Gradients of the mean squared error of minibatches in W_2 and W_1."""
    hidden = first @ inputs
    residuals = 2 * (second @ hidden - labels) / inputs.shape[-1]
    return residuals @ hidden.swapaxes(1, 2), second.swapaxes(-1, -2) @ residuals @ inputs.swapaxes(1, 2)


def _pull(strengths: np.ndarray, weights: np.ndarray, radius: float) -> np.ndarray:
    """dw/dt of SAM in aligned balanced modes, each with two equal weights."""
    slope = 2 * (weights**2 - strengths) * weights
    length = np.sqrt(2 * np.sum(slope**2))
    away = weights + radius * slope / length if length > 0 else weights
    return np.asarray(-2 * (away**2 - strengths) * away)


def _settled(strengths: np.ndarray, start: float, radius: float) -> np.ndarray:
    """Strengths after SAM for long: of steps that go over 0 by a hundredth of the radius at most."""
    weights, rate = np.full(len(strengths), start), 0.02 / float(strengths.max())
    growth = 0.4 * strengths.max() * rate  # a fifth of 2 sigma, next to the bound
    for _ in range(int((np.log(np.sqrt(strengths.max()) / start) + 6) / growth)):
        weights = weights + rate * _pull(strengths, weights, radius)
    return weights**2


def _starts(radius: st.SearchStrategy[float], modes: tuple[int, ...] = (1, 2, 4)) -> st.SearchStrategy[PlainProblem]:
    return sized(lambda count: {"strengths": values(numbers(0.5, 3), count), "radius": radius}, modes)


def _noisy(radius: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries(
        {
            "strengths": values(numbers(1.5, 3), 3),
            "radius": radius,
            "label_noise": numbers(0.7, 1.5),
            "batch_size": st.sampled_from((4, 8)),
            "d_in": st.sampled_from((8, 12)),
            "d_out": st.sampled_from((8, 12)),
            "seed": seeds(),
        }
    )


CLAIMS = (
    Claim(
        id="sam-trap",
        statement="SAM on all data, two balanced aligned layers whose weights begin alike, rho^2 < 2 sigma_min and "
        "w_0^2 << sigma_min: no mode leaves 0 if w_0 < rho sigma_min / (sqrt 2 ||sigma||), and all begin to grow if "
        "w_0 > rho sigma_max / (sqrt 2 ||sigma||); of one mode that is rho / sqrt 2, of m equal ones rho / sqrt(2 m)",
        source="re-derived",
        equation="7.1",
        domain=_starts(decades(0.003, 0.2)),
        check=check_trap,
        variants=(
            Variant(name="one-weight-a-mode", changes={"factor": 2**0.5}),
            Variant(name="as-if-alone", changes={"alone": True}, domain=_starts(decades(0.003, 0.2), (4,))),
        ),
        beyond=Outside(
            assumption="the radius is below sqrt(2 sigma)",
            domain=_starts(numbers(2.5, 3), (1,)),
            example={"strengths": (1.0,), "radius": 2.0},
        ),
    ),
    Claim(
        id="sam-label-noise",
        statement="SAM on minibatches with label noise sy >= 0.7 and rho <= 0.2 is at rest, rate -> 0, where every "
        "mode is lower by (rho sy / 2) sqrt(2 sqrt(d_in d_out) / (B N)), N the sum of what is learned: to a share of "
        "0.1 + 4 rho / sqrt N of that, weak modes lower and strong ones higher",
        source="re-derived",
        equation="7.2",
        domain=_noisy(decades(0.02, 0.2)),
        check=check_threshold,
        variants=(
            Variant(name="of-each-mode-alone", changes={"root": False}),
            Variant(name="twice-the-threshold", changes={"factor": 2.0}),
        ),
        beyond=Outside(
            assumption="the radius is well below the label noise",
            domain=_noisy(numbers(0.3, 0.5)).map(lambda drawn: {**drawn, "label_noise": 1e-3}),
            example={
                **{"strengths": (3.0, 2.0, 1.0), "radius": 0.3, "label_noise": 0.001},
                **{"batch_size": 4, "d_in": 8, "d_out": 8, "seed": 0},
            },
        ),
    ),
)
