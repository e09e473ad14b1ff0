"""Claims about spectra and input variances at a fixed time and at matched effort, section 6 of the theory."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from scipy.optimize import brentq

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every, exceeds
from linsim.claims.themes.finetuning.tuning import balanced_layers, descend
from linsim.claims.themes.simulation import descended, product, rotation, turned, two_layers
from linsim.testing.draws import decades, numbers, seeds, sized, values
from linsim.theory.data.effort import (
    best_budget,
    effort_to_level,
    last_loss_bounds,
    level_of_line,
    overwriting_index,
)
from linsim.theory.stages import critical_time

_BRACKET = (0.9, 1.1)  # of a threshold
_STEPS = 400  # of fine-tuning: exponents of up to 3 are off by a multiple of 3 / 400
_IN_FULL, _IN_PART = st.just(1.0), numbers(0.2, 0.7)


def check_index(problem: PlainProblem, factor: float = 2.0, power: float = 1.0) -> float:
    """Descend from modes on either side of the stated index, and see which of them end beyond twice their strength."""
    first, exponent, ratio, time = (problem[name] for name in ("strength", "exponent", "factor", "time"))
    kappa = np.log(factor * (ratio - 1) / (ratio - 2)) / (4 * ratio)
    stated = (first * time / kappa) ** (power / exponent)
    strong, weak = strengths = first * (np.asarray(_BRACKET) * stated) ** -exponent
    after = descend(balanced_layers(strengths), ratio * strengths, 0.0, time / _STEPS, _STEPS)
    right = (factor, power) == (2.0, 1.0)
    agrees = equals(overwriting_index(first, exponent, time, ratio), stated, 1e-9) if right else 1.0
    return every(exceeds(after[0], 2 * strong), exceeds(2 * weak, after[1]), agrees)


def check_variances(problem: PlainProblem, of: str = "finetune", turn: bool = True) -> float:
    """Descend matrices in random bases, inputs of other variances in each task, to both sides of the stated time."""
    strengths, ratio = np.asarray(problem["strengths"]), problem["factor"]
    modes, basis = len(strengths), problem["basis"]
    left, right = rotation(basis, modes), rotation(basis + 1, modes)
    inputs = right @ turned(modes, problem["turn"])
    met, tuned = ((inputs * np.asarray(problem[name])) @ inputs.T for name in ("met", "tuned"))
    target = (left * strengths) @ right.T
    start = two_layers(left, strengths, right, 0.0, rotation(basis + 2, modes))
    # Pre-training stays where it has arrived, whatever its inputs are.
    arrived = descended(start, target, 0.1 / float(max(strengths) * max(problem["met"])), 5, met)
    margins = [equals(product(arrived), target, 1e-9)]
    variances = np.asarray(problem["tuned" if of == "finetune" else "met"]) if of != "nothing" else np.ones(modes)
    for mode in range(modes):
        time = float(critical_time(strengths[mode], ratio * strengths[mode])) / variances[mode]
        for sign, share in zip((-1, 1), _BRACKET, strict=True):
            steps = 20 + int(20 * share * time * ratio * max(strengths * np.asarray(problem["tuned"])))
            after = product(descended(start, ratio * target, share * time / steps, steps, tuned))
            reached = left[:, mode] @ after @ right[:, mode] / (2 * strengths[mode])
            margins.append(exceeds(sign * reached, sign))
    return every(*margins)


def check_best_budget(problem: PlainProblem, learned: float = 0.0, rate: float = 4.0) -> float:
    """Pre-train modes by descent to many budgets around the stated one, fine-tune all, and find the best."""
    strengths, ratio, time = np.asarray(problem["strengths"]), problem["factor"], problem["time"]
    start, met, tuned = problem["start"] * strengths[0], problem["met"], problem["tuned"]
    effort, share = tuned * strengths[0] * time, problem["start"]
    right = (learned, rate) == (0.0, 4.0)
    inside = ratio / (1 + (ratio - 1) * np.exp(4 * ratio * effort))
    goal = (1 - learned) * inside + learned * 0.999
    stated = np.log((1 / share - 1) * goal / (1 - goal)) / (rate * met * strengths[0])
    shares = np.linspace(0.5, 1.5, 201)
    # A thousand steps: of exponents of some 10, off by their square over as many steps.
    checkpoints = descend(
        balanced_layers(np.full((len(shares), len(strengths)), start)),
        strengths,
        0.0,
        shares[:, None] * stated * met / 1000,
        1000,
    )
    after = descend(balanced_layers(checkpoints), ratio * strengths, 0.0, tuned * time / _STEPS, _STEPS)
    losses = np.sum((after - strengths) ** 2, axis=-1)
    found = shares[int(np.argmin(losses))]
    agrees = equals(best_budget(effort, ratio, share), stated * met * strengths[0], 1e-9) if right else 1.0
    return every(equals(found, 1.0, 0.08), agrees)


def check_matched_line(problem: PlainProblem, power: float = 2.0) -> float:
    """Tune modes of any data together to a share of their loss, and see which end beyond twice their strength."""
    strengths, variances = np.asarray(problem["strengths"]), np.asarray(problem["variances"])
    ratio, level = problem["factor"], problem["level"]
    line = ((ratio - 2) / (ratio - 1)) ** power
    after = _matched(strengths, variances, np.full(len(strengths), ratio), level, problem["learned"])
    first, last = np.argmax(strengths * variances), np.argmin(strengths * variances)
    most, least = after[first] / strengths[first], after[last] / strengths[last]
    told = exceeds(most, 2.0) if level < line else exceeds(2.0, least)
    told = 1.0 if abs(level / line - 1) < 0.02 else told  # descent is not the flow
    if power != 2.0:
        return told
    # That of one mode by itself, v sigma = 1, puts it at the level: by descent in steps and in twice as many,
    # extrapolated. Errors of first order in 1/400 are some percent, of second order some 1e-4.
    one, effort = np.ones(1), float(effort_to_level(level, ratio))
    once, twice = (
        float(descend(balanced_layers(one), ratio * one, 0.0, effort / steps, steps)[0])
        for steps in (_STEPS, 2 * _STEPS)
    )
    share = ((ratio - (2 * twice - once)) / (ratio - 1)) ** 2
    return every(told, equals(level_of_line(ratio), line, 1e-9), equals(share, level, 1e-3, scale=1.0))


def check_last_loss(problem: PlainProblem, bounds: str = "right") -> float:
    """Tune modes of any data together to a share of their loss; the base loss, and data that reach either bound."""
    strengths, variances = np.asarray(problem["strengths"]), np.asarray(problem["variances"])
    factors, level = np.asarray(problem["factors"]), problem["level"]
    after = _matched(strengths, variances, factors, level, problem["learned"])
    apart = float(np.sum(variances * ((factors - 1) * strengths) ** 2))
    base = float(np.sum(variances * (after - strengths) ** 2)) / apart
    left = min(float(np.sum(variances * (after - factors * strengths) ** 2)) / apart, 1.0)
    least, most = {
        "right": last_loss_bounds(left),
        "all-alike": ((1 - np.sqrt(left)) ** 2,) * 2,
        "half-of-it": ((1 - left) / 2, 1 - left),
    }[bounds]
    # One mode is on the lower bound, and rounding on either side.
    margins = [exceeds(base, least, rounding=1e-9), exceeds(most, base, rounding=1e-9)]
    if bounds == "right":
        margins.append(equals([least, most], [(1 - np.sqrt(left)) ** 2, 1 - left], 1e-9))
    return every(*margins)


def _matched(
    strengths: np.ndarray, variances: np.ndarray, factors: np.ndarray, level: float, learned: float
) -> np.ndarray:
    """Modes after descent from a share of their strengths to a share of the fine-tuning loss they have there."""
    start, goal = learned * strengths, factors * strengths
    before = float(np.sum(variances * (goal - start) ** 2))

    def tuned(log_time: float) -> np.ndarray:
        return descend(balanced_layers(start), goal, 0.0, np.exp(log_time) * variances / _STEPS, _STEPS)

    def above(log_time: float) -> float:
        return float(np.sum(variances * (tuned(log_time) - goal) ** 2)) / before - level

    # From hardly any time to the rate at which the quickest mode would oscillate.
    quickest = float(np.max(strengths * variances * np.maximum(factors, 1.0)))
    return tuned(brentq(above, np.log(1e-4 / quickest), np.log(0.9 * _STEPS / (4 * quickest)), xtol=1e-7))


def _indices() -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries(
        {
            "strength": decades(0.3, 3),
            "exponent": numbers(0.25, 3),
            "factor": numbers(2.2, 8),
            "time": decades(0.01, 3),
        }
    )


def _inputs(turn: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    return sized(
        lambda modes: {
            "strengths": values(numbers(0.5, 2), modes),
            "met": values(decades(0.3, 3), modes),
            "tuned": values(decades(0.3, 3), modes),
            "factor": numbers(2.5, 6),
            "turn": turn,
            "basis": seeds(),
        },
        (2, 3),
    )


def _budgets(strengths: st.SearchStrategy[tuple[float, ...]]) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries(
        {
            "strengths": strengths,
            "start": decades(1e-4, 1e-2),
            "factor": numbers(1.5, 6),
            "met": decades(0.3, 3),
            "tuned": decades(0.3, 3),
            "time": decades(0.02, 0.1),
        }
    )


def _levels(amplified: bool, learned: st.SearchStrategy[float] = _IN_FULL) -> st.SearchStrategy[PlainProblem]:
    def of(modes: int) -> dict[str, st.SearchStrategy[object]]:
        drawn: dict[str, st.SearchStrategy[object]] = {
            "strengths": values(decades(0.2, 2), modes),
            "variances": values(decades(0.3, 3), modes),
            "level": numbers(0.08, 0.9),
            "learned": learned,
        }
        several = st.tuples(*[st.one_of(numbers(1.2, 6), numbers(0.2, 0.8))] * modes)
        return drawn | ({"factor": numbers(2.3, 6)} if amplified else {"factors": several})

    return sized(of, (1, 2, 5))


CLAIMS = (
    Claim(
        id="overwriting-index",
        statement="On sigma_i = sigma_1 i^(-a), all learned and fine-tuned to c sigma_i for a fixed T, modes before "
        "i_c = (sigma_1 T/kappa(c))^(1/a) are net harm and later ones are not, kappa = ln[2(c - 1)/(c - 2)]/(4 c)",
        source="re-derived",
        equation="6.1",
        domain=_indices(),
        check=check_index,
        variants=(
            Variant(name="factor-two-left-out", changes={"factor": 1.0}),
            Variant(name="square-of-the-index", changes={"power": 2.0}),
        ),
    ),
    Claim(
        id="variance-is-time",
        statement="Balanced layers, inputs that share the task's directions, with other variances in each phase: a "
        "mode learned in full and fine-tuned to c sigma is net harm iff v sigma T > kappa(c), v that of fine-tuning",
        source="re-derived",
        equation="6.1",
        domain=_inputs(st.just(0.0)),
        check=check_variances,
        variants=(
            Variant(name="variance-of-pre-training", changes={"of": "pretrain"}),
            Variant(name="variance-changes-nothing", changes={"of": "nothing"}),
        ),
        beyond=Outside(
            assumption="inputs share the task's directions",
            domain=_inputs(numbers(20, 70)),
            example={
                "strengths": (1.0, 0.5),
                "met": (1.0, 1.0),
                "tuned": (3.0, 0.3),
                "factor": 4.0,
                "turn": 45.0,
                "basis": 0,
            },
        ),
    ),
    Claim(
        id="turn-of-a-mode",
        statement="One mode from s_0 = e sigma, fine-tuned to c sigma, c > 1, has its best budget at v sigma D = "
        "ln[(1/e - 1) x/(1 - x)]/4, x = c/(1 + (c - 1) exp(4 c v' sigma T)), v, v' the input variances of the phases",
        source="re-derived",
        equation="6.2",
        domain=_budgets(st.tuples(numbers(0.5, 2))),
        check=check_best_budget,
        variants=(
            Variant(name="where-it-is-learned", changes={"learned": 1.0}),
            Variant(name="rate-of-the-half-loss", changes={"rate": 2.0}),
        ),
        beyond=Outside(
            assumption="there is one mode",
            domain=_budgets(st.tuples(numbers(0.8, 1), numbers(0.4, 0.75))),
            example={
                "strengths": (1.0, 0.7),
                "start": 1e-3,
                "factor": 2.0,
                "met": 1.0,
                "tuned": 1.0,
                "time": 0.1,
            },
        ),
    ),
    Claim(
        id="matched-line",
        statement="Modes learned in full and tuned together to c sigma_i until a share phi of their loss is left: for "
        "phi < ((c - 2)/(c - 1))^2 the one with the largest v sigma is net harm, beyond the one with the least is not",
        source="re-derived",
        equation="6.3",
        domain=_levels(True),
        check=check_matched_line,
        variants=(Variant(name="without-the-square", changes={"power": 1.0}),),
        beyond=Outside(
            assumption="the modes were learned in full",
            domain=_levels(True, _IN_PART),
            example={"strengths": (1.0,), "variances": (1.0,), "factor": 4.0, "level": 0.4, "learned": 0.3},
        ),
    ),
    Claim(
        id="matched-last-loss",
        statement="Tuned from a checkpoint that has learned all until a share phi of the loss is left, whatever modes "
        "and inputs that share their directions, the base loss is between (1 - sqrt phi)^2 and 1 - phi of "
        "||(A_ft - A) S^(1/2)||^2",
        source="re-derived",
        equation="6.4",
        domain=_levels(False),
        check=check_last_loss,
        variants=(
            Variant(name="as-if-all-modes-were-alike", changes={"bounds": "all-alike"}),
            Variant(name="at-least-half-of-it", changes={"bounds": "half-of-it"}),
        ),
        beyond=Outside(
            assumption="the modes were learned in full",
            domain=_levels(False, _IN_PART),
            example={"strengths": (1.0,), "variances": (1.0,), "factors": (4.0,), "level": 0.9, "learned": 0.3},
        ),
    ),
)
