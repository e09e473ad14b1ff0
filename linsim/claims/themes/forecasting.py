"""Claims about the loss of the fine-tuning task at untuned checkpoints: what its ratio tells, and where it is blind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every, exceeds
from linsim.claims.themes.simulation import flowed, product, rotation, turned, two_layers
from linsim.forecasting.loss_ratio import loss_ratio, mode_slope
from linsim.testing.draws import decades, numbers, seeds, sized, values

_LINE = 4.0  # of L_ft / L_base: the square of c = 2


def check_slope(problem: PlainProblem, stated: Callable[[float], float] | None = None) -> float:
    """Integrate layers of one unit each from a small start to half of the mode and to its end; both slopes as told."""
    sigma, factor, depth, variance = (problem[name] for name in ("strength", "factor", "depth", "variance"))
    start, covariance = problem["start"], np.array([[problem["variance"]]])
    layers = [np.full((1, 1), (start * sigma) ** (1 / depth))] * depth
    pace = variance * sigma ** (2 - 2 / depth)
    shares, losses = [], []
    for time in (0.0, 0.7 / pace, problem["time"] / pace):
        reached = float(product(flowed(layers, np.full((1, 1), sigma), time, covariance))[0, 0])
        shares.append(reached / sigma)
        losses.append([variance * (reached - goal) ** 2 for goal in (sigma, factor * sigma)])
    (base, tuned), (base_1, tuned_1), (base_2, tuned_2) = losses
    found = [(tuned_1 - tuned) / (base_1 - base), (tuned_2 - tuned) / (base_2 - base)]
    told = [float(mode_slope(factor, shares[0], share)) if stated is None else stated(factor) for share in shares[1:]]
    return equals(np.array(found), np.array(told), 1e-6, scale=1 + abs(factor))


def check_ratio(problem: PlainProblem, power: float = 2.0) -> float:
    """Losses of matrices in random bases, some modes learned: their ratio is the mean of c^2 over the others."""
    sigma, factors, variances = (np.asarray(problem[name]) for name in ("strengths", "factors", "variances"))
    count, seed = len(sigma), problem["seed"]
    left, right = rotation(seed, count), rotation(seed + 1, count)
    goal = sigma * factors
    learned = np.where(np.arange(count) < problem["learned"], sigma, 0.0)
    covariance = (right * variances) @ right.T

    def loss(strengths: np.ndarray) -> float:
        residual = (left * (learned - strengths)) @ right.T
        return float(np.trace(residual @ covariance @ residual.T))

    found, weights = loss(goal) / loss(sigma), (variances * sigma**2)[problem["learned"] :]
    mean = np.sum(weights * np.abs(factors[problem["learned"] :]) ** power) / weights.sum()
    function = float(loss_ratio(learned, sigma, goal, variances))
    return every(equals(found, mean, 1e-9), equals(found, function, 1e-9))


def check_blind(problem: PlainProblem, harms: bool = False) -> float:
    """A shift in the mode that is learned already: the ratio rises above any line, and going on does no harm."""
    strong, weak = problem["strength"], problem["strength"] * problem["share"]
    before, after = np.diag([strong, weak]), np.diag([strong * problem["factor"], weak])
    begun = two_layers(np.eye(2), np.array([strong, problem["start"] * weak]), np.eye(2), 0.0, np.eye(2))
    losses, ratios, told = [], [], []
    for learned in (0.0, 4.0, 8.0):  # odds of the weak mode, in e-folds
        time = max(np.log(1 / problem["start"] - 1) + learned, 0.0) / (4 * weak) if learned else 0.0
        checkpoint = flowed(begun, before, time)
        ratios.append(float(np.sum((product(checkpoint) - after) ** 2) / np.sum((product(checkpoint) - before) ** 2)))
        told.append(float(loss_ratio(np.diag(product(checkpoint)), np.diag(before), np.diag(after))))
        tuned = product(flowed(checkpoint, after, problem["time"] / strong))
        losses.append(float(np.sum((tuned - before) ** 2)))
    above = every(exceeds(ratios[-1], _LINE), exceeds(np.array(ratios[1:]), np.array(ratios[:-1])))
    above = every(above, equals(told, ratios, 1e-6))
    first, last = losses[0], losses[-1]
    return every(above, exceeds(last, first) if harms else exceeds(first, last, rounding=1e-9))


def check_rotated(problem: PlainProblem, line: float = _LINE) -> float:
    """A pair of equal modes, turned: early the ratio is about 1, and going on harms all the same."""
    sigma = problem["strength"]
    before = sigma * np.eye(2)
    after = before @ turned(2, problem["degrees"])
    begun = two_layers(np.eye(2), np.full(2, problem["start"] * sigma), np.eye(2), 0.0, np.eye(2))
    early, late = begun, flowed(begun, before, (np.log(1 / problem["start"]) + 14) / (4 * sigma))
    ratio = float(np.sum((product(early) - after) ** 2) / np.sum((product(early) - before) ** 2))
    losses = [
        float(np.sum((product(flowed(each, after, problem["time"] / sigma)) - before) ** 2)) for each in (early, late)
    ]
    return every(exceeds(line, ratio), exceeds(losses[1], losses[0]))


def _modes(learned: st.SearchStrategy[float]) -> Any:
    def draw(count: int) -> dict[str, Any]:
        return {
            "strengths": values(numbers(0.2, 3), count),
            "variances": values(numbers(0.2, 3), count),
            "factors": st.tuples(learned, *[numbers(-2, 6)] * (count - 1)),
            "learned": st.just(1),
            "seed": seeds(),
        }

    return sized(draw, (2, 3, 4))


_SHIFTED: PlainProblem = {
    **{"strengths": (2.0, 1.0), "variances": (1.0, 1.0), "factors": (3.0, 1.0), "learned": 1, "seed": 0}
}
_ONE_MODE = st.fixed_dictionaries(
    {
        "strength": numbers(0.3, 3),
        "factor": numbers(-2, 6),
        "variance": numbers(0.3, 3),
        "depth": st.integers(1, 4),
        "start": decades(1e-3, 1e-1),
        "time": numbers(3, 12),
    }
)

CLAIMS = (
    Claim(
        id="mode-slope",
        statement="While one mode is learned, of any depth, from any start and by inputs of any variance, the loss of "
        "a task that wants c sigma of it changes by (2 c - f_1 - f_2)/(2 - f_1 - f_2) of what the base loss does: by "
        "2 c - 1 over the whole mode",
        source="derived here",
        equation="9.1",
        domain=_ONE_MODE,
        check=check_slope,
        variants=(
            Variant(name="whole-mode-everywhere", changes={"stated": lambda c: 2 * c - 1}),
            Variant(name="c-itself", changes={"stated": lambda c: c}),
        ),
    ),
    Claim(
        id="loss-ratio",
        statement="With some modes learned and these not shifted, in any bases that both tasks and the inputs share, "
        "L_ft/L_base of the untuned checkpoint is the mean of c^2 over the other modes, weighted by v sigma^2",
        source="derived here",
        equation="9.2",
        domain=_modes(st.just(1.0)),
        check=check_ratio,
        variants=(Variant(name="mean-of-c", changes={"power": 1.0}),),
        beyond=Outside(assumption="what is learned is not shifted", domain=_modes(numbers(2, 6)), example=_SHIFTED),
    ),
    Claim(
        id="loss-ratio-blind",
        statement="A shift of the mode that is learned already by c > 2: while the other mode is learned L_ft/L_base "
        "rises above any line, and going on does no harm after fine-tuning",
        source="derived here",
        equation="9.2",
        domain=st.fixed_dictionaries(
            {
                "strength": numbers(0.5, 2),
                "share": numbers(0.3, 0.9),
                "factor": numbers(2.2, 5),
                "start": decades(1e-4, 1e-2),
                "time": numbers(0.05, 1),
            }
        ),
        check=check_blind,
        variants=(Variant(name="it-harms", changes={"harms": True}),),
    ),
    Claim(
        id="loss-ratio-rotated",
        statement="A pair of equal modes whose inputs are turned by 80 degrees or more: early L_ft/L_base is 1, far "
        "below 4, and going on harms after fine-tuning all the same",
        source="derived here",
        equation="9.2",
        domain=st.fixed_dictionaries(
            {
                "strength": numbers(0.5, 2),
                "degrees": numbers(80, 150),
                "start": decades(1e-5, 1e-3),
                "time": numbers(0.6, 1),
            }
        ),
        lemma=True,
        check=check_rotated,
        variants=(Variant(name="below-a-half", changes={"line": 0.5}),),
        beyond=Outside(
            assumption="the turn is wide",
            domain=st.fixed_dictionaries(
                {
                    "strength": numbers(0.5, 2),
                    "degrees": numbers(5, 50),
                    "start": decades(1e-5, 1e-3),
                    "time": numbers(0.6, 1),
                }
            ),
            example={"strength": 1.0, "degrees": 30.0, "start": 1e-4, "time": 0.8},
        ),
    ),
)
