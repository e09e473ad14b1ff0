"""Claims about fine-tuning that is cut short: flow time, critical times, whole charts. Section 3.5 to 3.7."""

from __future__ import annotations

import jax
import numpy as np
from hypothesis import strategies as st
from scipy.integrate import quad, solve_ivp

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every, exceeds
from linsim.claims.themes.finetuning.tuning import balanced_layers, descend, descend_deep
from linsim.dynamics.modes.mode_flow import mode_flow
from linsim.testing.draws import decades, numbers, sized, values
from linsim.theory.stages import critical_effort, critical_time, learning_time, tuned

_BRACKET = (0.9, 1.1)  # of a critical time
_STRENGTH = numbers(0.3, 3)
_SIGNED = st.one_of(numbers(0.1, 4), numbers(-3, -0.1))
_TWO, _DEPTH = st.just(2), st.integers(2, 5)
_MANY, _FEW = st.integers(300, 500), st.integers(1, 2)


_tuned_mode = jax.jit(tuned)


def check_finite_tuning(problem: PlainProblem, rate: float = 4.0, stiffer: bool = True) -> float:
    """Integrate the flow of two layers and compare every mode with the stated curve, and with `tuned`."""
    start, goal, penalty = np.asarray(problem["start"]), np.asarray(problem["finetune"]), problem["penalty"]
    anchored = goal + penalty * start

    def flow(_: float, values: np.ndarray) -> np.ndarray:
        inner, outer = values.reshape(2, -1)
        return np.concatenate([outer, inner]) * np.tile(2 * (anchored - (1 + penalty) * inner * outer), 2)

    layers = balanced_layers(start, problem["stretch"]).ravel()
    inner, outer = (
        solve_ivp(flow, (0, problem["time"]), layers, "DOP853", rtol=1e-9, atol=1e-14).y[:, -1].reshape(2, -1)
    )
    limit = anchored / (1 + penalty)
    fast = rate * (1 + penalty if stiffer else 1) * problem["time"]
    gone = np.where(limit == 0, fast, -np.expm1(-fast * limit) / np.where(limit == 0, 1, limit))
    stated = start / (np.exp(-fast * limit) + start * gone)  # the stated one times s_0 / s_inf above and below
    ours = _tuned_mode(start, goal, penalty, problem["time"])
    scale = float(max(goal.max(), start.max()))
    half = learning_time(2, start, goal, penalty)
    by_then = limit / (1 + (limit / start - 1) * np.exp(-4 * (1 + penalty) * limit * half))
    learning = equals(by_then, np.maximum(limit / 2, start), 1e-9) if np.all(start <= limit) else 1.0
    # An error of 1e-9 of a small mode stays that small, relative to it, until it is learned and then shrinks.
    return every(equals(inner * outer, stated, 1e-6, scale), equals(ours, inner * outer, 1e-6, scale), learning)


def check_critical_time(problem: PlainProblem, factor: float = 2.0, rate: float = 4.0) -> float:
    """Descend from a mode learned in full to both sides of the stated time, and see on which it does harm."""
    learned, penalty = problem["pretrain"], problem["penalty"]
    goal = (2 + penalty + problem["excess"]) * learned
    limit = (goal + penalty * learned) / (1 + penalty)
    time = np.log(factor * (limit - learned) / (limit - 2 * learned)) / (rate * (1 + penalty) * limit)
    etas = np.asarray(_BRACKET) * time / problem["steps"]
    before, after = descend(balanced_layers(np.full(2, learned)), goal, penalty, etas, problem["steps"])
    ours = critical_time(learned, goal, penalty)
    agrees = equals(ours, time, 1e-9) if (factor, rate) == (2.0, 4.0) else 1.0
    return every(agrees, exceeds(after, 2 * learned), exceeds(2 * learned, before))


def check_deep_critical_time(problem: PlainProblem, depth: int | None = None) -> float:
    """Descend equal layers to both sides of the integral of ds / (ds/dt) from sigma_pre to twice that."""
    learned, penalty, layers, steps = (problem[name] for name in ("pretrain", "penalty", "depth", "steps"))
    goal, stated = (2 + penalty + problem["excess"]) * learned, depth or layers
    anchored = goal + penalty * learned

    def slowness(s: float) -> float:
        return 1 / (2 * stated * s ** (2 - 2 / stated) * (anchored - (1 + penalty) * s))

    time = quad(slowness, learned, 2 * learned, epsabs=0, epsrel=1e-10)[0]
    etas = np.asarray(_BRACKET) * time / steps
    before, after = descend_deep(np.full(2, learned), goal, penalty, layers, etas, steps)
    effort = (1 + penalty) * learned ** (2 - 2 / layers) * time
    if depth is None:
        pull = (goal / learned + penalty) / (1 + penalty)
        return every(
            exceeds(after, 2 * learned),
            exceeds(2 * learned, before),
            equals(critical_effort(layers, pull), effort, 1e-8),
        )
    return every(exceeds(after, 2 * learned), exceeds(2 * learned, before))


def check_chart(problem: PlainProblem, rate: float = 4.0, towards_task: bool = False) -> float:
    """Pre-train and fine-tune by descent, in steps and in twice as many, and extrapolate to the two stated flows."""
    pretrain, finetune = np.asarray(problem["pretrain"]), np.asarray(problem["finetune"])
    start, penalty, steps = np.full(len(pretrain), problem["start"]), problem["penalty"], problem["steps"]

    def simulated(steps: int) -> float:
        checkpoint = descend(balanced_layers(start), pretrain, 0.0, problem["pretrain_time"] / steps, steps)
        end = descend(balanced_layers(checkpoint), finetune, penalty, problem["time"] / steps, steps)
        return float(np.sum((end - pretrain) ** 2))

    checkpoint = pretrain / (1 + (pretrain / start - 1) * np.exp(-rate * pretrain * problem["pretrain_time"]))
    limit = (finetune + penalty * (pretrain if towards_task else checkpoint)) / (1 + penalty)
    left = np.exp(-4 * (1 + penalty) * limit * problem["time"])
    stated = np.sum((limit / (1 + (limit / checkpoint - 1) * left) - pretrain) ** 2)
    # Exponents of up to 4 sigma t = 12 are off by sigma t / 300 of themselves, e = 0.12. Extrapolating removes what is
    # of first order in e and leaves about e^2 / 4, times the curvature of the logistic curve, sigma / 10: 4e-4.
    extrapolated = 2 * simulated(2 * steps) - simulated(steps)
    before = mode_flow(start, pretrain, 1.0, problem["pretrain_time"])
    ours = np.sum((np.asarray(tuned(before, finetune, penalty, problem["time"])) - pretrain) ** 2)
    scale = float(np.sum(pretrain**2 + finetune**2))
    return every(equals(extrapolated, stated, 1e-3, scale), equals(ours, stated, 1e-10, scale))


def check_matched_loss(problem: PlainProblem, matched: bool = True) -> float:
    """Tune the rate of two checkpoints until their fine-tuning losses are the same, and compare the other losses."""
    pretrain, steps = np.asarray(problem["pretrain"]), problem["steps"]
    finetune = pretrain * np.asarray(problem["ratios"])
    checkpoints = np.asarray(problem["learned"])[:, None] * pretrain
    level = (problem["left"] * np.min(np.abs(finetune - pretrain))) ** 2

    def ends(rates: np.ndarray) -> np.ndarray:
        return descend(balanced_layers(checkpoints), finetune, 0.0, rates[:, None], steps)

    low, high = np.zeros(2), np.full(2, 0.9 / (4 * finetune.max()))
    for _ in range(40):  # the loss falls with the rate up to there
        middle = (low + high) / 2
        above = np.sum((ends(middle) - finetune) ** 2, axis=-1) > level
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    early, late = np.sum((ends(high if matched else np.full(2, high[0])) - pretrain) ** 2, axis=-1)
    return every(equals(early, late, 1e-6), exceeds(*high) if matched else 1.0)  # bisected to 2^-40


def _tuned(stretch: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    return sized(
        lambda modes: {
            "start": values(decades(1e-6, 3), modes),
            "finetune": values(_SIGNED, modes),
            "penalty": numbers(0, 3),
            "time": decades(1e-2, 1),
            "stretch": stretch,
        }
    )


def _harmful(steps: st.SearchStrategy[int], depth: st.SearchStrategy[int] = _TWO) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries(
        {
            "pretrain": _STRENGTH,
            "excess": decades(0.05, 10),
            "penalty": numbers(0, 5),
            "depth": depth,
            "steps": steps,
        }
    )


def _charts(steps: st.SearchStrategy[int]) -> st.SearchStrategy[PlainProblem]:
    return sized(
        lambda modes: {
            "pretrain": values(numbers(0.3, 2), modes),
            "finetune": values(_SIGNED, modes),
            "start": decades(1e-4, 0.1),
            "pretrain_time": numbers(0.1, 1.5),
            "penalty": numbers(0, 2),
            "time": decades(1e-2, 0.5),
            "steps": steps,
        }
    )


def _matched(modes: int) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries(
        {
            "pretrain": st.tuples(*[numbers(0.5, 2)] * modes),
            "ratios": st.tuples(*[numbers(1.02, 8)] * modes),
            "learned": st.tuples(numbers(0.05, 0.5), numbers(0.6, 1)),
            "left": numbers(0.1, 0.9),
            "steps": st.just(100),
        }
    )


CLAIMS = (
    Claim(
        id="finite-tuning",
        statement="After flow time T = eta K a mode is s_inf / (1 + (s_inf/s_0 - 1) exp(-4 (1 + lambda) s_inf T)), "
        "s_inf = (sigma_ft + lambda s_0) / (1 + lambda) of either sign (0 in the limit), s_0 > 0, for balanced layers",
        source="re-derived",
        equation="3.5",
        domain=_tuned(st.just(1.0)),
        check=check_finite_tuning,
        variants=(
            Variant(name="rate-of-the-half-loss", changes={"rate": 2.0}),
            Variant(name="rate-without-the-penalty", changes={"stiffer": False}),
        ),
        beyond=Outside(
            assumption="layers are balanced",
            domain=_tuned(numbers(1.1, 2)),
            example={"start": (1.0, 1.0), "finetune": (2.0, 1.0), "penalty": 0.0, "time": 0.1, "stretch": 2.0},
        ),
    ),
    Claim(
        id="critical-rate-times-steps",
        statement="A misaligned mode learned in full is net harm after eta K iff eta K exceeds T* = "
        "ln[2 (s_inf - sigma_pre) / (s_inf - 2 sigma_pre)] / (4 (1 + lambda) s_inf), for small steps",
        source="re-derived",
        equation="3.5",
        domain=_harmful(_MANY),
        check=check_critical_time,
        variants=(
            Variant(name="factor-two-left-out", changes={"factor": 1.0}),
            Variant(name="rate-of-the-half-loss", changes={"rate": 2.0}),
        ),
        beyond=Outside(
            assumption="steps are small",
            domain=_harmful(_FEW),
            example={"pretrain": 1.0, "excess": 1.0, "penalty": 0.0, "depth": 2, "steps": 1},
        ),
    ),
    Claim(
        id="deep-critical-time",
        statement="With L balanced layers a misaligned mode learned in full is net harm after eta K, in small steps, "
        "iff eta K > T* = integral over sigma_pre < s < 2 sigma_pre of ds / [2 L s^(2 - 2/L) (1 + lambda) (s_inf - s)]",
        source="re-derived",
        equation="3.5",
        domain=_harmful(_MANY, _DEPTH),
        check=check_deep_critical_time,
        variants=(
            Variant(name="that-of-two-layers", changes={"depth": 2}, domain=_harmful(st.just(400), st.integers(3, 5))),
        ),
        beyond=Outside(
            assumption="steps are small",
            domain=_harmful(_FEW, _DEPTH),
            example={"pretrain": 1.0, "excess": 1.0, "penalty": 0.0, "depth": 2, "steps": 1},
        ),
    ),
    Claim(
        id="chart-in-closed-form",
        statement="The pre-training loss after pre-training for t and fine-tuning for T, by descent from aligned "
        "balanced layers, differs from the two flows put together by a multiple of the rates, to first order",
        source="re-derived",
        equation="3.6",
        domain=_charts(st.just(300)),
        check=check_chart,
        variants=(
            Variant(name="pre-training-at-the-rate-of-the-half-loss", changes={"rate": 2.0}),
            Variant(name="penalty-towards-the-task", changes={"towards_task": True}),
        ),
        beyond=Outside(
            assumption="rates are small",
            domain=_charts(st.integers(3, 5)),
            example={
                "pretrain": (2.0, 1.0, 1.0),
                "finetune": (4.0, 1.0, 1.0),
                "start": 0.01,
                "pretrain_time": 1.0,
                "penalty": 0.0,
                "time": 0.1,
                "steps": 4,
            },
        ),
    ),
    Claim(
        id="matched-loss-no-u",
        statement="With one mode and sigma_ft > sigma_pre, rates tuned so that every checkpoint reaches the same "
        "fine-tuning loss also give it the same pre-training loss, at rates that fall along pre-training: no U",
        source="re-derived",
        equation="3.7",
        domain=_matched(1),
        check=check_matched_loss,
        lemma=True,
        variants=(
            Variant(name="one-rate-for-all", changes={"matched": False}),
            Variant(  # early checkpoints come from below sigma_ft, late ones from above
                name="weaker-in-fine-tuning",
                domain=st.just(
                    {"pretrain": (1.0,), "ratios": (0.5,), "learned": (0.1, 1.0), "left": 0.5, "steps": 100}
                ),
            ),
        ),
        beyond=Outside(
            assumption="there is one mode",
            domain=_matched(2),
            example={"pretrain": (2.0, 1.0), "ratios": (2.0, 2.0), "learned": (0.1, 1.0), "left": 0.5, "steps": 100},
        ),
    ),
)
