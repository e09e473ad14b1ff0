"""Claims about the penalty towards the checkpoint: what it removes, what it delays, what it costs. Section 3.4."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every, exceeds, same_side
from linsim.claims.themes.finetuning.tuning import stages, tasks, tuned_losses
from linsim.testing.draws import decades, numbers, sized, values
from linsim.theory.stages import stage_losses

_ROUNDING = 1e-9  # of losses, after some thousand steps
_STRENGTH = numbers(0.5, 2)
_STRONG_FIRST = st.tuples(numbers(1.5, 2), numbers(0.5, 0.6), numbers(0.5, 0.6))
_FIRST_MISALIGNED = st.tuples(numbers(3.5, 5), numbers(0.8, 1.2), numbers(0.8, 1.2))
_FIRST_FORGOTTEN = st.tuples(numbers(1.2, 1.6), numbers(10, 12), numbers(10, 12))
_WEAK_LATER = st.tuples(numbers(1.8, 2), numbers(0.1, 0.2), numbers(0.1, 0.2))
_ANY = st.one_of(numbers(0.4, 5), numbers(-3, -0.1))  # either sign: a mode cannot cross 0
_CHANGED = st.one_of(numbers(1.1, 5), numbers(0.4, 0.9), numbers(-3, -0.1))
_TIME = decades(1e-2, 0.4)
_YES, _NO, _NONE = st.just(True), st.just(False), st.just(0.0)


def check_removed(
    problem: PlainProblem, threshold: float = 2.0, of: Callable[[Any], Any] = max, scale: float = 1.0
) -> float:
    """Descend from every stage to convergence, and see whether the loss ever rises, as the ratios of the tasks say."""
    pretrain, finetune = tasks(problem)
    checkpoints = stages(pretrain)
    if problem["part"] < 1:  # every mode is also seen when it is learned in part
        modes = len(pretrain)
        halfway = np.where(np.eye(modes + 1, modes, dtype=bool), problem["part"] * pretrain, checkpoints)[:-1]
        checkpoints = np.insert(checkpoints, range(1, modes + 1), halfway, axis=0)
    losses, _ = tuned_losses(checkpoints, pretrain, finetune, problem["penalty"])
    rise = float(np.max(np.diff(losses))) / float(losses[0])
    agrees = 1.0
    if problem["part"] == 1:
        agrees = equals(stage_losses(pretrain, finetune, problem["penalty"]), losses, 1e-6, scale=float(losses.max()))
    beyond = float(of(problem["ratios"])) - threshold - scale * problem["penalty"]
    return every(agrees, same_side(rise, beyond, rounding=_ROUNDING))


def check_delayed(problem: PlainProblem, reverse: bool = False) -> float:
    """Tune with two penalties: with the larger one the lowest stage is no earlier, and the rise after it no larger."""
    small, large = (losses for losses, _ in _two(problem))
    agrees = _as_told(problem, small, large)
    if reverse:
        small, large = large, small
    lowest = int(np.argmin(small))
    later = exceeds(large[: lowest + 1], float(large[lowest:].min()), rounding=_ROUNDING)
    more, less = (float(losses[-1] - losses.min()) for losses in (small, large))
    return every(agrees, later, exceeds(more, less, rounding=_ROUNDING, scale=float(small[0])))


def check_harm_shrinks(problem: PlainProblem, reverse: bool = False) -> float:
    """Tune with two penalties and compare the harm, last loss over smallest loss, multiplied out."""
    (small, _), (large, _) = _two(problem)
    agrees = _as_told(problem, small, large)
    more, less = small[-1] * large.min(), large[-1] * small.min()  # tasks that agree leave a smallest loss of 0
    if reverse:
        more, less = less, more
    return every(agrees, exceeds(more, less, rounding=1e-12, scale=float(small[0] * large[0])))


def check_costs(problem: PlainProblem, saves: bool = False) -> float:
    """Tune with two penalties and compare the fine-tuning losses, from the same stage or from each one's best."""
    (small, small_tuned), (large, large_tuned) = _two(problem)
    if problem["best_stage"]:
        return exceeds(large_tuned[np.argmin(large)], small_tuned[np.argmin(small)])
    return exceeds(*((small_tuned[1:], large_tuned[1:]) if saves else (large_tuned[1:], small_tuned[1:])))


def _as_told(problem: PlainProblem, small: np.ndarray, large: np.ndarray) -> float:
    """Whether `stage_losses` has both curves, where fine-tuning converges from idealised stages."""
    if not problem["converged"] or problem["unlearned"]:
        return 1.0
    penalties = problem["penalty"], problem["penalty"] + problem["more"]
    told = [stage_losses(*tasks(problem), penalty) for penalty in penalties]
    return equals(told, [small, large], 1e-6)


def _two(problem: PlainProblem) -> list[tuple[np.ndarray, np.ndarray]]:
    """Both losses over stages, with the smaller penalty and with the larger one."""
    pretrain, finetune = tasks(problem)
    checkpoints = stages(pretrain, problem["unlearned"])
    time = None if problem["converged"] else problem["time"]
    penalties = problem["penalty"], problem["penalty"] + problem["more"]
    return [tuned_losses(checkpoints, pretrain, finetune, penalty, time) for penalty in penalties]


def _regularised(part: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    return sized(
        lambda modes: {
            "pretrain": values(_STRENGTH, modes),
            "ratios": values(_ANY, modes),
            "penalty": numbers(0, 3),
            "part": part,
        }
    ).filter(lambda problem: _settles(problem, problem["penalty"]))


def _two_penalties(
    converged: st.SearchStrategy[bool],
    unlearned: st.SearchStrategy[float] = _NONE,
    best_stage: st.SearchStrategy[bool] = _NO,
    ratios: st.SearchStrategy[tuple[float, ...]] | None = None,
    strengths: st.SearchStrategy[tuple[float, ...]] | None = None,
    first: st.SearchStrategy[float] = _ANY,
) -> st.SearchStrategy[PlainProblem]:
    """Any number of modes, with the first one's ratio of its own; or three, where ratios are given."""

    def of(modes: int) -> dict[str, st.SearchStrategy[Any]]:
        drawn = st.tuples(first, values(_ANY, modes - 1)).map(lambda parts: (parts[0], *parts[1]))
        return {
            "pretrain": values(_STRENGTH, modes) if strengths is None else strengths,
            "ratios": drawn if ratios is None else ratios,
            "penalty": numbers(0, 1.5),
            "more": numbers(0.05, 1.5),
            "time": _TIME,
            "converged": converged,
            "unlearned": unlearned,
            "best_stage": best_stage,
        }

    def settles(problem: PlainProblem) -> bool:
        penalties = problem["penalty"], problem["penalty"] + problem["more"]
        return not problem["converged"] or all(_settles(problem, penalty) for penalty in penalties)

    return sized(of, (1, 2, 3, 8) if ratios is None else (3,)).filter(settles)


def _settles(problem: PlainProblem, penalty: float) -> bool:
    """Whether no mode tends to a limit near 0, which takes long."""
    return all(abs(ratio + penalty) >= 0.05 * (1 + penalty) for ratio in problem["ratios"])


def _stays_above_zero(problem: PlainProblem) -> bool:
    """Whether the first mode has a limit > 0 with the larger penalty; near 0 it would take long to get there."""
    penalty = problem["penalty"] + problem["more"]
    return bool(problem["ratios"][0] + penalty >= 0.1 * (1 + penalty))


_THREE: PlainProblem = {
    "pretrain": (2.0, 0.5, 0.5),
    "ratios": (4.0, 1.0, 1.0),
    "penalty": 0.0,
    "more": 1.0,
    "time": 0.4,
    "converged": False,
    "unlearned": 0.0,
    "best_stage": False,
}

CLAIMS = (
    Claim(
        id="regularisation-removes",
        statement="Over idealised stages the loss after fine-tuning to convergence rises somewhere iff "
        "lambda < max sigma_ft / sigma_pre - 2: from there on the penalty removes overtraining",
        source="as restated in Feng et al. 2026",
        equation="3.4",
        domain=_regularised(st.just(1.0)),
        check=check_removed,
        variants=(
            Variant(name="threshold-of-overshooting", changes={"threshold": 1.0}),
            Variant(name="mean-of-the-ratios", changes={"of": np.mean}),
            Variant(name="penalty-counted-twice", changes={"scale": 2.0}),
        ),
        beyond=Outside(
            assumption="checkpoints are idealised stages, with no mode learned in part",
            domain=_regularised(numbers(0.05, 0.95)),
            example={"pretrain": (1.0, 1.0, 1.0), "ratios": (2.0, 1.0, 1.0), "penalty": 3.0, "part": 0.7},
        ),
    ),
    Claim(
        id="regularisation-delays",
        statement="A larger penalty never moves the lowest stage earlier, and never makes the rise after it larger, "
        "after fine-tuning for any flow time from idealised stages",
        source="re-derived",
        equation="3.4",
        domain=_two_penalties(st.booleans()),
        check=check_delayed,
        variants=(Variant(name="larger-penalty-earlier", changes={"reverse": True}),),
        beyond=Outside(
            assumption="modes that were not learned are exactly 0",
            domain=_two_penalties(_NO, decades(1e-3, 1e-2), ratios=_FIRST_MISALIGNED, strengths=_STRONG_FIRST),
            example=_THREE | {"unlearned": 0.01},
        ),
    ),
    Claim(
        id="regularisation-shrinks-harm",
        statement="A larger penalty never makes harm, the last loss over the smallest, larger: over idealised stages, "
        "after fine-tuning to convergence",
        source="re-derived",
        equation="3.4",
        domain=_two_penalties(_YES),
        check=check_harm_shrinks,
        variants=(Variant(name="larger-penalty-more-harm", changes={"reverse": True}),),
        beyond=Outside(
            assumption="fine-tuning converges",
            domain=_two_penalties(_NO, ratios=_FIRST_FORGOTTEN, strengths=_WEAK_LATER),
            example=_THREE | {"pretrain": (2.0, 0.125, 0.125), "ratios": (1.25, 12.0, 12.0)},
        ),
    ),
    Claim(
        id="regularisation-costs",
        statement="From one and the same stage a larger penalty leaves a larger fine-tuning loss, after any flow time, "
        "where in a learned mode sigma_ft differs from sigma_pre and is above -lambda sigma_pre",
        source="re-derived",
        equation="3.4",
        domain=_two_penalties(st.booleans(), first=_CHANGED).filter(_stays_above_zero),
        check=check_costs,
        lemma=True,
        variants=(
            Variant(name="smaller-fine-tuning-loss", changes={"saves": True}),
            Variant(
                name="tasks-that-agree",
                domain=_two_penalties(st.booleans(), ratios=st.just((1.0, 1.0, 1.0))),
            ),
            Variant(  # both penalties let the modes vanish: they cannot cross 0
                name="targets-of-the-other-sign", domain=st.just(_THREE | {"ratios": (-3.0,) * 3, "converged": True})
            ),
        ),
        beyond=Outside(
            assumption="the budget stays the same when the penalty changes",
            domain=_two_penalties(_YES, best_stage=_YES),
            example=_THREE | {"ratios": (3.0, 3.0, 3.0), "more": 1.5, "converged": True, "best_stage": True},
        ),
    ),
)
