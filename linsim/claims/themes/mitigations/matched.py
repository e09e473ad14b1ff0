"""Claims about checkpoints at matched fine-tuning loss: what may be gained, and where nothing helps."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every, exceeds
from linsim.claims.themes.simulation import flowed, product, rotation, two_layers
from linsim.testing.draws import numbers, seeds, sized, values
from linsim.theory.mitigations.matched import matched_excess

_KINDS = ("early", "thresholded", "shrunk")
_ROUNDING = 1e-9


def check_excess(problem: PlainProblem, power: float = 2.0) -> float:
    """Flow matrices in random bases for the time told: the fine-tuning loss is at its level, the other one as told."""
    sigma, goal, begun = _modes(problem)
    level, seed, modes = problem["level"], problem["seed"], len(sigma)
    told = matched_excess(begun, sigma, goal, level)
    bases = [rotation(seed + at, modes) for at in range(3)]
    before, after = ((bases[0] * mode) @ bases[2].T for mode in (sigma, goal))
    start = two_layers(bases[0], begun, bases[2], 0.0, bases[1])
    apart = float(np.sum((after - before) ** 2))
    if not np.isfinite(told.time):  # it begins below the level, or has lost what would have to be moved
        first = float(np.sum((product(start) - after) ** 2)) / apart
        still = float(np.sum((goal - np.where(begun > 0, goal, 0.0)) ** 2)) / apart
        return exceeds(level, first, 1e-12) if np.isnan(told.time) else exceeds(still, level, 1e-9)
    reached = product(flowed(start, after, float(told.time)))
    left, base = (float(np.sum((reached - task) ** 2)) / apart for task in (after, before))
    stated = float(told.excess) * (1 - level ** (1 / power)) ** 2
    bound = exceeds(np.sqrt(base) + np.sqrt(left), 1.0, rounding=1e-7)
    return every(equals(left, level, 1e-5), equals(base, stated, 1e-5, scale=max(base, 1e-3)), bound)


def check_nothing_helps(problem: PlainProblem, better: bool = False, by: float = 0.0) -> float:
    """The checkpoint learned in full against another one, both at the level, by flows of matrices as told."""
    sigma, goal, begun = _modes(problem)
    full, other = (float(matched_excess(each, sigma, goal, problem["level"]).excess) for each in (sigma, begun))
    if np.isnan(other):
        return 1.0
    if better:
        return exceeds(full, other * (1 + by))
    return exceeds(other, full * (1 + by), rounding=_ROUNDING)


def _modes(problem: PlainProblem) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Strengths of both tasks, and of a checkpoint that has learned some of the first."""
    sigma = np.asarray(problem["strengths"])
    goal, amount = sigma * np.asarray(problem["factors"]), problem["amount"]
    if problem["kind"] == "early":  # from a thousandth of the weakest, for up to twice as long as that takes
        return sigma, goal, _early(sigma, 1e-3 * float(sigma.min()), 3.5 * amount / float(sigma.min()))
    begun = {
        "thresholded": np.maximum(sigma - amount * sigma.max(), 0.0),
        "shrunk": (1 - amount) * sigma,
        "muon": np.minimum(sigma, (1 - amount) * sigma.max()),
    }[problem["kind"]]
    return sigma, goal, begun


def _early(sigma: np.ndarray, start: float, time: float) -> np.ndarray:
    """Both weights of each mode, integrated."""
    modes = len(sigma)
    layers = two_layers(np.eye(modes), np.full(modes, start), np.eye(modes), 0.0, np.eye(modes))
    return np.diagonal(product(flowed(layers, np.diag(sigma), time))).copy()


def _moved(factors: st.SearchStrategy[float], kinds: tuple[str, ...] = _KINDS) -> st.SearchStrategy[PlainProblem]:
    """Strengths in decreasing order, with factors of those that are moved in decreasing order as well."""

    def some(drawn: tuple[tuple[float, ...], tuple[bool, ...]]) -> tuple[float, ...]:
        ordered, moved = sorted(drawn[0], reverse=True), drawn[1] if any(drawn[1]) else (True,) * len(drawn[1])
        return tuple(factor if one else 1.0 for factor, one in zip(ordered, moved, strict=True))

    return sized(
        lambda count: {
            "strengths": values(numbers(0.2, 3), count).map(lambda drawn: tuple(sorted(drawn, reverse=True))),
            "factors": st.tuples(values(factors, count), st.tuples(*[st.booleans()] * count)).map(some),
            "kind": st.sampled_from(kinds),
            "amount": numbers(0.02, 0.9),
            "level": st.sampled_from((0.5, 0.1, 0.03)),
            "seed": seeds(),
        },
        (2, 3, 4),
    )


_MORE = numbers(1.1, 6)
_APART: PlainProblem = {  # the weak mode is moved by more, and is slower all the same
    **{"strengths": (1.52, 0.238), "factors": (1.177, 4.83), "kind": "shrunk", "amount": 0.544},
    **{"level": 0.5, "seed": 0},
}
_MUON: PlainProblem = {
    **{"strengths": (1.8, 0.63), "factors": (1.67, 1.67), "kind": "muon", "amount": 0.56, "level": 0.1, "seed": 0}
}
_REMOVED: PlainProblem = {
    **{"strengths": (2.23, 0.56), "factors": (0.45, 0.45), "kind": "early", "amount": 0.5, "level": 0.03, "seed": 0}
}

CLAIMS = (
    Claim(
        id="matched-excess",
        statement="Balanced layers in the bases of both tasks, from any checkpoint s: the time of fine-tuning to "
        "L_ft = phi D^2, D = ||A_ft - A_pre||, and L_pre then, which is (1 - sqrt phi)^2 D^2 or more",
        source="re-derived",
        equation="7.8",
        domain=_moved(st.one_of(numbers(1.1, 5), numbers(0.2, 0.9)), (*_KINDS, "muon")),
        check=check_excess,
        variants=(Variant(name="by-the-loss-itself", changes={"power": 1.0}),),
    ),
    Claim(
        id="nothing-helps-matched",
        statement="Aligned balanced modes, some amplified by factors that are no less for the stronger ones, plain "
        "descent to a matched fine-tuning loss: stopping early from an equal small start, any threshold modes share, "
        "and shrinking all alike end with no less pre-training loss than the checkpoint learned in full",
        source="re-derived",
        equation="7.8",
        domain=_moved(_MORE),
        check=check_nothing_helps,
        variants=(
            Variant(name="they-help", changes={"better": True}),
            Variant(name="weak-modes-moved-by-more", domain=st.just(_APART)),
            Variant(name="muon-stopped-early", domain=st.just(_MUON)),
        ),
        beyond=Outside(
            assumption="modes are amplified, not weakened",
            domain=_moved(numbers(0.2, 0.7)),
            example=_REMOVED,
        ),
    ),
)
