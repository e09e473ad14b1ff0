"""Claims about fine-tuning one mode: its update, its limit, and when it does harm. Section 3.2 to 3.4."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every
from linsim.claims.themes.finetuning.tuning import (
    CONVERGED,
    balanced_layers,
    descend,
    descend_deep,
    raises,
    steady_rate,
)
from linsim.claims.themes.simulation import task_of
from linsim.dynamics.in_turn import train
from linsim.phase import Phase
from linsim.testing.draws import decades, numbers, seeds, sized, values
from linsim.theory.stages import critical_ratios, harm_limits, misaligned, tuned_limit

_NONE, _EQUAL = st.just(0.0), st.just(1.0)
_STRENGTH = numbers(0.3, 3)
_SIGNED = st.one_of(_STRENGTH, numbers(-3, -0.3))
_STRETCH = numbers(1.1, 2)
# Of sigma_ft over its threshold; closer to it than 1e-3, descents would have to be longer.
_HARM, _NO_HARM, _NEARLY, _OPPOSITE = numbers(1.001, 3), numbers(0, 0.999), numbers(0.4, 0.999), numbers(-2, -0.1)

Harms = Callable[[float, float, float], Any]


def check_penalised_update(problem: PlainProblem, rate: float = 2.0, printed: bool = False) -> float:
    """Descend full matrices in the task's random bases, and compare with the stated update of every mode."""
    generator, modes = np.random.default_rng(problem["seed"]), len(problem["weights"])
    sides = modes + problem["wider"], modes, modes
    left, right, hidden = (np.linalg.qr(generator.normal(size=(side, side)))[0][:, :modes] for side in sides)
    mode, goal, penalty = np.asarray(problem["weights"]), np.asarray(problem["finetune"]), problem["penalty"]
    inner, outer = hidden @ np.diag(mode / problem["stretch"]) @ right.T, left @ np.diag(mode * problem["stretch"])
    outer = outer @ hidden.T
    cosine, sine = np.cos(np.deg2rad(problem["turn"])), np.sin(np.deg2rad(problem["turn"]))
    turn = np.eye(modes)
    if problem["turn"]:
        turn[:2, :2] = [[cosine, -sine], [sine, cosine]]
    target, checkpoint, start, eta = left @ np.diag(goal) @ turn @ right.T, outer @ inner, mode, problem["rate"]
    begun = inner, outer
    for _ in range(problem["steps"]):
        gradient = 2 * (outer @ inner - target) + 2 * penalty * (outer @ inner - checkpoint)
        inner, outer = inner - eta * outer.T @ gradient, outer - eta * gradient @ inner.T
        restoring = penalty * (mode**2 - start**2) * (1 if printed else mode)
        mode = mode - rate * eta * (mode * (mode**2 - goal) + restoring)
    phase, steps = Phase(eta, product_penalty=penalty), problem["steps"]
    ours = train(begun, task_of(target), phase, steps, points=[steps]).weights
    # Rounding of 1e-16 in the layers grows by no more than e^(2 (sigma + lambda s_0) rate steps) < e^16, off a saddle.
    stated = equals(left.T @ outer @ inner @ right, np.diag(mode**2), tolerance=1e-8, scale=3.0)
    return every(stated, equals(ours[1] @ ours[0], outer @ inner, tolerance=1e-8, scale=3.0))


def check_regularised_limit(problem: PlainProblem, crosses: bool = False) -> float:
    """Descend to convergence from learned modes and one unlearned, and compare with the stated limits."""
    learned, goal, penalty = np.asarray(problem["pretrain"]), np.asarray(problem["finetune"]), problem["penalty"]
    start = np.append(learned[:-1], problem["unlearned"])
    rate = steady_rate(start, goal, penalty)
    end = descend(balanced_layers(start, problem["stretch"]), goal, penalty, rate, CONVERGED)
    limit = np.where(start == 0, 0.0, (goal + penalty * start) / (1 + penalty))
    stated = limit if crosses else np.where(limit * start > 0, limit, 0.0)
    ours = tuned_limit(np.append(learned[:-1], 0.0), goal, penalty)
    # Modes at more than a fiftieth of the strongest have converged; linsim computes in one division.
    return every(equals(end, stated, 1e-6, scale=3.0), equals(ours, stated, 1e-12, scale=3.0) if not crosses else 1.0)


def check_misaligned(problem: PlainProblem, harms: Harms | None = None) -> float:
    """Descend to convergence with the mode learned and without, and see whether the loss is larger with it."""
    learned, penalty = problem["pretrain"], problem["penalty"]
    goal = problem["of_threshold"] * (2 + penalty) * learned
    rate = steady_rate(learned, goal, penalty)
    end = descend(balanced_layers([learned, 0.0], problem["stretch"]), goal, penalty, rate, CONVERGED)
    with_mode, without = (end - learned) ** 2
    if harms is not None or problem["stretch"] != 1:
        return raises(with_mode, without, bool((harms or misaligned)(learned, goal, penalty)))
    ratio, edge = goal / learned, critical_ratios(penalty)[0]
    stated = raises(with_mode, without, bool(misaligned(learned, goal, penalty)))
    limit, limits = (goal + penalty * learned) / (1 + penalty), 1.0
    if abs(limit) > max(abs(learned), abs(goal)) / 50:  # nearer to 0 the end is still on its way
        limits = equals(with_mode - without, harm_limits(ratio, penalty)[0] * learned**2, 1e-6, scale=9.0)
    return every(stated, limits, equals(edge * problem["of_threshold"], ratio, 1e-9, scale=1.0))


def check_deep_threshold(problem: PlainProblem, per_layer: bool = False) -> float:
    """Descend equal layers to convergence with the mode and without: is the loss larger with it, as stated?"""
    learned, penalty, depth = problem["pretrain"], problem["penalty"], problem["depth"]
    goal = problem["of_threshold"] * (2 + penalty) * learned
    strongest = max(learned, (goal + penalty * learned) / (1 + penalty))
    rate = 0.3 / (2 * depth * (1 + penalty) * strongest ** (2 - 2 / depth))
    with_mode, without = (descend_deep([learned, 0.0], goal, penalty, depth, rate, CONVERGED) - learned) ** 2
    harms = goal > (depth + penalty) * learned if per_layer else bool(misaligned(learned, goal, penalty))
    return raises(with_mode, without, harms)


def _overshoots(pretrain: float, finetune: float, penalty: float) -> bool:
    return bool(finetune * np.sign(pretrain) > (1 + penalty) * abs(pretrain))


def _far_off(pretrain: float, finetune: float, penalty: float) -> bool:
    return bool(abs(finetune - pretrain) > (1 + penalty) * abs(pretrain))


def _penalty_left_out(pretrain: float, finetune: float, penalty: float) -> bool:
    return bool(finetune * np.sign(pretrain) > 2 * abs(pretrain))


def _updates(
    stretch: st.SearchStrategy[float] = _EQUAL, turn: st.SearchStrategy[float] = _NONE
) -> st.SearchStrategy[PlainProblem]:
    return sized(
        lambda modes: {
            "weights": values(numbers(0, 1.7), modes),
            "finetune": values(numbers(-3, 3), modes),
            "wider": st.integers(0, 1),
            "penalty": numbers(0, 2),
            "rate": decades(1e-4, 5e-3),
            "steps": st.integers(1, 150),
            "seed": seeds(),
            "stretch": stretch,
            "turn": turn,
        },
        (1, 2, 8) if turn is _NONE else (2, 3),
    )


def _limits(
    stretch: st.SearchStrategy[float] = _EQUAL,
    unlearned: st.SearchStrategy[float] = _NONE,
    finetune: st.SearchStrategy[float] = _SIGNED,
) -> st.SearchStrategy[PlainProblem]:
    def settles(problem: PlainProblem) -> bool:
        """Towards a limit of 0 exactly a mode only creeps, as 1 / t."""
        pairs = zip(problem["pretrain"], problem["finetune"], strict=True)
        return all(
            abs(goal + problem["penalty"] * learned) >= 0.2 * (1 + problem["penalty"]) for learned, goal in pairs
        )

    def of(modes: int) -> dict[str, st.SearchStrategy[Any]]:
        """The last one is not learned, and of one sign as `unlearned` is where it is not 0."""
        pretrain, goals = (st.tuples(values(each, modes), _STRENGTH) for each in (_SIGNED, finetune))
        return {
            "pretrain": pretrain.map(lambda parts: (*parts[0], parts[1])),
            "finetune": goals.map(lambda parts: (*parts[0], parts[1])),
            "penalty": numbers(0, 3),
            "unlearned": unlearned,
            "stretch": stretch,
        }

    return sized(of, (1, 2, 7)).filter(settles)


def _misaligned(
    stretch: st.SearchStrategy[float], of_threshold: st.SearchStrategy[float]
) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries(
        {"pretrain": _SIGNED, "of_threshold": of_threshold, "penalty": numbers(0, 4), "stretch": stretch}
    )


def _deep(depth: st.SearchStrategy[int]) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries(
        {"pretrain": _STRENGTH, "of_threshold": st.one_of(_HARM, _NO_HARM), "penalty": numbers(0, 4), "depth": depth}
    )


CLAIMS = (
    Claim(
        id="penalised-update",
        statement="Balanced layers in the bases both tasks share descend by "
        "w <- w - 2 eta w (w^2 - sigma_ft) - 2 eta lambda w (w^2 - w_0^2) in every mode",
        source="as restated in Feng et al. 2026; a misprint corrected",
        equation="3.2",
        domain=_updates(),
        check=check_penalised_update,
        variants=(
            Variant(name="as-printed-without-w-in-the-penalty", changes={"printed": True}),
            Variant(name="rate-of-the-half-loss", changes={"rate": 1.0}),
            Variant(name="bases-not-shared", domain=_updates(turn=numbers(10, 80))),
        ),
        beyond=Outside(
            assumption="layers are balanced",
            domain=_updates(stretch=_STRETCH),
            example={
                "weights": (1.0, 0.0, 0.0),
                "wider": 0,
                "finetune": (0.0, 0.0, 0.0),
                "penalty": 0.0,
                "rate": 0.001,
                "steps": 1,
                "seed": 0,
                "stretch": 2.0,
                "turn": 0.0,
            },
        ),
    ),
    Claim(
        id="regularised-limit",
        statement="Fine-tuning to convergence takes a learned mode of balanced layers to "
        "(sigma_ft + lambda s_0) / (1 + lambda) if that has the sign of s_0, else to 0; a mode that is 0 stays 0",
        source="as restated in Feng et al. 2026; signs re-derived",
        equation="3.4",
        domain=_limits(),
        check=check_regularised_limit,
        variants=(
            Variant(name="crosses-zero", changes={"crosses": True}),
            Variant(name="layers-not-balanced", domain=_limits(stretch=_STRETCH)),
        ),
        beyond=Outside(
            assumption="modes that were not learned are exactly 0",
            domain=_limits(unlearned=decades(1e-6, 1e-2)),
            example={
                "pretrain": (1.0, 1.0, 1.0),
                "finetune": (1.0, 1.0, 1.0),
                "penalty": 0.0,
                "unlearned": 0.01,
                "stretch": 1.0,
            },
        ),
    ),
    Claim(
        id="misaligned-iff",
        statement="After fine-tuning to convergence a mode of balanced layers that was learned in full raises the "
        "pre-training loss iff sigma_ft > (2 + lambda) sigma_pre, both in the sign of sigma_pre",
        source="as restated in Feng et al. 2026; signs re-derived",
        equation="3.4",
        domain=_misaligned(_EQUAL, st.one_of(_HARM, _NEARLY, _NO_HARM, _OPPOSITE)),
        check=check_misaligned,
        variants=(
            Variant(name="as-soon-as-it-overshoots", changes={"harms": _overshoots}),
            Variant(name="penalty-left-out", changes={"harms": _penalty_left_out}),
            Variant(name="far-off-on-either-side", changes={"harms": _far_off}),
        ),
        beyond=Outside(
            assumption="the layers of the mode are balanced",
            domain=_misaligned(_STRETCH, _OPPOSITE),
            example={"pretrain": 1.0, "of_threshold": -1.0, "penalty": 0.0, "stretch": 2.0},
        ),
    ),
    Claim(
        id="deep-misaligned-iff",
        statement="At every depth of two or more balanced layers a mode learned in full raises the pre-training loss "
        "after fine-tuning to convergence iff sigma_ft > (2 + lambda) sigma_pre, strengths >= 0",
        source="re-derived",
        equation="3.4",
        domain=_deep(st.integers(2, 5)),
        check=check_deep_threshold,
        variants=(Variant(name="threshold-grows-with-depth", changes={"per_layer": True}),),
        beyond=Outside(
            assumption="there are at least two layers, so that a mode that is 0 stays 0",
            domain=_deep(st.just(1)),
            example={"pretrain": 1.0, "of_threshold": 2.0, "penalty": 0.0, "depth": 1},
        ),
    ),
)
