"""Claims about how sharply modes follow each other: what is there of a weaker one when a stronger is half learned."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every, exceeds, same_side
from linsim.claims.themes.simulation import Layers, flowed, half_time, product
from linsim.dynamics.modes.deep_mode_flow import deep_mode_flow
from linsim.testing.draws import decades, numbers
from linsim.theory.rises import BalancedModes, flow_time
from linsim.theory.stages import critical_ratios, harm_limits

_NEXT_TO_NOTHING = 1e-6  # of a mode
_SETTLED = 12.0  # logarithm of what is missing to convergence
_EQUAL = st.just(1.0)
_ZERO = st.just(0.0)


def check_sharper_steps(problem: PlainProblem, reversed_order: bool = False) -> float:
    """Integrate a stronger and a weaker mode from two common starts, and compare the weaker one's shares."""
    start, depth = problem["start"] * problem["strength"], problem["depth"]
    shares = [_share(problem, start * factor) for factor in (1.0, problem["smaller"])]
    larger, smaller = shares[::-1] if reversed_order else shares
    half, strength = np.asarray(problem["strength"] / 2), np.asarray(problem["strength"])
    time = float(flow_time(depth, np.asarray(start), half, strength))
    weaker = problem["weaker"] * problem["strength"]
    ours = deep_mode_flow(start * problem["ahead"], weaker, 1.0, time, depth) / weaker
    # Relative to the larger share; the integrator leaves 1e-9 of it.
    return every(exceeds(larger, smaller, rounding=1e-7), equals(ours, shares[0], 1e-6))


def check_step_odds(problem: PlainProblem, exponent: float = 1.0, present: float = 1.0) -> float:
    """Integrate both modes of two layers and compare the odds of the weaker one with the stated ones."""
    stronger, start = problem["strength"], problem["start"] * problem["strength"] * problem["weaker"]
    weaker = problem["weaker"] * stronger
    share = _share({**problem, "depth": 2, "ahead": 1.0}, start)
    odds = (stronger / start - present) ** (exponent * weaker / stronger) / (weaker / start - present)
    both = BalancedModes(2, np.full((1, 2), start), np.asarray([stronger, weaker]), np.ones(2))
    # Relative to the share itself, however small; the integrator leaves 1e-9 of it.
    return every(equals(share, odds / (1 + odds), 1e-6), equals(share, both.rise().overlap[0, 0], 1e-6))


def check_learned_anyway(problem: PlainProblem, critical: float = 0.5) -> float:
    """Descend with the penalty from a mode learned in full and from a small one, and compare pre-training losses."""
    sigma, ratio, penalty, begun = (problem[name] for name in ("strength", "ratio", "penalty", "begun"))
    goal = ratio * sigma
    rate = 0.02 / ((1 + penalty) * max(goal, sigma))
    losses = []
    for start in (1.0, begun, _NEXT_TO_NOTHING):
        checkpoint = start * sigma
        inner = outer = np.sqrt(checkpoint)
        limit = (goal + penalty * checkpoint) / (1 + penalty)
        time = (np.log1p(limit / checkpoint if checkpoint else 0.0) + _SETTLED) / (4 * (1 + penalty) * limit)
        for _ in range(int(time / rate)):
            gradient = 2 * (inner * outer - goal) + 2 * penalty * (inner * outer - checkpoint)
            inner, outer = inner - rate * outer * gradient, outer - rate * inner * gradient
        losses.append((inner * outer / sigma - 1) ** 2)
    # What is left to converge is e^-12 of sigma_1 at most: 1e-4 of a loss that differs by less is not told apart.
    iff = same_side(losses[0] - losses[1], ratio - 1 - critical * penalty * (1 - begun), rounding=1e-4)
    if begun == 0:
        return iff
    tiny = equals(losses[0] - losses[2], harm_limits(ratio, penalty)[1], 1e-3, scale=1 + ratio**2)
    return every(iff, tiny, equals(critical_ratios(penalty)[1], 1 + penalty / 2, 1e-12))


def _share(problem: PlainProblem, start: float) -> float:
    """What is learned of a weaker mode when a stronger one is half learned."""
    depth, strength = problem["depth"], problem["strength"]
    layers, other = (_chain(start * ahead, depth, problem["balance"]) for ahead in (1.0, problem["ahead"]))
    weaker = problem["weaker"] * strength
    later = flowed(other, np.full((1, 1), weaker), half_time(strength, layers))
    return float(product(later)[0, 0]) / weaker


def _chain(start: float, depth: int, balance: float) -> Layers:
    """Layers of one unit each; two of them differ in their squares by the balance."""
    if balance:
        common = np.hypot(balance / 2, start)
        outer = np.sqrt(common + balance / 2)
        return [np.full((1, 1), start / outer), np.full((1, 1), outer)]
    return [np.full((1, 1), start ** (1 / depth)) for _ in range(depth)]


def _two_modes(
    depths: tuple[int, ...],
    ahead: st.SearchStrategy[float] = _EQUAL,
    start: tuple[float, float] = (1e-3, 0.49),
) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries(
        {
            "depth": st.sampled_from(depths),
            "strength": numbers(0.5, 2),
            "weaker": numbers(0.2, 0.95),
            "start": decades(*start),  # in units of the stronger mode
            "smaller": decades(0.05, 0.9),
            "ahead": ahead,
            "balance": _ZERO,
        }
    )


def _from_equal_starts(balance: st.SearchStrategy[float] = _ZERO) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries(
        {"strength": numbers(0.2, 3), "weaker": numbers(0.1, 0.95), "start": decades(1e-6, 0.4), "balance": balance}
    )


def _small_modes(begun: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries(
        {"strength": numbers(0.2, 3), "ratio": numbers(0.2, 5), "penalty": numbers(0.1, 4), "begun": begun}
    )


CLAIMS = (
    Claim(
        id="sharper-steps",
        statement=(
            "From a common start s_0 < sigma_1 / 2, at any depth, balanced: what is learned of a weaker mode when a "
            "stronger one is half learned falls as s_0 falls"
        ),
        source="re-derived",
        equation="1.4",
        domain=_two_modes((1, 2, 3, 4)),
        check=check_sharper_steps,
        variants=(
            Variant(name="larger-starts-are-sharper", changes={"reversed_order": True}),
            Variant(name="weaker-mode-far-ahead", domain=_two_modes((3, 4), numbers(30, 100), (1e-3, 0.03))),
        ),
        beyond=Outside(
            assumption="both modes start from the same strength",
            domain=_two_modes((3, 4), numbers(30, 100), (1e-3, 0.03)),
            example={
                "depth": 3,
                "strength": 1.0,
                "weaker": 0.5,
                "start": 0.01,
                "smaller": 0.1,
                "ahead": 30.0,
                "balance": 0.0,
            },
        ),
    ),
    Claim(
        id="step-odds",
        statement=(
            "Two balanced layers, common start s_0 < sigma_2 / 2: when the stronger mode is half learned the weaker "
            "one has the odds (sigma_1/s_0 - 1)^(sigma_2/sigma_1) / (sigma_2/s_0 - 1), ~ s_0^(1 - sigma_2/sigma_1)"
        ),
        source="re-derived",
        equation="1.1",
        domain=_from_equal_starts(),
        check=check_step_odds,
        variants=(
            Variant(name="as-if-rates-did-not-depend-on-the-mode", changes={"exponent": 0.5}),
            Variant(name="as-if-nothing-was-there", changes={"present": 0.0}),
        ),
        beyond=Outside(
            assumption="layers are balanced",
            domain=_from_equal_starts(numbers(0.1, 2)),
            example={"strength": 1.0, "weaker": 0.5, "start": 0.01, "balance": 1.0},
        ),
    ),
    Claim(
        id="learned-anyway-iff",
        statement=(
            "Two balanced layers, fine-tuned to convergence with lambda > 0, sigma_ft > 0: a mode learned in full ends "
            "at a larger pre-training loss than one at e sigma_pre > 0 iff sigma_ft > (1 + lambda (1 - e)/2) sigma_pre"
        ),
        source="re-derived",
        equation="3.4",
        domain=_small_modes(decades(1e-4, 0.5)),
        check=check_learned_anyway,
        variants=(
            Variant(name="critical-ratio-two-plus-lambda", changes={"critical": 1.0}),
            Variant(name="mode-exactly-zero", domain=_small_modes(_ZERO)),
        ),
        beyond=Outside(
            assumption="the mode that was not learned is small but not 0",
            domain=_small_modes(_ZERO),
            example={"strength": 1.0, "ratio": 2.0, "penalty": 1.0, "begun": 0.0},
        ),
    ),
)
