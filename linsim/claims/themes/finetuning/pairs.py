"""Claims about fine-tuning tasks whose singular vectors are turned, a pair of modes at a time."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every
from linsim.claims.themes.finetuning.tuning import raises
from linsim.testing.draws import numbers

_STEPS = 2000  # at 0.9 of the steady rate: a mode of a sixteenth of the strongest to within e^-100
_CLEAR = st.one_of(numbers(0.4, 0.95), numbers(1.05, 2))  # of a threshold, on either side


def check_turned(problem: PlainProblem, threshold: float = 2.0, turned: bool = True) -> float:
    """Descend full matrices from stages 0, 1 and 2 of a plane, and see which mode raises the pre-training loss."""
    angle, excesses = np.deg2rad(problem["degrees"]), np.asarray(problem["excesses"])
    final = problem["strength"] * np.asarray([1.0, problem["share"]])
    ratios = 2 * np.cos(angle) * excesses
    pretrain = final / ratios
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    first, second = (_rotation(problem[name]) for name in ("outputs", "inputs"))
    learned = np.sqrt(np.tri(3, 2, -1) * pretrain)
    inner = learned[..., None] * second.T
    outer = first * learned[:, None, :]
    target, goal = (first * pretrain) @ second.T, (first * final) @ (second @ turn).T
    step = 2 * 0.9 / (4 * float(max(pretrain.max(), final.max())))
    for _ in range(_STEPS):
        pull = step * (goal - outer @ inner)
        inner, outer = inner + outer.swapaxes(1, 2) @ pull, outer + pull @ inner.swapaxes(1, 2)
    losses = np.sum((outer @ inner - target) ** 2, axis=(1, 2))
    bound = threshold * (np.cos(angle) if turned else 1.0)
    rises = [raises(float(losses[n + 1]), float(losses[n]), bool(ratios[n] > bound)) for n in range(2)]
    change = final**2 - 2 * final * pretrain * np.cos(angle)
    stated = np.sum(pretrain**2) + np.cumsum(change)
    return every(*rises, equals(losses[1:], stated, tolerance=1e-6))


def _rotation(degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _planes(shares: st.SearchStrategy[float], least: float = 0) -> st.SearchStrategy[PlainProblem]:
    """Two modes of the fine-tuning task, the second `share` times the first, and how far each is from its threshold."""
    return st.fixed_dictionaries(
        {
            "degrees": numbers(least, 80),
            "strength": numbers(0.5, 2),
            "share": shares,
            "excesses": st.tuples(_CLEAR, _CLEAR),
            "outputs": numbers(0, 360),
            "inputs": numbers(0, 360),
        }
    )


CLAIMS = (
    Claim(
        id="turned-mode-harms-iff",
        statement="Where fine-tuning turns the input vectors of a pair of modes by theta < 90 degrees, learning mode n "
        "raises the pre-training loss after fine-tuning two balanced layers to convergence from stage n iff "
        "sigma_ft > 2 cos(theta) sigma_pre, if the first is the stronger in fine-tuning",
        source="re-derived",
        equation="3.4",
        domain=_planes(numbers(0.1, 0.85)),
        check=check_turned,
        lemma=True,
        variants=(
            Variant(name="whatever-the-angle", changes={"turned": False}, domain=_planes(numbers(0.1, 0.85), least=30)),
            Variant(name="beyond-the-best-is-enough", changes={"threshold": 1.0}),
        ),
        beyond=Outside(
            assumption="the mode learned first is the stronger of the pair in fine-tuning",
            domain=_planes(numbers(1.2, 3)),
            example={
                "degrees": 45.0,
                "strength": 1.0,
                "share": 2.0,
                "excesses": (0.5, 1.5),
                "outputs": 0.0,
                "inputs": 0.0,
            },
        ),
    ),
)
