"""The bases in which a problem is a set of scalar chains, found numerically, or the reason why there are none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float

from linsim.problem import Problem
from linsim.tasks import LinearTask

Basis = Float[np.ndarray, "_ modes"]
Values = Float[np.ndarray, " modes"]

ALIGNED = 64 * float(np.finfo(np.float64).eps)
"""Relative size of what may lie off the diagonals: the rounding of products of orthonormal float64 matrices."""


_FOUND: WeakKeyDictionary[Problem, Frame | Misaligned] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Misaligned:
    """Why a problem has no common frame."""

    reason: str


@dataclass(frozen=True, eq=False)
class SeedFrame:
    """W_l = B_l diag(chain_l) B_{l-1}^T + R_l for the weights of one seed, with R_l orthogonal to all modes."""

    bases: tuple[Basis, ...]
    """B_0 = V, hidden bases, B_L = U; a hidden column is 0 where no weight touches the mode."""
    chain: Float[np.ndarray, "layers modes"]
    remainders: tuple[Float[np.ndarray, "_ _"], ...]


@dataclass(frozen=True, eq=False)
class Frame:
    """A common frame for tasks, covariances and the weights of every seed."""

    seeds: tuple[SeedFrame, ...]
    of_pretraining: bool
    """Whether the bases are the pre-training task's own."""
    pretrain_strengths: Values
    pretrain_variances: Values
    finetune_strengths: Values
    finetune_variances: Values

    @property
    def chains(self) -> Float[np.ndarray, "seeds layers columns"]:
        """Scalar chains of every seed. If weights reach outside the modes, one more column a layer scales that part.

        Such a column is 1 at its layer and 0 elsewhere: the loss does not see it, only decay and penalties move it.
        """
        chains = np.stack([seed.chain for seed in self.seeds])
        if not any(np.any(remainder) for seed in self.seeds for remainder in seed.remainders):
            return chains
        layers = chains.shape[1]
        return np.concatenate([chains, np.broadcast_to(np.eye(layers), (len(chains), layers, layers))], axis=-1)


def find_frame(problem: Problem) -> Frame | Misaligned:
    """The common frame of a problem, or which assumption fails for the first candidate pair of bases (U, V).

    It is found once for a problem: on thousands of modes that takes longer than training.
    """
    if (known := _FOUND.get(problem)) is None:
        known = _FOUND[problem] = _find(problem)
    return known


def _find(problem: Problem) -> Frame | Misaligned:
    first = None
    for number, (left, right) in enumerate(_candidates(problem)):
        outcome = _try_bases(problem, left, right, number == 0)
        if isinstance(outcome, Frame):
            return outcome
        first = first or outcome
    assert first is not None
    return first


def _candidates(problem: Problem) -> Iterator[tuple[Basis, Basis]]:
    """The tasks' own bases, then those of a generic combination, which separates strengths that one task repeats."""
    pretrain, finetune = problem.transfer.pretrain, problem.transfer.finetune
    modes = len(pretrain.strengths)
    for task in (pretrain, finetune):
        yield task.left[:, :modes], task.right[:, :modes]
    start = np.linalg.multi_dot([w[0] for w in problem.initial[::-1]]) if problem.depth > 1 else problem.initial[0][0]
    weighted = (task.target @ task.input_covariance for task in (pretrain, finetune))
    parts = (pretrain.target, finetune.target, start, *weighted)
    shares = (1, 0.7548, 0.5698, 0.4302, 0.3247)
    generic = sum(share * part / (np.linalg.norm(part) or 1) for share, part in zip(shares, parts, strict=True))
    left, _, right = np.linalg.svd(generic, full_matrices=False)
    yield left, right.T


def _try_bases(problem: Problem, left: Basis, right: Basis, of_pretraining: bool) -> Frame | Misaligned:
    diagonals = []
    for name, task in (("pre-training", problem.transfer.pretrain), ("fine-tuning", problem.transfer.finetune)):
        for diagonal in (_diagonal_target(name, task, left, right), _diagonal_covariance(name, task, right)):
            if isinstance(diagonal, Misaligned):
                return diagonal
            diagonals.append(diagonal)
    seeds = []
    for seed in range(problem.seeds):
        frame = _align_weights([weight[seed] for weight in problem.initial], left, right)
        if isinstance(frame, Misaligned):
            return frame
        seeds.append(frame)
    return Frame(tuple(seeds), of_pretraining, *diagonals)


def _diagonal_target(name: str, task: LinearTask, left: Basis, right: Basis) -> Values | Misaligned:
    diagonal = np.sum(left * (task.target @ right), axis=0)
    off = _relative(task.target - (left * diagonal) @ right.T, task.target)
    if off > ALIGNED:
        return Misaligned(f"the {name} target is not diagonal in the common bases (off by {off:.1e} of its norm)")
    return diagonal


def _diagonal_covariance(name: str, task: LinearTask, right: Basis) -> Values | Misaligned:
    image = task.input_covariance @ right
    variances = np.sum(right * image, axis=0)
    off = _relative(image - right * variances, task.input_covariance)
    if off > ALIGNED:
        return Misaligned(f"the {name} input covariance couples the modes (by {off:.1e} of its norm)")
    return variances


def _align_weights(weights: list[np.ndarray], left: Basis, right: Basis) -> SeedFrame | Misaligned:
    bases = [right, *_hidden_bases(weights, left, right), left]
    for layer, basis in enumerate(bases[1:-1], start=1):
        gram = basis.T @ basis
        off = float(np.max(np.abs(gram - np.diag(np.diag(gram)))))
        if off > ALIGNED:
            where = f"hidden layer {layer} (cosine {off:.1e})"
            return Misaligned(f"the initial weights send two modes to overlapping directions of {where}")
    chain, remainders = [], []
    for layer, weight in enumerate(weights, start=1):
        inner, outer = bases[layer - 1], bases[layer]
        values = np.sum(outer * (weight @ inner), axis=0)
        remainder = weight - (outer * values) @ inner.T
        off = max(_relative(remainder @ inner, weight), _relative(remainder.T @ outer, weight))
        if off > ALIGNED:
            return Misaligned(
                f"the initial W_{layer} is not diagonal in the common bases (off by {off:.1e} of its norm)"
            )
        chain.append(values)
        remainders.append(remainder if _relative(remainder, weight) > ALIGNED else np.zeros_like(remainder))
    return SeedFrame(tuple(bases), np.stack(chain), tuple(remainders))


def _hidden_bases(weights: list[np.ndarray], left: Basis, right: Basis) -> list[Basis]:
    """Follow each mode through the layers from the input; from the output where that resolves it far better."""
    # In bases that float64 holds exactly every entry counts; in others an absent mode shows as rounding.
    smallest = 0.0 if _exact(left) and _exact(right) else ALIGNED
    backward = [left]
    backward_share = [np.ones(left.shape[1])]
    for weight in weights[:0:-1]:
        image, share = _normalised(weight.T, backward[-1], smallest)
        backward.append(image)
        backward_share.append(share)
    hidden, current = [], right
    for weight, from_output, output_share in zip(weights[:-1], backward[:0:-1], backward_share[:0:-1], strict=True):
        image, share = _normalised(weight, current, smallest)
        current = np.where(share >= 1e-3 * output_share, image, from_output)
        hidden.append(current)
    return hidden


def _exact(basis: Basis) -> bool:
    return bool(np.isin(basis, (-1.0, 0.0, 1.0)).all())


def _normalised(weight: np.ndarray, basis: Basis, smallest: float) -> tuple[Basis, Values]:
    """Unit images of basis vectors (0 where they vanish) and their lengths relative to the weight."""
    image = weight @ basis
    length = np.linalg.norm(image, axis=0)
    share = length / (np.linalg.norm(weight) or 1.0)
    visible = share > smallest
    return np.where(visible, image / np.where(visible, length, 1), 0), np.where(visible, share, 0)


def _relative(part: np.ndarray, whole: np.ndarray) -> float:
    return float(np.linalg.norm(part) / (np.linalg.norm(whole) or 1.0))
