"""Claims about the curve of one mode, section 1 of the theory: when it rises, and how fast."""

from __future__ import annotations

import jax
import numpy as np
from hypothesis import strategies as st

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every, exceeds
from linsim.claims.themes.simulation import (
    Matrix,
    flowed,
    half_time,
    product,
    rotation,
    speed,
    turned,
    two_layers,
)
from linsim.dynamics.matrices.width import balance_of
from linsim.dynamics.modes.deep_mode_flow import deep_mode_flow
from linsim.dynamics.modes.mode_flow import mode_flow, rise_time
from linsim.testing.draws import decades, numbers, seeds, sized, values
from linsim.theory.rises import BalancedModes

_ZERO = st.just(0.0)
_STRENGTH = numbers(0.2, 2.5)
_mode_flow, _rise_time = jax.jit(mode_flow), jax.jit(rise_time)

LEAST_ODDS = 4.591121476668622
"""sigma / s_0 = 1 + y with y = e^(1 + 1/y), where the time to half a mode is longest."""


def _mode(start: float, balance: float = 0.0) -> list[Matrix]:
    """The two weights of a mode."""
    one = np.eye(1)
    return two_layers(one, [start], one, balance, one)


def check_rise_time(problem: PlainProblem, rate: float = 4.0, present: float = 1.0) -> float:
    """Integrate two weights and compare the time at which half of the mode is there with the stated one."""
    sigma, start = problem["strength"], problem["share"] * problem["strength"]
    measured = half_time(sigma, _mode(start, problem["balance"]))
    stated = np.log(sigma / start - present) / (rate * sigma)
    # Times count in units of 1 / (4 sigma), in which the curve has slope 1/4 at half: the integrator's 1e-9 of s.
    unit = 1 / (4 * sigma)
    rise = BalancedModes(2, np.full((1, 1), start), np.full(1, sigma), np.ones(1)).rise()
    ours = equals([_rise_time(sigma, start), rise.half[0, 0]], stated, 1e-9, unit)
    if start < sigma / 10:  # from a tenth to nine tenths: ln 81 units
        ours = every(ours, equals(rise.width[0, 0], np.log(81) * unit, 1e-9))
    return every(equals(measured, stated, 1e-6, unit), ours)


def check_stronger_first(problem: PlainProblem) -> float:
    """Integrate a mode and a stronger one from the same start, and compare the times at which half is there."""
    sigma = problem["odds"] * problem["start"]
    weaker, stronger = (
        half_time(strength, _mode(problem["start"])) for strength in (sigma, sigma * problem["stronger"])
    )
    strengths, unit = np.asarray([sigma, sigma * problem["stronger"]]), 1 / (4 * sigma)
    # `rise_time` is 0 where half is there already; times count in units of the curve, as in `rise-time`.
    stated = _rise_time(strengths, np.full(2, problem["start"]))
    # Relative to both times; the integrator leaves 1e-9 of s, and near the least odds the times are all but equal.
    return every(exceeds(weaker, stronger, rounding=1e-7), equals([weaker, stronger], stated, 1e-6, unit))


def check_input_spectrum(problem: PlainProblem, clock: float = 2.0, forgotten: bool = False) -> float:
    """Integrate two layers with input variances and compare their modes with the logistic curve in u = 2t."""
    sigma, spread, start = (np.asarray(problem[name]) for name in ("strengths", "variances", "starts"))
    modes, time = len(sigma), problem["time"]
    left, right = rotation(problem["basis"], modes + problem["wider"]), rotation(problem["basis"] + 1, modes)
    axes = right @ turned(modes, problem["turn"])
    layers = two_layers(left, start, right, 0.0, rotation(problem["basis"] + 2, modes))
    left = left[:, :modes]
    later = flowed(layers, (left * sigma) @ right.T, time, (axes * spread) @ axes.T)
    cross, u = sigma * (1 if forgotten else spread), clock * time
    stated = cross * start / (spread * start * -np.expm1(-2 * cross * u) + cross * np.exp(-2 * cross * u))
    scale = float(max(np.abs(sigma).max(), start.max()))
    formula = equals(_mode_flow(start, spread * sigma, spread, time), stated, 1e-9, scale)
    # The integrator's 1e-10 of a small mode stays that small, relative to it, until the mode is learned.
    return every(equals(np.diag(left.T @ product(later) @ right), stated, 1e-6, scale), formula)


def check_depth(problem: PlainProblem, factor: float = 2.0, order: float = 2.0) -> float:
    """Compare the speed of a mode at its start, and its integrated layers later, with the flow of depth L."""
    depth, sigma, start, time = (problem[name] for name in ("depth", "strength", "start", "time"))
    layers = [np.full((1, 1), start ** (1 / depth)) for _ in range(depth)]
    layers[0], layers[-1] = layers[0] * np.exp(problem["spread"]), layers[-1] * np.exp(-problem["spread"])
    target = np.full((1, 1), sigma)
    measured = speed(layers, target)
    stated = factor * depth * start ** (2 - order / depth) * (sigma - start)
    later = float(product(flowed(layers, target, time))[0, 0])
    modes = BalancedModes(depth, np.full((1, 1), start), np.full(1, sigma), np.ones(1))
    ours = deep_mode_flow(start, sigma, 1.0, time, depth), modes.at(np.asarray(time))[0, 0]
    curve = equals(ours, later, 1e-6, scale=max(abs(sigma), start))
    # The speed is arithmetic alone, relative to its two terms, which cancel where s = sigma.
    return every(equals(measured, stated, 1e-9, 2 * depth * start ** (2 - 2 / depth) * (abs(sigma) + start)), curve)


def check_balanced_lambda(problem: PlainProblem, factor: float = 2.0, rich: float = 4.0, lazy: float = 1.0) -> float:
    """Compare the speed of both modes at their start, and integrated layers later, with the flow at balance l."""
    sigma, start, balance = np.asarray(problem["strengths"]), np.asarray(problem["starts"]), problem["balance"]
    size = len(sigma)
    left, right = rotation(problem["basis"], size), rotation(problem["basis"] + 1, size + problem["wider"])
    axes, middle = right @ turned(len(right), problem["turn"]), rotation(problem["basis"] + 2, size)
    layers, right = two_layers(left, start, axes, balance, middle), right[:, :size]
    target = (left * sigma) @ right.T
    speeds = np.diag(left.T @ speed(layers, target) @ right)
    rates = factor * np.sqrt(lazy * balance**2 + rich * start**2)
    scale = max(1.0, float(np.abs(sigma).max() + np.abs(start).max()))
    modes = np.diag(left.T @ product(flowed(layers, target, problem["time"])) @ right)
    curve = _mode_flow(start, sigma, 1.0, problem["time"], balance)
    # The speed is arithmetic alone; the integrator leaves 1e-14 of weights of size 1 even where a mode is 0.
    fastest = float(np.max(2 * np.sqrt(balance**2 + 4 * start**2))) or 1.0
    told = equals(balance_of(*layers), balance, 1e-9, max(1.0, abs(balance)))
    speed_of_start = equals(speeds, rates * (sigma - start), 1e-9, fastest * scale)
    return every(told, speed_of_start, equals(modes, curve, 1e-6, scale))


def _rise(balance: st.SearchStrategy[float] = _ZERO) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries({"strength": _STRENGTH, "share": decades(1e-6, 0.45), "balance": balance})


def _two_modes(odds: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries({"start": decades(1e-4, 1), "odds": odds, "stronger": numbers(1.01, 3)})


def _spectra(turn: st.SearchStrategy[float] = _ZERO) -> st.SearchStrategy[PlainProblem]:
    return sized(
        lambda modes: {
            "strengths": values(st.one_of(_STRENGTH, numbers(-2.5, -0.2)), modes),
            "variances": values(decades(0.1, 3), modes),
            "starts": values(decades(1e-6, 1), modes),
            "time": numbers(0.1, 5),
            "wider": st.integers(0, 1),
            "basis": seeds(),
            "turn": turn,
        },
        (1, 2, 8) if turn is _ZERO else (2,),
    ).filter(lambda problem: _tame(np.multiply(problem["strengths"], problem["variances"]), problem["time"]))


def _tame(targets: np.ndarray, time: float) -> bool:
    """Whether rounding stays small: where a mode is driven to 0 by a target of the other sign it grows as e^(-2ct)."""
    return bool(np.min(targets) * time > -8)


def _chains(
    depths: tuple[int, ...] = (1, 2, 3, 5), spread: st.SearchStrategy[float] = _ZERO
) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries(
        {
            "depth": st.sampled_from(depths),
            "strength": numbers(-2, 2),
            "start": decades(1e-4, 3),
            "time": numbers(0.1, 5),
            "spread": spread,
        }
    )


def _balanced(turn: st.SearchStrategy[float] = _ZERO) -> st.SearchStrategy[PlainProblem]:
    return sized(
        lambda modes: {
            "strengths": values(numbers(-2, 2), modes),
            "starts": values(numbers(-1, 1), modes),
            "balance": numbers(-3, 3),
            "time": numbers(0.1, 2),
            "wider": st.integers(0, 1),
            "basis": seeds(),
            "turn": turn,
        },
        (1, 2, 8) if turn is _ZERO else (2,),
    )


_SADDLE: PlainProblem = {
    "strengths": (1.0, 1.0, 1.0, -2.0, 1.0, 1.0, 1.0, 1.0),
    "variances": (1.0, 1.0, 1.0, 2.75, 1.0, 1.0, 1.0, 1.0),
    "starts": (1.0,) * 8,
    "time": 3.0,  # 2 |c| t = 33: rounding leaves the saddle
    **dict.fromkeys(("wider", "basis", "turn"), 0),
}

CLAIMS = (
    Claim(
        id="rise-time",
        statement="Two balanced layers have half of a mode, s_0 < sigma/2, at t = ln(sigma/s_0 - 1) / (4 sigma)",
        source="Saxe et al. 2014",
        equation="1.1",
        domain=_rise(),
        check=check_rise_time,
        variants=(
            Variant(name="rate-of-the-half-loss", changes={"rate": 2.0}),
            Variant(name="as-if-nothing-was-there", changes={"present": 0.0}),
        ),
        beyond=Outside(
            assumption="layers are balanced",
            domain=_rise(numbers(0.1, 3)),
            example={"strength": 1.0, "share": 0.1, "balance": 1.0},
        ),
    ),
    Claim(
        id="stronger-first",
        statement="From the same start s_0 <= sigma / 4.5911 the stronger of two balanced modes is half learned first",
        source="re-derived",
        equation="1.1",
        domain=_two_modes(numbers(LEAST_ODDS, 1e4)),
        check=check_stronger_first,
        variants=(Variant(name="whenever-less-than-half-is-there", domain=_two_modes(numbers(2.01, 10))),),
        beyond=Outside(
            assumption="the start is small, s_0 <= sigma / 4.5911",
            domain=_two_modes(numbers(2.01, 4)),
            example={"start": 1.0, "odds": 3.0, "stronger": 1.5},
        ),
    ),
    Claim(
        id="input-spectrum",
        statement=(
            "Aligned balanced layers, input variance v_i along mode i, s_0 > 0: with c = sigma v != 0 and u = 2t, "
            "s = c s_0 e^(2cu) / (v s_0 (e^(2cu) - 1) + c); where c < 0 until rounding has grown"
        ),
        source="Gidel et al. 2019",
        equation="1.3",
        domain=_spectra(),
        check=check_input_spectrum,
        variants=(
            Variant(name="time-of-the-half-loss", changes={"clock": 1.0}),
            Variant(name="correlation-without-the-variance", changes={"forgotten": True}),
            Variant(name="for-long-towards-the-other-sign", domain=st.just(_SADDLE)),
        ),
        beyond=Outside(
            assumption="the input covariance shares the task's input directions",
            domain=_spectra(numbers(10, 80)),
            example={
                "strengths": (1.0, 1.0),
                "variances": (1.0, 2.0),
                "starts": (0.1, 0.1),
                "time": 1.0,
                "wider": 0,
                "basis": 0,
                "turn": 45.0,
            },
        ),
    ),
    Claim(
        id="depth",
        statement="A mode s > 0 of L balanced layers obeys ds/dt = 2 L s^(2 - 2/L) (sigma - s), sigma of either sign",
        source="Saxe et al. 2014",
        equation="1.4",
        domain=_chains(),
        check=check_depth,
        variants=(
            Variant(name="exponent-two-minus-one-over-depth", changes={"order": 1.0}),
            Variant(name="rate-of-the-half-loss", changes={"factor": 1.0}),
        ),
        beyond=Outside(
            assumption="layers are balanced",
            domain=_chains((2, 3, 5), numbers(0.1, 1)),
            example={"depth": 2, "strength": 0.0, "start": 1.0, "time": 1.0, "spread": 0.5},
        ),
    ),
    Claim(
        id="balanced-lambda",
        statement="A mode of aligned layers of balance l, even s = 0, obeys ds/dt = 2 sqrt(l^2 + 4 s^2) (sigma - s)",
        source="Domine et al. 2025",
        equation="1.5",
        domain=_balanced(),
        check=check_balanced_lambda,
        variants=(
            Variant(name="rate-of-the-half-loss", changes={"factor": 1.0}),
            Variant(name="balance-forgotten", changes={"lazy": 0.0}),
            Variant(name="s-squared-without-its-4", changes={"rich": 1.0}),
        ),
        beyond=Outside(
            assumption="the layers are aligned with the task",
            domain=_balanced(numbers(10, 80)),
            example={
                "strengths": (1.0, 0.0),
                "starts": (0.0, 1.0),
                "balance": 1.0,
                "time": 1.0,
                "wider": 0,
                "basis": 0,
                "turn": 45.0,
            },
        ),
    ),
)
