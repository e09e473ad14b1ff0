"""Claims about the loss after fine-tuning along pre-training: where the curve turns up, and what moves the turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every, exceeds
from linsim.claims.themes.finetuning.tuning import CUT_SHORT, balanced_layers, raises, stages, tasks, tuned_losses
from linsim.testing.draws import decades, numbers, sized, values
from linsim.theory.stages import stage_losses

_ROUNDING = 1e-9  # of losses, after some hundred steps
_PRETRAINING = 1000  # steps, in which modes of a fifth of the strongest are learned to the last bit
_STRENGTH = numbers(0.5, 2)
_ALIGNED, _OPPOSITE, _MISALIGNED = numbers(0.4, 1.99), numbers(-1.5, -0.4), numbers(2.01, 5)
_STRONGER, _WEAKER = numbers(1.02, 5), numbers(0.1, 0.98)
_START = decades(1e-6, 1e-2)
_ZERO, _TINY = st.just(0.0), decades(1e-6, 1e-2)
_TIME, _LONG = decades(1e-2, 1), decades(0.3, 1)  # of fine-tuning; a long one learns strong modes from the start


def check_inevitable(problem: PlainProblem) -> float:
    """Descend from every stage without penalty: the loss rises from stage n0 - 1 on, and none before it is lower."""
    pretrain, finetune = tasks(problem)
    losses, _ = tuned_losses(stages(pretrain), pretrain, finetune, 0.0)
    agrees = equals(losses, stage_losses(jnp.asarray(pretrain), jnp.asarray(finetune)), tolerance=1e-6)
    first = problem["first"]
    rises = exceeds(losses[first:], losses[first - 1 : -1])
    return every(agrees, rises, exceeds(losses[:first], losses[first - 1], rounding=_ROUNDING))


def check_turns_up(problem: PlainProblem, ratio: float = 1.0) -> float:
    """Pre-train by descent, fine-tune every checkpoint, and see whether the last loss is above the smallest."""
    pretrain, finetune = tasks(problem)
    losses, _ = tuned_losses(_path(problem), pretrain, finetune, problem["penalty"], problem["time"])
    return raises(float(losses[-1]), float(losses.min()), bool(problem["ratios"][0] > ratio))


def check_last_mode(problem: PlainProblem, deciding: Callable[[np.ndarray], Any] = np.argmin) -> float:
    """Fine-tune two late checkpoints, where the weakest mode is within 1e-6 and 1e-7 of its target, and compare."""
    pretrain, finetune = tasks(problem)
    weakest = int(np.argmin(pretrain))
    head_start = np.log(pretrain / problem["start"] - 1)
    times = (np.log([1e6, 1e7]) + head_start[weakest]) / (4 * pretrain[weakest])
    checkpoints = pretrain / (1 + np.exp(head_start - 4 * pretrain * times[:, None]))
    earlier, later = tuned_losses(checkpoints, pretrain, finetune, problem["penalty"], problem["time"])[0]
    sign = 1 if problem["ratios"][deciding(pretrain)] > 1 else -1
    return exceeds(sign * later, sign * earlier, scale=float(later) * 1e-6)


def check_larger_rate(problem: PlainProblem, reverse: bool = False) -> float:
    """Fine-tune every checkpoint for as many steps at two rates: the lowest one is no later at the larger rate.

    Rates are flow time / steps: few steps take large ones.
    """
    pretrain, finetune = tasks(problem)
    checkpoints = _path(problem) if problem["start"] > 0 else stages(pretrain, problem["unlearned"])
    times = problem["time"] * problem["share"], problem["time"]
    slow, fast = (
        tuned_losses(checkpoints, pretrain, finetune, problem["penalty"], time, problem["steps"])[0]
        for time in (times[::-1] if reverse else times)
    )
    lowest = int(np.argmin(slow))
    # A loss near 0 is rounded relative to the square of a strength: to some 1e-16 of it.
    scale = float(np.sum(pretrain**2))
    return exceeds(fast[lowest:], float(fast[: lowest + 1].min()), rounding=1e-12, scale=scale)


def _path(problem: PlainProblem) -> np.ndarray:
    """Strengths at every step of pre-training from balanced layers, shape (steps + 1, modes)."""
    pretrain, _ = tasks(problem)
    inner, outer = balanced_layers(np.full_like(pretrain, problem["start"]))
    eta, path = 0.05 / float(pretrain.max()), [inner * outer]
    for _ in range(_PRETRAINING):
        pull = 2 * eta * (pretrain - inner * outer)
        inner, outer = inner + pull * outer, outer + pull * inner
        path.append(inner * outer)
    return np.stack(path)


def _first_misaligned(
    before: st.SearchStrategy[float] = _ALIGNED,
    after: st.SearchStrategy[float] = _MISALIGNED,
    last: st.SearchStrategy[float] = _MISALIGNED,
) -> st.SearchStrategy[PlainProblem]:
    """Modes in the order of the stages, any order of strengths; those from `first` on are misaligned."""

    def from_mode(chosen: tuple[int, int]) -> st.SearchStrategy[PlainProblem]:
        modes, first = chosen
        ratios = [before if mode < first else last if mode == modes else after for mode in range(1, modes + 1)]
        strengths = values(_STRENGTH, modes)
        return st.fixed_dictionaries({"first": st.just(first), "pretrain": strengths, "ratios": st.tuples(*ratios)})

    return st.sampled_from(
        [(modes, first) for modes in (1, 2, 3, 8) for first in (1, 2, 3, 8) if first <= modes]
    ).flatmap(from_mode)


def _curves(
    ratios: tuple[st.SearchStrategy[float], ...], strengths: tuple[st.SearchStrategy[float], ...] = (_STRENGTH,)
) -> dict[str, st.SearchStrategy[object]]:
    return {
        "pretrain": st.tuples(*strengths),
        "ratios": st.tuples(*ratios),
        "start": _START,
        "penalty": numbers(0, 4),
        "time": decades(1e-2, 0.3),
    }


def _one_weakest() -> st.SearchStrategy[PlainProblem]:
    """Several modes and one far weaker than all of them, anywhere among them."""

    def of(others: int) -> dict[str, st.SearchStrategy[object]]:
        strong = values(_SEPARATE[0], others)
        strengths = st.tuples(strong, _SEPARATE[1], st.integers(0, others)).map(
            lambda drawn: (*drawn[0][: drawn[2]], drawn[1], *drawn[0][drawn[2] :])
        )
        return _curves(()) | {"pretrain": strengths, "ratios": values(_EITHER, others + 1)}

    return sized(of, (1, 2, 7))


def _two_rates(
    start: st.SearchStrategy[float],
    strengths: tuple[st.SearchStrategy[float], ...] | None,
    ratios: tuple[st.SearchStrategy[float], ...] | None,
    time: st.SearchStrategy[float],
    unlearned: st.SearchStrategy[float] = _ZERO,
) -> st.SearchStrategy[PlainProblem]:
    """Idealised stages where the start is 0, else every checkpoint on the way from there; rates without oscillation."""
    extra = {"time": time, "share": numbers(0.05, 0.95), "start": start, "unlearned": unlearned}
    steps = {"steps": st.sampled_from((CUT_SHORT, 100, 30))}
    if strengths is not None and ratios is not None:
        return st.fixed_dictionaries(_curves(ratios, strengths) | extra | steps).filter(_monotone)

    def of(modes: int) -> dict[str, st.SearchStrategy[object]]:
        drawn = {"pretrain": values(_STRENGTH, modes), "ratios": values(_ANY, modes)}
        return _curves(()) | drawn | extra | steps

    return sized(of).filter(_monotone)


def _monotone(problem: PlainProblem) -> bool:
    """Whether a step takes larger modes to larger ones, up to all that a mode can be: 1 + 2 eta (a - 3 b w^2) >= 0."""
    pretrain, finetune = tasks(problem)
    anchored, stiffness = finetune + problem["penalty"] * pretrain, 1 + problem["penalty"]
    highest = np.maximum(pretrain, anchored / stiffness)
    return bool(2 * problem["time"] / problem["steps"] * float(np.max(3 * stiffness * highest - anchored)) <= 1)


_SEPARATE, _CLOSE = (numbers(1.3, 2), numbers(0.2, 0.5)), (numbers(1.3, 2), numbers(0.8, 1.29))
_EITHER, _ANY = st.one_of(_STRONGER, _WEAKER, _OPPOSITE), st.one_of(_MISALIGNED, _ALIGNED, _OPPOSITE)
_STRONG_FIRST = (numbers(1.5, 2), numbers(0.5, 0.6), numbers(0.5, 0.6))
_MISALIGNED_FIRST = (numbers(3, 5), numbers(0.8, 1.2), numbers(0.8, 1.2))
_THREE_MODES = _two_rates(_ZERO, (_STRENGTH,) * 3, (st.one_of(_MISALIGNED, _ALIGNED),) * 3, _TIME)
_TWO_STEPS: PlainProblem = {
    "pretrain": (1.7, 0.5, 0.6),
    "ratios": (2.0, 4.4, 2.8),
    "start": 0.0,
    "unlearned": 0.0,
    "penalty": 0.0,
    "time": 0.26,
    "share": 0.9,
    "steps": 2,
}

CLAIMS = (
    Claim(
        id="overtraining-inevitable",
        statement="Without a penalty, where the modes before n0 are not misaligned and those from n0 on are, the loss "
        "over idealised stages after fine-tuning to convergence is lowest at stage n0 - 1 and rises ever after",
        source="as restated in Feng et al. 2026; an assumption added",
        equation="3.4",
        domain=_first_misaligned(st.one_of(_ALIGNED, _OPPOSITE)),
        check=check_inevitable,
        variants=(
            Variant(name="modes-before-misaligned-too", domain=_first_misaligned(before=_MISALIGNED)),
            Variant(
                name="stronger-in-fine-tuning-is-enough",
                domain=_first_misaligned(after=numbers(1.1, 1.9), last=numbers(1.1, 1.9)),
            ),
        ),
        beyond=Outside(
            assumption="every mode from n0 on is misaligned",
            domain=_first_misaligned(last=_ALIGNED),
            example={"first": 1, "pretrain": (2.0, 1.0, 0.5), "ratios": (3.0, 3.0, 1.0)},
        ),
    ),
    Claim(
        id="shallow-u",
        statement="With one mode, the loss after fine-tuning for any flow time and penalty turns up along pre-training "
        "iff sigma_ft > sigma_pre, however far it is from misaligned",
        source="re-derived",
        equation="3.5",
        domain=st.fixed_dictionaries(_curves((_EITHER,))),
        check=check_turns_up,
        lemma=True,
        variants=(Variant(name="only-where-misaligned", changes={"ratio": 2.0}),),
        beyond=Outside(
            assumption="there is one mode",
            domain=st.fixed_dictionaries(_curves((_EITHER, st.just(1.0)), _SEPARATE)),
            example={"pretrain": (2.0, 0.5), "ratios": (1.25, 1.0), "start": 0.01, "penalty": 0.0, "time": 0.1},
        ),
    ),
    Claim(
        id="weakest-mode-decides",
        statement="Where fine-tuning changes every mode, the loss after it rises at the end of pre-training iff "
        "sigma_ft > sigma_pre in the weakest mode, if no other is as weak, whatever the flow time and the penalty",
        source="re-derived",
        equation="3.5",
        domain=_one_weakest(),
        check=check_last_mode,
        lemma=True,
        variants=(
            Variant(name="strongest-mode-decides", changes={"deciding": np.argmax}),
            Variant(
                name="of-two-as-weak-the-first",
                domain=st.just(
                    {"pretrain": (1.0, 1.0), "ratios": (1.1, 0.5), "start": 0.01, "penalty": 0.0, "time": 0.1}
                ),
            ),
        ),
        beyond=Outside(
            assumption="fine-tuning changes the weakest mode",
            domain=st.fixed_dictionaries(_curves((_EITHER, st.just(1.0)), _CLOSE)),
            example={"pretrain": (1.5, 1.0), "ratios": (2.0, 1.0), "start": 0.01, "penalty": 0.0, "time": 0.1},
        ),
    ),
    Claim(
        id="larger-rate-earlier-stage",
        statement="Over idealised stages a larger fine-tuning rate, as many steps and any penalty, never moves the "
        "lowest stage later, whatever the modes, up to rates at which one oscillates",
        source="re-derived",
        equation="3.5",
        domain=_two_rates(_ZERO, None, None, _TIME),
        check=check_larger_rate,
        lemma=True,
        variants=(
            Variant(name="larger-rate-later", changes={"reverse": True}, domain=_THREE_MODES),
            Variant(name="rates-that-oscillate", domain=st.just(_TWO_STEPS)),
        ),
        beyond=Outside(
            assumption="modes that were not learned are exactly 0",
            domain=_two_rates(_ZERO, _STRONG_FIRST, _MISALIGNED_FIRST, _LONG, _TINY),
            example={
                "pretrain": (2.0, 0.5, 0.5),
                "ratios": (3.0, 1.0, 1.0),
                "start": 0.0,
                "penalty": 0.0,
                "time": 0.6,
                "share": 0.5,
                "unlearned": 0.01,
                "steps": CUT_SHORT,
            },
        ),
    ),
    Claim(
        id="larger-rate-earlier-turn",
        statement="With one mode a larger fine-tuning rate, as many steps and any penalty, moves the turn of the curve "
        "along pre-training earlier, and never later",
        source="re-derived",
        equation="3.5",
        domain=_two_rates(_START, (_STRENGTH,), (_ANY,), _TIME),
        check=check_larger_rate,
        lemma=True,
        variants=(Variant(name="larger-rate-later", changes={"reverse": True}),),
        beyond=Outside(
            assumption="there is one mode",
            domain=_two_rates(_START, _STRONG_FIRST[:2], _MISALIGNED_FIRST[:2], _LONG),
            example={
                "pretrain": (2.0, 0.5),
                "ratios": (3.0, 1.0),
                "start": 0.01,
                "penalty": 0.0,
                "time": 0.6,
                "share": 0.25,
                "unlearned": 0.0,
                "steps": CUT_SHORT,
            },
        ),
    ),
)
