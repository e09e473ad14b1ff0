"""Claims about fine-tuning tasks whose singular vectors are turned, a pair of modes at a time."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every
from linsim.claims.themes.finetuning.tuning import raises
from linsim.tasks import LinearTask
from linsim.testing.draws import numbers
from linsim.theory.stages import turned_harm

_STEPS = 2000  # at 0.9 of the steady rate: a mode of a sixteenth of the strongest to within e^-100
_CLEAR = st.one_of(numbers(0.4, 0.95), numbers(1.05, 2))  # of a threshold, on either side


def check_turned(problem: PlainProblem, threshold: float = 2.0, turned: bool = True) -> float:
    """Descend full matrices from stages 0, 1 and 2 of a plane, and see which mode raises the pre-training loss."""
    final, pretrain = _strengths(problem)
    first, second = (_rotation(problem[name]) for name in ("outputs", "inputs"))
    after = first @ _rotation(problem["outward"]), second @ _rotation(problem["degrees"])
    learned = np.sqrt(np.tri(3, 2, -1) * pretrain)
    inner = learned[..., None] * second.T
    outer = first * learned[:, None, :]
    target, goal = (first * pretrain) @ second.T, (after[0] * final) @ after[1].T
    step = 2 * 0.9 / (4 * float(max(pretrain.max(), final.max())))
    for _ in range(_STEPS):
        pull = step * (goal - outer @ inner)
        inner, outer = inner + outer.swapaxes(1, 2) @ pull, outer + pull @ inner.swapaxes(1, 2)
    losses = np.sum((outer @ inner - target) ** 2, axis=(1, 2))
    wanted = np.diagonal(after[0].T @ target @ after[1])
    bounds = threshold * (wanted if turned else pretrain)
    rises = [raises(float(losses[n + 1]), float(losses[n]), bool(final[n] > bounds[n])) for n in range(2)]
    change = final**2 - 2 * final * wanted
    stated = np.sum(pretrain**2) + np.cumsum(change)
    tasks = LinearTask(first, pretrain, second, np.eye(2), 0.0), LinearTask(after[0], final, after[1], np.eye(2), 0.0)
    told = equals(turned_harm(*tasks), change / final**2, tolerance=1e-9)
    return every(*rises, told, equals(losses[1:], stated, tolerance=1e-6))


def _strengths(problem: PlainProblem) -> tuple[np.ndarray, np.ndarray]:
    """Of A_ft, and those of A for which s_n is so far from 2 sum_k sigma_k (u_n . u_k)(v_n . v_k)."""
    inputs, outputs = np.deg2rad(problem["degrees"]), np.deg2rad(problem["outward"])
    final = problem["strength"] * np.asarray([1.0, problem["share"]])
    straight, across = np.cos(inputs) * np.cos(outputs), np.sin(inputs) * np.sin(outputs)
    wanted = final / (2 * np.asarray(problem["excesses"]))
    return final, np.linalg.solve([[straight, across], [across, straight]], wanted)


def _rotation(degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _planes(shares: st.SearchStrategy[float], least: float = 0) -> st.SearchStrategy[PlainProblem]:
    """Two modes of the fine-tuning task, the second `share` times the first, and how far each is from its threshold."""

    def positive(problem: PlainProblem) -> bool:
        """Whether there is such a task; far stronger than the second one, it would make descent towards that slow."""
        final, pretrain = _strengths(problem)
        return bool(pretrain.min() > 0.01 * pretrain.max() and pretrain.max() < 10 * final[0])

    return st.fixed_dictionaries(
        {
            "degrees": numbers(least, 80),
            "outward": st.one_of(st.just(0.0), numbers(-60, 60)),
            "strength": numbers(0.5, 2),
            "share": shares,
            "excesses": st.tuples(_CLEAR, _CLEAR),
            "outputs": numbers(0, 360),
            "inputs": numbers(0, 360),
        }
    ).filter(positive)


CLAIMS = (
    Claim(
        id="turned-mode-harms-iff",
        statement="Where fine-tuning turns a pair of modes, inputs by less than 90 degrees and outputs by up to 60, "
        "mode n, the stronger in fine-tuning first, raises the pre-training loss after fine-tuning two balanced layers "
        "to convergence from stage n iff s_n > 2 sum_k sigma_k (u_n . u_k)(v_n . v_k), s_n, u_n, v_n of A_ft",
        source="re-derived",
        equation="3.4",
        domain=_planes(numbers(0.1, 0.85)),
        check=check_turned,
        variants=(
            Variant(name="whatever-the-angle", changes={"turned": False}, domain=_planes(numbers(0.1, 0.85), least=30)),
            Variant(name="beyond-the-best-is-enough", changes={"threshold": 1.0}),
        ),
        beyond=Outside(
            assumption="the mode learned first is the stronger of the pair in fine-tuning",
            domain=_planes(numbers(1.2, 3)),
            example={
                "degrees": 45.0,
                "outward": 0.0,
                "strength": 1.0,
                "share": 2.0,
                "excesses": (0.5, 1.5),
                "outputs": 0.0,
                "inputs": 0.0,
            },
        ),
    ),
)
