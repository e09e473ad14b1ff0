"""Claims about optimisers and harm, section 4 of the theory: what belongs to the shift, and what to the order."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from scipy.optimize import brentq

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every, exceeds
from linsim.claims.themes.simulation import flowed, product, rotation, two_layers
from linsim.testing.draws import decades, numbers, seeds, sized, values
from linsim.theory.optimizers.muon import muon_flow, muon_times
from linsim.theory.optimizers.order import any_order
from linsim.theory.stages import critical_time

_STEPS, _SMALL, _POINTS = 40, 1e-5, 800


def check_muon_times(problem: PlainProblem, swapped: bool = False, descent: bool = False) -> float:
    """Step weights by signs of the new task, and find the time from which on the learned mode has more loss."""
    sigma, goal = problem["strength"], problem["strength"] * problem["factor"]

    def loss(weight: float, time: float) -> float:
        rate = time / _STEPS
        for _ in range(_STEPS):
            weight -= rate * np.sign(weight * (weight**2 - goal))
        return float((weight**2 - sigma) ** 2)

    def crossing(other: float) -> float:
        learned = np.sqrt(sigma)
        times = [1e-3 * learned, learned]
        worse = [loss(learned, time) - loss(other * learned, time) for time in times]
        if worse[0] * worse[1] > 0:
            return float("nan")
        return float(brentq(lambda time: loss(learned, time) - loss(other * learned, time), *times, xtol=1e-13))

    told = muon_times(sigma)
    stated = told.absent, told.beginning
    if descent:
        stated = (critical_time(sigma, goal),) * 2
    first, second = map(float, stated[::-1] if swapped else stated)
    # The small mode begins at 1e-5 of the learned one, by which the second crossing is off.
    return every(equals(crossing(0.0), first, tolerance=1e-9), equals(crossing(_SMALL), second, tolerance=1e-4))


def check_last_loss(problem: PlainProblem, converged: bool = False) -> float:
    """Fine-tune layers that have learned A, with any basis between them, by integration."""
    sigma, factors = np.asarray(problem["strengths"]), np.asarray(problem["factors"])
    modes, basis = len(sigma), problem["basis"]
    left, right, middle = (rotation(basis + shift, modes) for shift in range(3))
    layers = two_layers(left, sigma, right, problem["balance"], middle)
    reached = product(flowed(layers, (left * (factors * sigma)) @ right.T, problem["time"]))
    loss = float(np.sum((reached - (left * sigma) @ right.T) ** 2))
    told = any_order(sigma, factors * sigma, 1e6 if converged else problem["time"])
    return equals(loss, float(told.last), tolerance=1e-6, scale=float(np.sum((factors * sigma) ** 2 + sigma**2)))


def check_best_bound(problem: PlainProblem, learned: bool = True, always_zero: bool = False) -> float:
    """Losses after fine-tuning from any strengths, and from those that are best mode by mode."""
    sigma, factors = np.asarray(problem["strengths"]), np.asarray(problem["factors"])
    goal, time = factors * sigma, problem["time"]
    told = any_order(sigma, goal, time)
    bound = 0.0 if always_zero else float(told.bound)
    scale = float(np.sum(goal**2 + sigma**2))
    from_here = _tuned(np.asarray(problem["shares"]) * sigma, goal, time)
    below = exceeds(np.sum((from_here - sigma) ** 2), bound, rounding=1e-9, scale=scale)
    best = [_least(strength, wanted, time) for strength, wanted in zip(sigma, goal, strict=True)]
    end = np.sum((_tuned(sigma, goal, time) - sigma) ** 2)
    # Golden sections leave 1e-8 of a strength, where the loss is flat.
    return every(
        below,
        equals(sum(best), bound, tolerance=1e-7, scale=scale) if learned else below,
        equals(end, float(told.last), tolerance=1e-9, scale=scale),
    )


def _tuned(start: np.ndarray, goal: np.ndarray, time: float) -> np.ndarray:
    """F_T of modes with goals above 0."""
    growth = np.exp(-4 * goal * time)
    return np.asarray(goal * start / (start + (goal - start) * growth))


def _least(strength: float, goal: float, time: float) -> float:
    """The least loss over s in [0, sigma], by bisection on F_T, which grows."""
    low, high = 0.0, strength
    for _ in range(80):
        middle = (low + high) / 2
        over = _tuned(np.asarray([middle]), np.asarray([goal]), time)[0] > strength
        low, high = (low, middle) if over else (middle, high)
    return float((_tuned(np.asarray([high]), np.asarray([goal]), time)[0] - strength) ** 2)


def check_order(problem: PlainProblem, muon_is_safe: bool = False, descent_is_safe: bool = False) -> float:
    """The least loss over the paths of descent and of Muon, on a shift of either mode, mode by mode in closed form."""
    strong, ratio = problem["strength"], problem["ratio"]
    sigma = np.array([strong, ratio * strong])
    start = problem["start"] * sigma[1]
    times = np.concatenate([[0.0], np.geomspace(1e-3, 40, _POINTS)])[:, None] / sigma[1]
    paths = {
        "descent": sigma / (1 + (sigma / start - 1) * np.exp(-4 * sigma * times)),
        "muon": np.asarray(muon_flow(start, sigma, np.linspace(0, 1.01, _POINTS)[:, None] * np.sqrt(strong))),
    }
    margins = []
    for mode, ahead in ((0, "muon"), (1, "descent")):
        goal = sigma.copy()
        goal[mode] *= problem["factor"]
        # Of the shifted mode this share of its strength ends where it should.
        wanted, best = goal[mode] / sigma[mode], problem["best"]
        time = np.log((wanted / best - 1) / (wanted - 1)) / (4 * goal[mode])
        least = {name: float(np.min(_losses(path, sigma, goal, time))) for name, path in paths.items()}
        last = float(any_order(sigma, goal, time).last)
        behind = "descent" if ahead == "muon" else "muon"
        if (muon_is_safe and mode == 0) or (descent_is_safe and mode == 1):
            ahead, behind = behind, ahead
        margins.append(exceeds(least[behind], least[ahead], scale=last))
        ends = [float(_losses(path[-1:], sigma, goal, time)[0]) for path in paths.values()]
        margins.append(equals(ends, last, tolerance=1e-6))
    return every(*margins)


def _losses(path: np.ndarray, sigma: np.ndarray, goal: np.ndarray, time: float) -> np.ndarray:
    return np.asarray(np.sum((_tuned(path, goal, time) - sigma) ** 2, axis=-1))


def _shifts(balance: st.SearchStrategy[float], shares: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    return sized(
        lambda modes: {
            "strengths": values(numbers(0.2, 2), modes),
            "factors": values(numbers(0.1, 4), modes),
            "shares": values(shares, modes),
            "time": numbers(0.01, 0.5),
            "balance": balance,
            "basis": seeds(),
        },
        (1, 3),
    )


def _pairs(ratio: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries(
        {
            "strength": numbers(0.5, 3),
            "ratio": ratio,
            "factor": numbers(3, 6),
            "best": numbers(0.6, 0.9),
            "start": decades(1e-6, 1e-4),
        }
    )


_BALANCED, _WITHIN = st.just(0.0), numbers(0, 1)

CLAIMS = (
    Claim(
        id="muon-thresholds",
        statement=(
            "Fine-tuned by Muon for T, with a new target beyond, a learned mode is worse than one at 0 iff T > (sqrt 2 "
            "- 1) sqrt(sigma), and than one that has hardly begun iff T > (sqrt 3 - 1) sqrt(sigma)/2, at any target"
        ),
        source="re-derived",
        equation="4.2",
        domain=st.fixed_dictionaries({"strength": decades(0.05, 5), "factor": numbers(4.1, 16)}),
        check=check_muon_times,
        variants=(
            Variant(name="swapped", changes={"swapped": True}),
            Variant(name="those-of-descent", changes={"descent": True}),
        ),
        beyond=Outside(
            assumption="the new target is beyond where fine-tuning takes the mode",
            domain=st.fixed_dictionaries({"strength": decades(0.05, 5), "factor": numbers(1.01, 1.3)}),
            example={"strength": 1.0, "factor": 1.2},
        ),
    ),
    Claim(
        id="last-loss-of-the-shift",
        statement=(
            "Balanced layers that have learned A, by whatever path, end fine-tuning for T at sum (F_T(sigma_i) - "
            "sigma_i)^2: the last loss belongs to the shift"
        ),
        source="re-derived",
        equation="4.5",
        domain=_shifts(_BALANCED, _WITHIN),
        check=check_last_loss,
        variants=(Variant(name="that-of-long-fine-tuning", changes={"converged": True}),),
        beyond=Outside(
            assumption="the layers are balanced",
            domain=_shifts(numbers(0.5, 2), _WITHIN),
            example={
                "strengths": (1.0,),
                "factors": (4.0,),
                "shares": (1.0,),
                "time": 0.1,
                "balance": 1.0,
                "basis": 0,
            },
        ),
    ),
    Claim(
        id="best-of-any-order",
        statement=(
            "Along any path with 0 <= s_i <= sigma_i the loss after fine-tuning is at least sum max(sigma_i - "
            "F_T(sigma_i), 0)^2, which some strengths attain: an order may save the overshoot of the last loss, no more"
        ),
        source="re-derived",
        equation="4.5",
        domain=_shifts(_BALANCED, _WITHIN),
        check=check_best_bound,
        variants=(Variant(name="nothing-is-always-possible", changes={"always_zero": True}),),
        beyond=Outside(
            assumption="no mode goes beyond its target",
            domain=_shifts(_BALANCED, numbers(1.1, 3)),
            example={
                "strengths": (1.0,),
                "factors": (0.5,),
                "shares": (1.3,),
                "time": 0.1,
                "balance": 0.0,
                "basis": 0,
            },
        ),
    ),
    Claim(
        id="order-exchanges-harm",
        statement=(
            "Two modes of different strengths, one of them amplified beyond its best: Muon's best budget is better "
            "than that of descent where the strong mode is amplified, and worse where the weak one is, at equal ends"
        ),
        source="re-derived",
        equation="4.6",
        domain=_pairs(numbers(0.2, 0.7)),
        check=check_order,
        variants=(
            Variant(name="descent-is-safe", changes={"muon_is_safe": True}),
            Variant(name="muon-is-safe", changes={"descent_is_safe": True}),
        ),
        beyond=Outside(
            assumption="the modes differ in strength",
            domain=_pairs(st.just(1.0)),
            example={"strength": 1.0, "ratio": 1.0, "factor": 4.0, "best": 0.8, "start": 1e-5},
        ),
    ),
)
