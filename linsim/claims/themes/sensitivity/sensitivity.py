"""Claims about sensitivity to noise along training: it grows, and the loss under noise turns (theory 2.3)."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every, exceeds
from linsim.claims.themes.simulation import turned
from linsim.dynamics.modes.mode_flow import mode_layers
from linsim.testing.draws import decades, numbers
from linsim.theory.noise_turning import noise_inflection
from linsim.theory.prices import noise_price, turning_time

_ZERO = st.just(0.0)
_INPUTS, _OUTPUTS = 3, 2  # of the networks that are trained here, with two modes


def check_progressive_sensitivity(problem: PlainProblem) -> float:
    """Descend two layers: sensitivity after each step against that before, and against G sum s_i where balanced."""
    sigma, balance, variance = np.asarray(problem["strengths"]), problem["balance"], problem["gamma"] ** 2
    inner, outer = (np.diag(np.asarray(layer)) for layer in mode_layers(sigma * problem["starts"], balance))
    inner = inner @ np.eye(2, _INPUTS)
    target = np.diag(sigma) @ turned(2, problem["turn"]) @ np.eye(2, _INPUTS)
    rate = problem["pace"] / (2 * np.hypot(balance, 2 * sigma.max()))  # pace over the top curvature at the minimum
    costs, products = [], []
    for _ in range(150):
        costs.append(variance * (_INPUTS * np.sum(outer**2) + _OUTPUTS * np.sum(inner**2)))
        products.append(outer @ inner)
        pull = 2 * rate * (products[-1] - target)
        inner, outer = inner - outer.T @ pull, outer - pull @ inner.T
    rises = exceeds(costs[1:], costs[:-1], rounding=1e-13)
    modes = np.linalg.svd(products, compute_uv=False).sum(axis=1)
    price = float(noise_price(problem["gamma"], _INPUTS, _OUTPUTS))
    # Balance holds to rounding, some 1e-16 a step.
    return every(rises, equals(costs, price * modes, tolerance=1e-12)) if balance == 0 else rises


def check_noise_turning_time(problem: PlainProblem, clock: float = 1.0, price: float = 1.0) -> float:
    """Integrate the flow in full matrices and compare t* with the time at which the loss under noise turns."""
    stated = clock * float(_turning_times(problem, price)[0])
    # An error of 1e-10 of the mode moves the turn by 1e-10 / (4 s G/2), at most 3e-7 in these units.
    return equals(_turn_of_the_flow(problem), stated, tolerance=1e-5, scale=1 / (4 * problem["strengths"][0]))


def check_noise_inflection(problem: PlainProblem, bound: str = "latest", until: bool = False) -> float:
    """Follow both logistic modes: does the loss under noise only rise beyond max t*, above the least value stated?

    With `until`, whether it also falls right up to then.
    """
    times, sigma = np.nan_to_num(_turning_times(problem), posinf=0.0), np.asarray(problem["strengths"])
    shares = np.asarray(problem["starts"])[:, None]
    latest = float(times[np.argmin(sigma)] if bound == "weakest" else times.max())
    grid = np.concatenate([np.linspace(0, latest, 40), latest + np.linspace(0, problem["longer"], 40)])
    modes = sigma[:, None] / (1 + (1 / shares - 1) * np.exp(-4 * sigma[:, None] * grid))
    price = problem["gamma"] ** 2 * (_INPUTS + _OUTPUTS)  # both layers carry sum s_i
    noise = price * modes.sum(axis=0)
    losses = np.sum((modes - sigma[:, None]) ** 2, axis=0) + noise
    until_then, after = losses[:40], losses[40:]
    rises = exceeds(after[1:], after[:-1], rounding=1e-13)
    falls = exceeds(until_then[-3:-1], until_then[-2:], rounding=1e-13) if until else 1.0
    found = noise_inflection(sigma, sigma * shares[:, 0], price, 1e-4 * grid[-1], float(grid[-1]))
    # Between the 80 points the loss may be lower than at any of them, but not where it was found lowest.
    lowest = exceeds(losses.min(), found.loss, rounding=1e-6)
    harm = equals(1 + found.harm, losses[-1] / found.loss, tolerance=1e-9)
    return every(rises, falls, lowest, harm, exceeds(after[-1], losses.min()))


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


def _descent(
    starts: st.SearchStrategy[float], pace: st.SearchStrategy[float], turn: st.SearchStrategy[float] = _ZERO
) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries(
        {
            "strengths": st.tuples(numbers(0.2, 3), numbers(0.2, 3)),
            "starts": st.tuples(starts, starts),
            "balance": _ZERO | numbers(-3, 3),
            "gamma": decades(1e-3, 1),
            "pace": pace,
            "turn": turn,
        }
    )


def _noisy(first: st.SearchStrategy[float], second: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries(
        {
            "strengths": st.tuples(numbers(0.2, 3), numbers(0.2, 3)),
            "starts": st.tuples(first, second),
            "gamma": decades(0.03, 1),
            "longer": numbers(0.1, 3),
        }
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
                "balance": 0.0,
                "gamma": 1.0,
                "pace": 1.0,
                "turn": 0.0,
            },
        ),
    ),
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
        "under noise only rises, above its least value",
        source="re-derived",
        equation="2.3",
        domain=_noisy(decades(1e-4, 0.9), decades(1e-4, 0.9)),
        check=check_noise_inflection,
        variants=(
            Variant(name="falls-until-the-last-turn", changes={"until": True}),
            Variant(name="the-weakest-mode-turns-last", changes={"bound": "weakest"}),
        ),
        beyond=Outside(
            assumption="modes start below their targets",
            domain=_noisy(numbers(1.1, 3), numbers(1.1, 3)),
            example={"strengths": (1.0, 1.0), "starts": (2.0, 2.0), "gamma": 1.0, "longer": 1.0},
        ),
    ),
)
