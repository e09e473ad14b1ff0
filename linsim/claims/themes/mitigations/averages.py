"""Claims about averages of weights: over time, and of a checkpoint with what it was fine-tuned to."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every, exceeds
from linsim.claims.themes.simulation import product, rotation, two_layers
from linsim.testing.draws import decades, numbers, seeds, sized, values
from linsim.theory.mitigations.averages import average_delay, averaged_mode, interpolated

_ACCURACY = {"method": "LSODA", "rtol": 1e-11}


def check_averaged(problem: PlainProblem, of: str = "weights", factor: float = 1.0) -> float:
    """Integrate the weights of a mode and their average, and compare its product."""
    sigma, start, horizon = problem["target"], problem["share"] * problem["target"], problem["horizon"]
    time, ratio = problem["time"] / sigma, problem["balance"]
    weights = np.sqrt(start) * np.array([ratio, 1 / ratio])

    def velocity(_: float, state: np.ndarray) -> np.ndarray:
        pull = 2 * (sigma - state[0] * state[1])
        told = state[:2] if of == "weights" else np.repeat(state[0] * state[1], 2)
        return np.concatenate([pull * state[1::-1], (told - state[2:]) / (horizon / sigma)])

    first = np.concatenate([weights, weights if of == "weights" else np.repeat(start, 2)])
    # Errors of steps are 1e-11, and grow with the mode, in e-folds of 4 sigma t at most.
    end = solve_ivp(velocity, (0.0, time), first, atol=1e-13 * np.sqrt(start), **_ACCURACY).y[2:, -1]
    reached = end[0] * end[1] if of == "weights" else end[0]
    return equals(averaged_mode(start, sigma, time, factor * horizon / sigma), reached, tolerance=1e-6)


def check_delay(problem: PlainProblem, rate: float = 2.0) -> float:
    """When weights and their average, integrated from far below, come to a level of the mode: far below, and any."""
    sigma, horizon, level = problem["target"], problem["horizon"] / problem["target"], problem["level"]
    stated = average_delay(sigma, horizon) if rate == 2.0 else np.log1p(rate * sigma * horizon) / (rate * sigma)
    start, end = 1e-16 * sigma, (np.log(1e16) / 4 + 6 + 8 * problem["horizon"]) / sigma
    begun = np.sqrt(start) * np.array([1.0, 1 / (1 + 2 * sigma * horizon)])

    def velocity(_: float, state: np.ndarray) -> list[float]:
        return [2 * state[0] * (sigma - state[0] ** 2), (state[0] - state[1]) / horizon]

    path = solve_ivp(velocity, (0.0, end), begun, atol=1e-13 * begun[1], dense_output=True, **_ACCURACY)
    early = 1e-10 / (1 + problem["horizon"]) ** 2

    def above(time: float, at: int, part: float) -> float:
        return float(np.log(path.sol(time)[at] ** 2 / (part * sigma)))

    passed = [[brentq(above, 0, end, (at, part)) for at in (0, 1)] for part in (early, level)]
    delays = [late - soon for soon, late in passed]
    # What the level is above 0 bends the path by as much.
    least = exceeds(delays[1], float(stated), rounding=1e-6)
    return every(equals(delays[0], float(stated), tolerance=1e-3), least)


def check_interpolation(problem: PlainProblem, power: float = 2.0) -> float:
    """Interpolate matrices in random bases; both losses against the bound, and off it where factors differ."""
    before, factors = np.asarray(problem["strengths"]), np.asarray(problem["factors"])
    factors = np.where(np.asarray(problem["moved"]) > 0, factors, 1.0)
    after, size = factors * before, len(before) + 1
    left, middle, right = (rotation(problem["seed"] + at, size) for at in range(3))
    other = left @ rotation(problem["seed"] + 3, size) if problem["turned"] else left
    ends = [two_layers(bases, mode, right, 0.0, middle) for bases, mode in ((left, before), (other, after))]
    share, targets = problem["share"], [product(end) for end in ends]
    mixed = product([(1 - share) * first + share * second for first, second in zip(*ends, strict=True)])
    stated = interpolated(before, after, share)
    if power != 2.0:
        stated = ((1 - share) * before ** (1 / power) + share * after ** (1 / power)) ** power
    told = equals((left[:, :-1] * stated) @ right[:, :-1].T, mixed, tolerance=1e-12)
    apart = np.linalg.norm(targets[1] - targets[0])
    if apart == 0:
        return told
    excess = sum(np.linalg.norm(mixed - target) for target in targets) / apart - 1
    alike = np.ptp(factors[factors != 1.0]) == 0
    on_bound = equals(excess, 0.0, 1e-7, scale=1.0) if alike else exceeds(excess, 1e-7)
    return every(told, on_bound)


def _rising(balance: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries(
        {
            "target": decades(0.1, 10),
            "share": decades(1e-6, 0.5),
            "time": numbers(0.05, 6),
            "horizon": decades(0.01, 100),
            "balance": balance,
        }
    )


def _delays() -> st.SearchStrategy[PlainProblem]:
    told = {"target": decades(0.1, 10), "horizon": decades(0.1, 10), "level": numbers(0.001, 0.9)}
    return st.fixed_dictionaries(told)


def _moves(turned: bool, alike: bool | None = None) -> st.SearchStrategy[PlainProblem]:
    factor = st.one_of(numbers(1.5, 6), numbers(0.1, 0.6), st.just(0.0))
    shared = sized(lambda count: _fields(count, factor.map(lambda one: (one,) * count), turned), (2, 4))
    # Factors that differ, by enough to be seen.
    apart = sized(
        lambda count: _fields(count, st.permutations((0.0, 0.4, 2.0, 5.0)[:count]).map(tuple), turned), (2, 4)
    )
    return {True: shared, False: apart, None: st.one_of(shared, apart)}[alike]


def _fields(
    count: int, factors: st.SearchStrategy[tuple[float, ...]], turned: bool
) -> dict[str, st.SearchStrategy[Any]]:
    return {
        "strengths": values(numbers(0.3, 2), count),
        "factors": factors,
        "moved": st.tuples(*[st.sampled_from((0, 1, 1))] * count),
        "share": numbers(0.2, 0.8),
        "turned": st.just(turned),
        "seed": seeds(),
    }


CLAIMS = (
    Claim(
        id="averaged-mode",
        statement="Two balanced layers: the exponential average of weights over the horizon tau_e has the strength "
        "m^2, m = M(t) + (w_0 - M(0)) e^(-t / tau_e), M = sqrt(sigma x) 2F1(1/2, b; b + 1; -x) / (1 + 2 sigma tau_e), "
        "x = e^(4 sigma t) / (sigma / s_0 - 1), b = 1/2 + 1 / (4 sigma tau_e)",
        source="re-derived",
        equation="7.4",
        domain=_rising(st.just(1.0)),
        check=check_averaged,
        variants=(
            Variant(name="average-of-the-product", changes={"of": "product"}),
            Variant(name="twice-the-horizon", changes={"factor": 2.0}),
        ),
        beyond=Outside(
            assumption="layers are balanced",
            domain=_rising(numbers(1.5, 3)),
            example={"target": 1.0, "share": 0.01, "time": 1.0, "horizon": 1.0, "balance": 2.0},
        ),
    ),
    Claim(
        id="average-delay",
        statement="While a mode grows from little, averaged weights are ln(1 + 2 sigma tau_e) / (2 sigma) behind; at "
        "every later level they are further behind",
        source="re-derived",
        equation="7.4",
        domain=_delays(),
        check=check_delay,
        variants=(Variant(name="rate-of-the-product", changes={"rate": 4.0}),),
    ),
    Claim(
        id="interpolation-bound",
        statement="Aligned balanced layers, weights interpolated from a checkpoint to where it was fine-tuned to: s = "
        "((1 - a) sqrt(sigma) + a sqrt(sigma_ft))^2, on the bound sqrt L_pre + sqrt L_ft = ||A_ft - A_pre|| iff all "
        "modes that moved share sigma_ft / sigma",
        source="re-derived",
        equation="7.6",
        domain=_moves(turned=False),
        check=check_interpolation,
        variants=(
            Variant(name="straight-in-strengths", changes={"power": 1.0}),
            Variant(name="of-three-layers", changes={"power": 3.0}),
        ),
        beyond=Outside(
            assumption="both tasks have the same bases",
            domain=_moves(turned=True),
            example={
                **{"strengths": (2.0, 1.0), "factors": (2.0, 2.0), "moved": (1, 1), "share": 0.5},
                **{"turned": True, "seed": 0},
            },
        ),
    ),
)
