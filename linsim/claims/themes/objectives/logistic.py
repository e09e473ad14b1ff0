"""Claims about modes under cross-entropy with a sigmoid: learning, unlearning, overshoot and noise."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every, exceeds, same_side
from linsim.testing.draws import numbers
from linsim.theory.objectives.logistic import (
    FISHER_PEAK,
    fisher_of_mode,
    flipped_mode,
    hard_label_mode,
    overshoot_threshold,
)

_NODES = np.linspace(-9, 9, 361)
"""Of a standard normal number: of smooth functions the sum over them is an integral to rounding."""
_WEIGHTS = np.exp(-(_NODES**2) / 2) / np.exp(-(_NODES**2) / 2).sum()


def check_hard_label_mode(problem: PlainProblem, factor: float = 1.0) -> float:
    """Integrate both weights, and compare their product with the closed form."""
    weights = _learned(problem, 1.0)
    # Runge-Kutta to 1e-11 a step; an early error grows with the mode, by e^6 at most.
    stated = hard_label_mode(problem["start"], factor * problem["time"])
    return equals(weights[0] * weights[1], stated, tolerance=1e-7)


def check_flipped_mode(problem: PlainProblem, factor: float = 1.0) -> float:
    """Integrate both weights towards the other label: their product, and the loss, which stays above ln 2."""
    weights = _learned(problem, -1.0)
    margin = float(weights[0] * weights[1])
    stated = flipped_mode(problem["start"], factor * problem["time"])
    left = exceeds(np.logaddexp(0, margin), math.log(2))
    return every(equals(margin, stated, tolerance=1e-7), min(left, 1.0) if margin > 0 else left)


def check_overshoot(problem: PlainProblem, rule: str = "exact") -> float:
    """Take a learned mode beyond its target, and compare its loss with that of a mode at 0."""
    logit, others = problem["logit"], problem["classes"] - 1
    thresholds = {
        "exact": overshoot_threshold(logit),
        "squared-error": 2.0,
        "confident": math.log(2) * math.exp(logit) / logit,
    }
    reached = float(thresholds[rule]) * (1 + problem["beyond"]) * logit
    # The largest logit against others at 0: cross-entropy less that at 0.
    label = 1 / (1 + others * math.exp(-logit))
    harm = math.log1p(others * math.exp(-reached)) + (1 - label) * reached - math.log(1 + others)
    return same_side(harm / (math.tanh(logit / 2) * logit), problem["beyond"])


def check_fisher_peak(problem: PlainProblem, peak: float = FISHER_PEAK) -> float:
    """Average squared scores over both labels at margins on either side of the peak."""
    margins = peak * np.asarray(problem["shares"]), peak / np.asarray(problem["shares"])
    told, bounds = [], []
    for side in margins:
        traces = []
        for margin in np.sort(side):
            first, second = _layers(margin, problem["balance"])
            likely = 1 / (1 + math.exp(-margin))
            squares = (first**2 + second**2) * np.array([1 - likely, likely]) ** 2
            traces.append(float(np.array([likely, 1 - likely]) @ squares))
        told.append(equals(fisher_of_mode(np.sort(side)), np.asarray(traces), tolerance=1e-10))
        bounds.append(traces)
    rising, falling = exceeds(bounds[0][1], bounds[0][0]), exceeds(bounds[1][0], bounds[1][1])
    return every(rising, falling, *told)


def check_hard_labels_under_noise(problem: PlainProblem, label: float = 1.0) -> float:
    """The mean loss of a mode with noise on its weights, smaller at the larger weights."""
    smaller = problem["weight"]
    before, after = (
        _noisy((weight, weight), problem["noise"], problem["other_noise"], label)
        for weight in (smaller, smaller * problem["grows"])
    )
    return exceeds(before, after, rounding=1e-9)  # rounding of sums over a hundred thousand nodes


def check_confidence_under_noise(problem: PlainProblem, peak: float = FISHER_PEAK) -> float:
    """Whether the mean loss rises at the end of pre-training to the label sigmoid(a), from the exact loss."""
    logit, noise = problem["logit"], problem["noise"]
    label, step = 1 / (1 + math.exp(-logit)), 1e-3
    ends = [_noisy(_layers(logit * (1 + sign * step), problem["balance"]), noise, noise, label) for sign in (-1, 1)]
    slope = (ends[1] - ends[0]) / (2 * step * noise**2)
    return same_side(slope, 1 - logit / peak)


def _learned(problem: PlainProblem, sign: float) -> np.ndarray:
    """Both weights of a mode after some flow time towards a label."""

    def velocity(_: float, weights: np.ndarray) -> np.ndarray:
        return sign / (1 + np.exp(sign * weights[0] * weights[1])) * weights[::-1]

    span = (0.0, problem["time"])
    start = _layers(problem["start"], problem["balance"])
    return np.asarray(solve_ivp(velocity, span, start, "DOP853", rtol=1e-11, atol=1e-13).y[:, -1])


def _layers(product: float, balance: float) -> tuple[float, float]:
    """Weights w_1 and w_2 of a product, with w_2^2 - w_1^2 the balance."""
    first = math.sqrt((math.sqrt(balance**2 + 4 * product**2) - balance) / 2)
    return first, product / first


def _noisy(weights: tuple[float, float], noise: float, other_noise: float, label: float) -> float:
    """Mean cross-entropy of (w_1 + gamma z)(w_2 + gamma' z') with a label."""
    margins = np.outer(weights[0] + noise * _NODES, weights[1] + other_noise * _NODES)
    losses = np.logaddexp(0, -margins) + (1 - label) * margins
    return float(_WEIGHTS @ losses @ _WEIGHTS)


def _modes(time: st.SearchStrategy[float], balance: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries({"start": numbers(1e-4, 8), "time": time, "balance": balance})


def _overshoots(classes: st.SearchStrategy[int], least: float = 0.2) -> st.SearchStrategy[PlainProblem]:
    beyond = st.one_of(numbers(0.001, 2), numbers(-0.5, -0.001))
    return st.fixed_dictionaries({"logit": numbers(least, 8), "classes": classes, "beyond": beyond})


def _peaks(balance: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    shares = st.tuples(numbers(0.05, 0.6), numbers(0.65, 0.98))
    return st.fixed_dictionaries({"shares": shares, "balance": balance})


def _noises(both: bool = True, least: float = 0.05, weight: float = 3.0) -> st.SearchStrategy[PlainProblem]:
    scale = numbers(least, 3)
    told = {"weight": numbers(0.05, weight), "grows": numbers(1.1, 2), "noise": scale}
    if both:
        return st.fixed_dictionaries(told).map(lambda drawn: {**drawn, "other_noise": drawn["noise"]})
    return st.fixed_dictionaries({**told, "other_noise": st.just(0.0)})


def _confident(balance: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    logit = st.one_of(numbers(0.3, 1.45), numbers(1.64, 4))
    return st.fixed_dictionaries({"logit": logit, "noise": numbers(0.01, 2), "balance": balance})


_BALANCED, _OFF = st.just(0.0), numbers(1, 3)
_LEARNING, _UNLEARNING = numbers(0.1, 12), numbers(0.1, 6)

CLAIMS = (
    Claim(
        id="hard-label-mode",
        statement="Two balanced layers with a hard label and one sigmoid an output: ln s + Ei(s) grows by 2 t",
        source="re-derived",
        equation="5.1",
        domain=_modes(_LEARNING, _BALANCED),
        check=check_hard_label_mode,
        variants=(
            Variant(name="half-the-rate", changes={"factor": 0.5}),
            Variant(name="the-rate-of-squared-error", changes={"factor": 2.0}),
        ),
        beyond=Outside(
            assumption="layers are balanced",
            domain=_modes(_LEARNING, _OFF),
            example={"start": 0.1, "time": 2.0, "balance": 2.0},
        ),
    ),
    Claim(
        id="flipped-mode",
        statement="The same fine-tuned to the other label: ln s - E1(s) falls by 2 T, s never changes its sign, and "
        "the loss stays above ln 2",
        source="re-derived",
        equation="5.2",
        domain=_modes(_UNLEARNING, _BALANCED),
        check=check_flipped_mode,
        variants=(
            Variant(name="half-the-rate", changes={"factor": 0.5}),
            Variant(name="the-rate-of-squared-error", changes={"factor": 2.0}),
        ),
        beyond=Outside(
            assumption="layers are balanced, and so cannot change sign",
            domain=_modes(_UNLEARNING, _OFF),
            example={"start": 0.5, "time": 4.0, "balance": 2.0},
        ),
    ),
    Claim(
        id="confident-overshoot",
        statement="A mode learned to its soft label sigmoid(a) and fine-tuned to r a is worse than one not learned iff "
        "r > r*(a), 2 + a^2/6 at small a and ln 2 (1 + e^a)/a at large",
        source="re-derived",
        equation="5.3",
        domain=_overshoots(st.just(2)),
        check=check_overshoot,
        variants=(
            Variant(
                name="twice-as-for-squared-error",
                changes={"rule": "squared-error"},
                domain=_overshoots(st.just(2), least=1.0),
            ),
            Variant(name="the-confident-limit-without-one", changes={"rule": "confident"}),
        ),
        beyond=Outside(
            assumption="there are two classes",
            domain=_overshoots(st.integers(5, 12)),
            example={"logit": 2.0, "classes": 10, "beyond": -0.05},
        ),
    ),
    Claim(
        id="fisher-peak",
        statement="The trace of the Fisher matrix of a balanced mode is 2 s p (1 - p), p = sigmoid(s): it rises until "
        "s tanh(s/2) = 1, s = 1.543, and then falls",
        source="re-derived",
        equation="5.4",
        domain=_peaks(_BALANCED),
        check=check_fisher_peak,
        variants=(
            Variant(name="a-peak-at-one", changes={"peak": 1.0}),
            Variant(name="a-peak-where-s-tanh-is-two", changes={"peak": 2.3994}),
        ),
        beyond=Outside(
            assumption="layers are balanced",
            domain=_peaks(_OFF),
            example={"shares": (0.3, 0.9), "balance": 3.0},
        ),
    ),
    Claim(
        id="hard-labels-never-turn",
        statement="With noise of one scale on both weights the mean loss of a balanced mode with a hard label falls "
        "for ever as its weights grow, at any scale: noise has no inflection",
        source="re-derived",
        equation="5.4",
        domain=_noises(),
        check=check_hard_labels_under_noise,
        variants=(Variant(name="of-soft-labels-too", changes={"label": 0.7}),),
        beyond=Outside(
            assumption="noise is on both layers alike",
            domain=_noises(both=False, least=2.2, weight=0.5),
            example={"weight": 0.2, "grows": 1.5, "noise": 3.0, "other_noise": 0.0},
        ),
        lemma=True,
    ),
    Claim(
        id="confident-labels-never-turn",
        statement="With soft labels sigmoid(a) noise on both weights makes the mean loss rise at the end of "
        "pre-training iff a < 1.543, where a tanh(a/2) = 1: to first order in gamma^2, and within 6 % up to gamma = 2",
        source="re-derived",
        equation="5.4",
        domain=_confident(_BALANCED),
        check=check_confidence_under_noise,
        variants=(
            Variant(name="at-any-confidence", changes={"peak": 1e3}),
            Variant(name="of-hardly-confident-ones-alone", changes={"peak": 0.75}),
        ),
        beyond=Outside(
            assumption="layers are balanced",
            domain=_confident(_OFF),
            example={"logit": 1.2, "noise": 0.1, "balance": 3.0},
        ),
        lemma=True,
    ),
)
