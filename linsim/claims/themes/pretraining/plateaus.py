"""Claims about the plateaus of learning, section 1.2 of the theory: the truncations of the task that P passes by."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every, exceeds
from linsim.claims.themes.simulation import flowed, product, rotation, turned
from linsim.dynamics.matrices.matrix_flow import matrix_flow
from linsim.testing.draws import numbers, seeds, sized, values

_ZERO = st.just(0.0)
_STRENGTH = numbers(0.3, 2)


def check_sequential(problem: PlainProblem, clock: float = 1.0, sharper: float = 1.0, gap: bool = True) -> float:
    """Integrate both layers from e^(-tau) I and compare P with the truncations of A at the stated times."""
    return _worst_stage(problem, 1.0, clock, sharper, gap)


def check_sequential_turned(problem: PlainProblem, allowed: bool = True, sharper: float = 1.0) -> float:
    """The same with bases that differ by a rotation, and the bound that allows for it."""
    tangent = np.tan(np.deg2rad(problem["turn"]) / 2)
    return _worst_stage(problem, (1 + tangent) ** 2 if allowed else 1.0, sharper=sharper)


def _worst_stage(
    problem: PlainProblem, factor: float, clock: float = 1.0, sharper: float = 1.0, gap: bool = True
) -> float:
    tau, sigma = problem["tau"], np.sort(problem["strengths"])[::-1]
    left, right = rotation(problem["basis"], len(sigma)), rotation(problem["basis"], len(sigma))
    if problem["turn"]:
        axes = rotation(problem["axis"], len(sigma))
        right = left @ axes @ turned(len(sigma), problem["turn"]) @ axes.T
    if problem["reflected"]:
        right[:, 0] *= -1
    start, target = np.exp(-tau) * np.eye(len(sigma)), (left * sigma) @ right.T
    layers, before, margins = [start] * 2, 0.0, []
    for stage, (last, following) in enumerate(zip(sigma, [*sigma[1:], 0.0], strict=True), start=1):
        time = clock * tau / (last + following)
        layers, before = flowed(layers, target, time - before), time
        truncated = (left[:, :stage] * sigma[:stage]) @ right[:, :stage].T
        exponent = 2 * sharper * ((last - following) / (last + following) if gap else 1.0)
        bound = factor * max(1, sigma[0] ** 2) * np.exp(-exponent * tau)
        # The bound is attained for large tau where sigma_1 <= 1, and small modes carry the integrator's 1e-8.
        margins.append(exceeds(bound, np.linalg.norm(product(layers) - truncated, 2), rounding=1e-6, scale=bound))
        margins.append(equals(product(matrix_flow((start, start), target, time)), product(layers), 1e-6))
    return every(*margins)


def _plateaus(turn: st.SearchStrategy[float] = _ZERO, reflected: bool = False) -> st.SearchStrategy[PlainProblem]:
    return sized(
        lambda modes: {
            "strengths": values(_STRENGTH, modes),
            "tau": numbers(0.1, 6),
            "basis": seeds(),
            "axis": seeds(),
            "turn": turn,
            "reflected": st.just(reflected),
        },
        (1, 3, 8) if turn is _ZERO else (3,),
    )


CLAIMS = (
    Claim(
        id="sequential-learning",
        statement=(
            "From e^(-tau) I with U = V, P at t_n = tau / (sigma_n + sigma_(n+1)) is the rank-n truncation of A within "
            "max(1, sigma_1^2) e^(-C tau), C = 2 (sigma_n - sigma_(n+1)) / (sigma_n + sigma_(n+1))"
        ),
        source="as restated in Feng et al. 2026; times, exponent and constant re-derived",
        equation="1.2",
        domain=_plateaus(),
        check=check_sequential,
        variants=(
            Variant(name="times-of-the-half-loss", changes={"clock": 2.0}),
            Variant(name="twice-the-exponent", changes={"sharper": 2.0}),
            Variant(name="whatever-the-gap", changes={"gap": False}),
        ),
        beyond=Outside(
            assumption="the layers are aligned with the task, U = V",
            domain=_plateaus(numbers(20, 170)),
            example={
                "strengths": (1.0, 0.5, 0.3),
                "tau": 2.0,
                "basis": 0,
                "axis": 0,
                "turn": 90.0,
                "reflected": False,
            },
        ),
    ),
    Claim(
        id="sequential-turned",
        statement=(
            "Where V is U turned by theta < 180 degrees about any axis (three modes), the same times and exponents "
            "hold within (1 + tan(theta/2))^2 max(1, sigma_1^2) e^(-C tau)"
        ),
        source="found here numerically, no proof",
        equation="1.2",
        domain=_plateaus(numbers(0, 170)),
        check=check_sequential_turned,
        variants=(
            Variant(name="as-if-aligned", changes={"allowed": False}),
            Variant(name="twice-the-exponent", changes={"sharper": 2.0}),
        ),
        beyond=Outside(
            assumption="U and V have the same orientation",
            domain=_plateaus(numbers(0, 90), reflected=True),
            example={
                "strengths": (1.0, 1.0, 1.0),
                "tau": 6.0,
                "basis": 0,
                "axis": 0,
                "turn": 0.0,
                "reflected": True,
            },
        ),
    ),
)
