"""Hypothesis strategies for tasks, transfers, weights, phases and whole problems, for tests of your own.

Sizes come from a short list, since every new shape compiles anew; scales and seeds are drawn, arrays follow from them.
By default everything is drawn; an argument that is True narrows it. Shrinking goes to the smallest size, one mode of
strength 1, identity bases, whitened inputs, no shift and no regulariser.

Example:
  >>> from hypothesis import given
  >>> from linsim.dynamics.modes.descent_modes import Modes
  >>> @given(problems(aligned=True))
  ... def test_modes_are_exact(problem):
  ...     assert Modes().refusal(problem) is None
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from hypothesis import strategies as st
from jaxtyping import Float

from linsim import network
from linsim.losses import Weights
from linsim.phase import REGULARIZERS, Phase, Regularizer
from linsim.problem import Problem, stack_seeds
from linsim.shifts import Blend, NewModes, Permute, Rescale, Rotate, Shift, ZeroModes
from linsim.spectra import power_covariance
from linsim.tasks import LinearTask, Transfer, random_basis
from linsim.testing.draws import Draw, decades, numbers, seeds, strategy

SIZES = ((2, 2, 2), (3, 3, 3), (4, 6, 3), (3, 2, 4))
"""(d_in, h, d_out): square, rectangular with a wide hidden layer, and with a narrow one."""


@strategy
def strengths(
    draw: Draw, modes: int, *, present: bool = False, distinct: bool = False, signed: bool = False
) -> Float[np.ndarray, " modes"]:
    """sigma_1 >= sigma_2 >= ... within [0.05, 3]: a power law, flat at the simplest; the last ones may be 0.

    Args:
      draw: passed by Hypothesis.
      modes: how many.
      present: no zero modes.
      distinct: no repeated strengths, apart from zeros; neighbours differ by 5 % or more.
      signed: any of them may be negative.
    """
    scale = draw(numbers(0.5, 3.0)) if draw(st.booleans()) else 1.0
    decay = draw(numbers(0.2 if distinct else 0.0, 1.5))
    values = scale * np.arange(1, modes + 1, dtype=np.float64) ** -decay
    values[draw(st.integers(1, modes)) if not present else modes :] = 0.0
    if signed:
        values *= np.random.default_rng(draw(seeds())).choice([-1.0, 1.0], modes)
    return values


@strategy
def tasks(
    draw: Draw,
    *,
    outputs: int | None = None,
    inputs: int | None = None,
    whitened: bool = False,
    commuting: bool = False,
    identity: bool = False,
    noiseless: bool = False,
    present: bool = False,
    distinct: bool = False,
) -> LinearTask:
    """A regression task of a few sizes.

    Args:
      draw: passed by Hypothesis.
      outputs: d_out; default that of one of `SIZES`.
      inputs: d_in; the same.
      whitened: S = I only.
      commuting: S shares the task's input basis only.
      identity: U = I and V = I only.
      noiseless: no label noise.
      present: no zero modes, see `strengths`.
      distinct: no repeated strengths, see `strengths`.
    """
    size = draw(st.sampled_from(SIZES)) if outputs is None or inputs is None else (0, 0, 0)
    rows, columns = size[2] if outputs is None else outputs, size[0] if inputs is None else inputs
    values = draw(strengths(min(rows, columns), present=present, distinct=distinct))
    turned = not identity and draw(st.booleans())
    generator = np.random.default_rng(draw(seeds()) if turned else 0)
    left, right = (random_basis(n, generator) if turned else np.eye(n) for n in (rows, columns))
    covariance = None
    if not whitened and draw(st.booleans()):
        shared = commuting or draw(st.booleans())
        basis = right if shared else random_basis(columns, np.random.default_rng(draw(seeds())))
        covariance = power_covariance(basis, draw(numbers(0.1, 1.5)))
    noise = 0.0 if noiseless or not draw(st.booleans()) else draw(numbers(0.01, 0.5))
    return LinearTask(left, values, right, np.eye(columns) if covariance is None else covariance, noise)


@strategy
def shifts(draw: Draw, task: LinearTask, *, aligned: bool = False) -> Shift:
    """One shift that applies to a task; `aligned` keeps its singular vectors."""
    free = int(np.sum(task.strengths == 0))
    kinds = ("rescale", "zero", "permute", *(["new"] if free else []), *([] if aligned else ["rotate"]))
    kind = draw(st.sampled_from((*kinds, "blend")))
    if kind == "blend":
        whole = _shift(draw, draw(st.sampled_from(kinds)), len(task.strengths), free)
        return Blend(whole, draw(numbers(0.0, 1.0)))
    return _shift(draw, kind, len(task.strengths), free)


def _shift(draw: Draw, kind: str, modes: int, free: int) -> Shift:
    if kind == "permute":
        return Permute(draw(_orders(modes)))
    if kind == "new":
        return NewModes(draw(st.lists(numbers(0.1, 2.0), min_size=1, max_size=free)))
    if kind == "rotate":
        return Rotate(draw(numbers(-180.0, 180.0)), draw(st.sampled_from(("right", "left", "both"))))
    chosen = draw(_subsets(modes))
    return ZeroModes(chosen) if kind == "zero" else Rescale(chosen, draw(numbers(0.25, 4.0)))


@functools.cache
def _orders(modes: int) -> st.SearchStrategy[list[int]]:
    return st.permutations(range(1, modes + 1))


@functools.cache
def _subsets(modes: int) -> st.SearchStrategy[list[int]]:
    return st.sets(st.integers(1, modes), min_size=1).map(sorted)


@strategy
def transfers(draw: Draw, /, *, aligned: bool = False, most: int = 2, **task: Any) -> Transfer:
    """A task and what up to `most` shifts make of it; `aligned` keeps the singular vectors, the rest as for `tasks`."""
    first = second = draw(tasks(**task))
    for _ in range(draw(st.integers(0, most))):
        second = draw(shifts(second, aligned=aligned))(second)
    return Transfer(first, second)


@strategy
def weights(
    draw: Draw,
    task: LinearTask,
    *,
    depth: int = 2,
    hidden: int | None = None,
    aligned: bool = False,
    balanced: bool = False,
) -> Weights:
    """Initial weights (W_1, ..., W_L) for a task, by any of the initialisations of `linsim.network`.

    Args:
      draw: passed by Hypothesis.
      task: whose inputs, outputs and bases are used.
      depth: L.
      hidden: width of the hidden layers; default that of one of `SIZES`.
      aligned: diagonal in the task's bases only.
      balanced: W_{l+1}^T W_{l+1} = W_l W_l^T only.
    """
    middle = draw(st.sampled_from([h for _, h, _ in SIZES])) if hidden is None else hidden
    widths = (task.inputs, *([middle] * (depth - 1)), task.outputs)
    kinds = ["aligned", "rank"]
    in_place = np.array_equal(task.left, np.eye(task.outputs)) and np.array_equal(task.right, np.eye(task.inputs))
    if (in_place or not aligned) and (len(set(widths)) == 1 or not balanced):
        kinds.append("identity")
    if not aligned:
        kinds.append("balanced")
    if not aligned and not balanced:
        kinds.append("gaussian")
        if depth == 2 and middle <= min(task.inputs, task.outputs):
            kinds.append("lambda_balanced")
    kind = draw(st.sampled_from(tuple(kinds)))
    if kind == "rank":
        return network.rank_checkpoint(widths, task, draw(st.integers(0, min(widths))))
    if kind == "identity":
        return network.identity(widths, draw(numbers(0.5, 6.0)))
    scale = draw(decades(1e-4, 0.5))
    if kind == "aligned":
        modes = np.arange(len(task.strengths))
        return network.aligned(widths, task, np.where(modes < min(widths), scale, 0.0))
    key = jax.random.key(draw(seeds()))
    if kind == "lambda_balanced":
        return network.lambda_balanced(widths, scale, draw(numbers(-2.0, 2.0)), key)
    return {"balanced": network.balanced, "gaussian": network.gaussian}[kind](widths, scale, key)


@strategy
def phases(
    draw: Draw,
    *,
    plain: bool = False,
    regularizers: Sequence[Regularizer] = REGULARIZERS,
    slowest: float = 1e-4,
    fastest: float = 2e-2,
) -> Phase:
    """A phase of gradient descent that is stable on the tasks above.

    Args:
      draw: passed by Hypothesis.
      plain: no regulariser and no momentum.
      regularizers: at most one of these, of strength 0 to 2.
      slowest: smallest learning rate.
      fastest: largest learning rate.
    """
    rate = draw(decades(slowest, fastest))
    if plain:
        return Phase(rate)
    chosen = draw(st.sampled_from((None, *regularizers)))
    extra: dict[str, Any] = {} if chosen is None else {chosen: draw(numbers(0.0, 2.0))}
    if draw(st.booleans()):
        extra |= {"momentum": draw(numbers(0.0, 0.9)), "nesterov": draw(st.booleans())}
    return Phase(rate, **extra)


@strategy
def problems(
    draw: Draw,
    *,
    depth: int | None = None,
    aligned: bool = False,
    balanced: bool = False,
    whitened: bool = False,
    plain: bool = False,
    budget: int = 200,
    finetune_steps: int = 100,
) -> Problem:
    """A whole problem: transfer, one seed of weights, both phases and three budgets.

    Args:
      draw: passed by Hypothesis.
      depth: L; default 2, 1 or 3.
      aligned: tasks, covariances and weights are diagonal in common bases, so that solver `modes` is exact.
      balanced: balanced weights only.
      whitened: S = I only.
      plain: plain gradient descent only, without regularisers.
      budget: largest number of pre-training steps.
      finetune_steps: largest number of fine-tuning steps.
    """
    inputs, hidden, outputs = draw(st.sampled_from(SIZES))
    layers = draw(st.sampled_from((2, 1, 3))) if depth is None else depth
    size = {"inputs": inputs, "outputs": outputs}
    transfer = draw(transfers(aligned=aligned, commuting=aligned, whitened=whitened, **size))
    start = draw(weights(transfer.pretrain, depth=layers, hidden=hidden, aligned=aligned, balanced=balanced))
    phase = phases(plain=plain)
    largest = draw(st.integers(3, budget))
    return Problem(
        transfer,
        stack_seeds([start]),
        draw(phase),
        draw(phase),
        np.asarray((1, 1 + largest // 2, largest)),
        draw(st.integers(1, finetune_steps)),
    )
