"""Claims about where the loss under noise turns along pre-training, and what is told of it (theory 2.3)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every, exceeds
from linsim.testing.draws import decades, numbers, sized, values
from linsim.theory.noise_turning import NoiseInflection, noise_inflection
from linsim.theory.prices import noise_price, turning_time

_ZERO = st.just(0.0)
_INPUTS, _OUTPUTS = 3, 2  # of the networks that are trained here
_HARM, _EXCESS = 0.01, 0.001  # from which on a turn is told
_SECTIONS = 60  # golden ones, of a bracket to 1e-12 of itself


@dataclass(frozen=True, eq=False)
class NoisyCurve:
    """sum_i (sigma_i - s_i)^2 + G s_i of logistic modes, in NumPy."""

    strengths: np.ndarray
    starts: np.ndarray
    price: float

    def modes(self, times: Any) -> np.ndarray:
        """s_i, modes along the last axis."""
        faded = np.exp(-4 * self.strengths * np.asarray(times)[..., None])
        return np.asarray(self.strengths / (1 + (self.strengths / self.starts - 1) * faded))

    def loss(self, times: Any) -> Any:
        """At flow times."""
        modes = self.modes(times)
        return np.sum((modes - self.strengths) ** 2 + self.price * modes, axis=-1)

    def slope(self, times: Any) -> Any:
        """Of the loss, per flow time."""
        modes = self.modes(times)
        missing = self.strengths - modes
        return np.sum(4 * modes * missing * (self.price - 2 * missing), axis=-1)

    def lowest(self, first: float, last: float) -> tuple[float, float]:
        """Time and value of the least loss: the smallest on a fine grid, then golden sections around it."""
        grid = np.geomspace(first, last, 4001)
        best = int(np.argmin(self.loss(grid)))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
        golden = (np.sqrt(5) - 1) / 2
        for _ in range(_SECTIONS):
            left, right = high - golden * (high - low), low + golden * (high - low)
            low, high = (left, high) if self.loss(left) > self.loss(right) else (low, right)
        places = np.asarray([grid[best], (low + high) / 2])
        values = self.loss(places)
        return float(places[np.argmin(values)]), float(values.min())


def check_noise_turning_time(problem: PlainProblem, clock: float = 1.0, price: float = 1.0) -> float:
    """Integrate the flow in full matrices and compare t* with the time at which the loss under noise turns."""
    stated = clock * float(_turning_times(problem, price)[0])
    # An error of 1e-10 of the mode moves the turn by 1e-10 / (4 s G/2), at most 3e-7 in these units.
    return equals(_turn_of_the_flow(problem), stated, tolerance=1e-5, scale=1 / (4 * problem["strengths"][0]))


def check_noise_inflection(problem: PlainProblem, bound: str = "latest", until: bool = False) -> float:
    """Follow all logistic modes: beyond max t* the loss under noise only rises, and what is told of its turn is true.

    With `until`, whether it also falls right up to then.
    """
    times, sigma = np.nan_to_num(_turning_times(problem), posinf=0.0), np.asarray(problem["strengths"])
    starts, price = sigma * problem["starts"], problem["gamma"] ** 2 * (_INPUTS + _OUTPUTS)
    curve = NoisyCurve(sigma, starts, price)
    latest = float(times[np.argmin(sigma)] if bound == "weakest" else times.max())
    first, last = 0.01 / (4 * float(sigma.max())), latest + problem["longer"]
    after = curve.loss(np.linspace(latest, last, 40))
    rises = exceeds(after[1:], after[:-1], rounding=1e-13)
    before = curve.loss(np.linspace(0, latest, 40))
    falls = exceeds(before[-3:-1], before[-2:], rounding=1e-13) if until else 1.0
    found = noise_inflection(sigma, starts, price, first, max(last, first))
    return every(rises, falls, _tells_the_turn(found, curve, first, max(last, first)))


def _tells_the_turn(found: NoiseInflection, curve: NoisyCurve, first: float, last: float) -> float:
    """Whether place, bracket, least loss and harm are those that a search of the whole range finds."""
    place, least = curve.lowest(first, last)
    end, scale = float(curve.loss(last)), float(np.sum(curve.strengths**2))
    # `noise_inflection` takes the mean of values 1e-4 in log t apart: 1e-8 of the curvature, some units of the scale.
    margins = [
        equals(found.loss, least, tolerance=1e-6, scale=scale),
        equals(end / (1 + found.harm), least, tolerance=1e-6, scale=scale),
    ]
    if not math.isnan(found.time):
        margins.append(equals(curve.loss(found.time), least, tolerance=1e-8, scale=scale))
    elif place < last:  # nothing told of a turn is right where it is not material, on either side of both thresholds
        material = end / least - 1 > 1.02 * _HARM and (end - least) / scale > 1.02 * _EXCESS
        margins.append(-1.0 if material and (place > first) else 1.0)
    low, high = found.bracket
    if not math.isnan(low + high):
        turns = exceeds(curve.slope(high), 0.0), exceeds(0.0, curve.slope(low))
        inside = exceeds(low, 0.99 * first), exceeds(1.01 * last, high), exceeds(high, low)
        margins += [*turns, *inside, equals(curve.lowest(low, high)[1], least, tolerance=1e-8, scale=scale)]
    return every(*margins)


def _turning_times(problem: PlainProblem, factor: float = 1.0) -> Any:
    sigma = np.asarray(problem["strengths"])
    price = factor * noise_price(problem["gamma"], _INPUTS, _OUTPUTS)
    return np.asarray(turning_time(sigma, sigma * problem["starts"], price))


def _turn_of_the_flow(problem: PlainProblem) -> float:
    """The last time at which the loss under noise turns, along the flow of two balanced layers; 0 if it never does."""
    sigma, variance = np.asarray(problem["strengths"]), problem["gamma"] ** 2
    root, target, cut = np.sqrt(sigma * problem["starts"]), np.diag(sigma) @ np.eye(2, _INPUTS), 2 * _INPUTS

    def flow(_: float, flat: Any) -> Any:
        inner, outer = flat[:cut].reshape(2, _INPUTS), flat[cut:].reshape(2, 2)
        residual = outer @ inner - target
        return -np.concatenate([(2 * outer.T @ residual).ravel(), (2 * residual @ inner.T).ravel()])

    def noisy_slope(time: float, flat: Any) -> Any:
        moved = flow(time, flat)
        noise = 2 * variance * np.concatenate([_OUTPUTS * flat[:cut], _INPUTS * flat[cut:]])
        return np.dot(noise - moved, moved)

    start = np.concatenate([(root[:, None] * np.eye(2, _INPUTS)).ravel(), np.diag(root).ravel()])
    # To rise from s_0 to sigma - G/2, e-fold by e-fold, and 5 more.
    folds = 5 - np.log(problem["starts"][0]) + max(np.log(sigma[0] / (variance * (_INPUTS + _OUTPUTS))), 0)
    end = folds / (4 * sigma[0])
    path = solve_ivp(flow, (0, end), start, "DOP853", rtol=1e-10, atol=1e-14, events=noisy_slope)
    return float(path.t_events[0].max(initial=0))


def _noisy(first: st.SearchStrategy[float], second: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries(
        {
            "strengths": st.tuples(numbers(0.2, 3), numbers(0.2, 3)),
            "starts": st.tuples(first, second),
            "gamma": decades(0.03, 1),
            "longer": numbers(0.1, 3),
        }
    )


def _noisy_modes(start: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    """Modes in any order; few counts, as each compiles anew."""
    return sized(
        lambda modes: {
            "strengths": values(numbers(0.2, 3), modes),
            "starts": values(start, modes),
            "gamma": decades(0.03, 1),
            "longer": numbers(0.1, 3),
        }
    )


CLAIMS = (
    Claim(
        id="noise-turning-time",
        statement="One rising mode of a balanced aligned network: the loss under noise turns up at "
        "t* = ln[(sigma/s0 - 1)(sigma - G/2)/(G/2)] / (4 sigma), or at once if sigma - s0 <= G/2",
        source="re-derived",
        equation="2.3",
        domain=_noisy(decades(1e-4, 0.9), _ZERO),
        check=check_noise_turning_time,
        variants=(
            Variant(name="clock-of-the-half-loss", changes={"clock": 2.0}),
            Variant(name="within-the-full-price-of-its-target", changes={"price": 2.0}),
        ),
        beyond=Outside(
            assumption="one mode rises",
            domain=_noisy(decades(1e-4, 0.9), decades(1e-4, 0.9)),
            example={"strengths": (1.0, 1.0), "starts": (0.1, 0.5), "gamma": 0.5, "longer": 1.0},
        ),
    ),
    Claim(
        id="noise-inflection",
        statement="Every gamma > 0 has an inflection if all modes start between 0 and sigma_i: past max t*_i the loss "
        "under noise only rises; `noise_inflection` has the least value, its time and a bracket around it",
        source="re-derived",
        equation="2.3",
        domain=_noisy_modes(decades(1e-4, 0.9)),
        check=check_noise_inflection,
        variants=(
            Variant(name="falls-until-the-last-turn", changes={"until": True}),
            Variant(name="the-weakest-mode-turns-last", changes={"bound": "weakest"}),
        ),
        beyond=Outside(
            assumption="modes start below their targets",
            domain=_noisy_modes(numbers(1.1, 3)),
            example={"strengths": (1.0, 1.0), "starts": (2.0, 2.0), "gamma": 1.0, "longer": 1.0},
        ),
    ),
)
