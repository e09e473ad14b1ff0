"""Claims about fine-tuning rates tuned for every checkpoint by held-out loss. Section 3.7."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every, exceeds
from linsim.claims.themes.finetuning.tuning import balanced_layers, descend
from linsim.testing.draws import decades, numbers, sized, values
from linsim.theory.held_out import late_time, mean_heldout

_STEPS = 400  # of a run; the exponents of flow are off by 2 x rate x strength, a hundredth or less
_TIMES = np.geomspace(0.2, 5.0, 161)  # around the stated time


def check_tuned_time(problem: PlainProblem, counted: float = 1.0, rate: float = 4.0) -> float:
    """Descend towards two samples, one above and one below the task, for many times, and find the best of them."""
    goal, steps = problem["finetune"], _STEPS
    gap = problem["gap"] * goal
    variance = (problem["noise"] * gap) ** 2
    stated = np.log(counted + gap**2 / variance) / (rate * goal)
    etas = _TIMES * abs(stated) / steps
    targets = goal + np.sqrt(variance) * np.array([[1.0], [-1.0]])
    start = np.full((2, len(etas)), goal - gap)
    end = descend(balanced_layers(start), targets, 0.0, etas, steps)
    heldout = np.mean((end - goal) ** 2, axis=0)
    middle = int(np.clip(np.argmin(heldout), 1, len(etas) - 2))
    curve = np.polyfit(np.log(_TIMES[middle - 1 : middle + 2]), heldout[middle - 1 : middle + 2], 2)
    found = np.exp(-curve[1] / (2 * curve[0]))
    # Terms beyond the first order are gap and noise over the strength, 0.02 + 0.04 at most.
    largest = float(np.log1p(gap**2 / variance) / (2 * goal))
    return every(equals(found, 1.0, 0.06), _first_order(goal, goal - gap, float(variance), largest))


def _first_order(goal: float, start: float, variance: float, largest: float) -> float:
    """Whether `mean_heldout` is m^2 + v (ds/d sigma_ft)^2 of the logistic curve, and `late_time` where it is least."""
    times, nearby = np.linspace(0, largest, 4001), goal * (1 + 1e-6 * np.array([[-1.0], [1.0]]))
    below, above = nearby / (1 + (nearby / start - 1) * np.exp(-4 * nearby * times))
    response, missing = (above - below) / (2e-6 * goal), (above + below) / 2 - goal
    curve = missing**2 + variance * response**2
    given = np.full(1, start), np.full(1, goal), variance
    # Steps of 1/4000 of the range, the coefficients of which are taken from their middles.
    agrees = equals(mean_heldout(*given, times), curve, 1e-4)
    return every(agrees, equals(late_time(*given, largest), times[np.argmin(curve)], 3e-3, scale=largest))


def check_relearned(problem: PlainProblem, share: float = 1.0, slowest: bool = True) -> float:
    """Descend for the stated time from many budgets of pre-training; compare strengths and harm with their bounds."""
    pretrain = np.asarray(problem["pretrain"])
    finetune = pretrain * np.asarray(problem["ratios"])
    start, left, steps = problem["start"], problem["left"], 2 * _STEPS
    budgets = np.geomspace(0.01, 8 / pretrain.min(), 40)
    learned = pretrain / (1 + (pretrain / start - 1) * np.exp(-4 * pretrain * budgets[:, None]))
    if not problem["real"]:
        learned = np.where(learned > pretrain / 2, pretrain, 0.0)
    times = np.log(finetune / (left * start)) / (4 * finetune)
    time = share * problem["extra"] * (np.max(times) if slowest else np.min(times))
    end = descend(balanced_layers(learned), finetune, 0.0, time / steps, steps)
    losses = np.sum((end - pretrain) ** 2, axis=-1)
    stated = np.max((finetune - pretrain) ** 2 / ((1 - left) * finetune - pretrain) ** 2) - 1
    near = every(*(exceeds(each, (1 - left) * finetune) for each in end))
    return every(near, exceeds(stated, losses[-1] / losses.min() - 1, scale=float(stated)))


def _near(low: float, high: float) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries(
        {"finetune": decades(0.1, 10), "gap": decades(low, high), "noise": decades(0.2, 2)},
    )


def _relearned(real: bool) -> st.SearchStrategy[PlainProblem]:
    return sized(
        lambda modes: {
            "pretrain": values(numbers(0.5, 2), modes),
            "ratios": values(numbers(1.5, 4), modes),
            "start": decades(1e-5, 1e-2),
            "left": decades(0.01, 0.2),
            "extra": numbers(1.05, 2),
            "real": st.just(real),
        }
    )


CLAIMS = (
    Claim(
        id="tuned-time",
        statement="From a mode at s_0 near sigma_ft, tuned on samples that ask for sigma_ft +- sqrt(v), the mean "
        "held-out loss is least at eta K = ln(1 + (sigma_ft - s_0)^2 / v) / (4 sigma_ft), to first order",
        source="re-derived",
        equation="3.7",
        domain=_near(1e-3, 0.02),
        check=check_tuned_time,
        variants=(
            Variant(name="one-left-out", changes={"counted": 0.0}),
            Variant(name="rate-of-the-half-loss", changes={"rate": 2.0}),
        ),
        beyond=Outside(
            assumption="the mode is near its target",
            domain=_near(0.5, 0.9),
            example={"finetune": 1.0, "gap": 0.8, "noise": 0.5},
        ),
    ),
    Claim(
        id="relearned-no-u",
        statement="Where (1 - eps) sigma_ft > sigma_pre in every mode and modes start at s_0 > 0, flow for eta K >= "
        "max ln(sigma_ft / (eps s_0)) / (4 sigma_ft) takes every checkpoint within eps sigma_ft of the task, and "
        "harm is at most max ((sigma_ft - sigma_pre) / ((1 - eps) sigma_ft - sigma_pre))^2 - 1",
        source="re-derived",
        equation="3.7",
        domain=_relearned(True),
        check=check_relearned,
        lemma=True,
        variants=(
            Variant(name="half-the-time", changes={"share": 0.5}),
            Variant(name="time-of-the-quickest-mode", changes={"slowest": False}),
        ),
        beyond=Outside(
            assumption="modes that were not learned are not exactly 0",
            domain=_relearned(False),
            example={
                "pretrain": (2.0, 1.0, 0.5),
                "ratios": (2.0, 2.0, 2.0),
                "start": 1e-3,
                "left": 0.1,
                "extra": 1.5,
                "real": False,
            },
        ),
    ),
)
