"""What each monitor reads at every checkpoint of a pre-training run: exact population values, no estimates."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float
from scipy.sparse.linalg import eigsh

from linsim.errors import require_number
from linsim.losses import Weights, population_loss
from linsim.measures import curvature
from linsim.measures.sensitivity import expected_increase
from linsim.problem import Problem
from linsim.tasks import LinearTask
from linsim.theory.inflection import rounding_floor

Values = Float[np.ndarray, "rates checkpoints"]


_Arrays = tuple[Any, ...]


class Signal(NamedTuple):
    """How a monitor is read and when it rings."""

    label: str
    sees: str
    """pre-training, fine-tuning (its gradient or its runs as well) or nothing."""
    rule: str = "growth"
    """growth: `Alarm`; fixed: at one budget, in steps, for all; half: above 1/2; turn: see `rehearsal`."""


MONITORS: Mapping[str, Signal] = {
    "fisher_trace": Signal("Fisher trace (= Hessian trace / 2)", "pre-training"),
    "empirical_fisher": Signal("empirical Fisher trace", "pre-training"),
    "gradient_square": Signal("squared mean gradient (snippet)", "pre-training"),
    "top_eigenvalue": Signal("top Hessian eigenvalue", "pre-training"),
    "absolute_noise": Signal("loss increase, absolute noise", "pre-training"),
    "relative_noise": Signal("loss increase, relative noise", "pre-training"),
    "inverse_loss": Signal("1 / base loss", "pre-training"),
    "finetuning_curvature": Signal("curvature along fine-tuning gradient", "fine-tuning"),
    "predicted_forgetting": Signal("predicted forgetting, 2nd order", "fine-tuning"),
    "rehearsal": Signal("rehearsal: fine-tune and look", "fine-tuning", "turn"),
    "loss_halved": Signal("base loss halved", "nothing", "half"),
    "clock": Signal("clock: a fixed budget", "nothing", "fixed"),
}
"""tr H = tr Gauss-Newton = 2 tr Fisher at every checkpoint, so that the three are one line."""


class _Read(NamedTuple):
    fisher_trace: Array
    empirical_fisher: Array
    gradient_square: Array
    absolute_noise: Array
    relative_noise: Array
    loss: Array
    base: Array
    tuned: Array


def read_monitors(
    problem: Problem,
    weights: Weights,
    rates: Float[np.ndarray, " rates"],
    chart: xr.Dataset,
    noise: float,
    relative_noise: float,
) -> dict[str, Values]:
    """Each monitor over the checkpoints; those that know no fine-tuning rate have a rate axis of length 1.

    * absolute, relative noise: E L(W + gamma Z) - L(W), gamma given, or relative to the rms weight of each layer
    * finetuning_curvature: g^T H g / |g|^2 with g the gradient of the fine-tuning loss, H of the pre-training loss
    * predicted_forgetting: -T g_pre . g + (T^2 / 2) g^T H g with T = rate x steps, which takes all steps along g
    * rehearsal: forgetting after fine-tuning at the middle rate without penalty, measured
    * loss_halved: 1 - L / L of the first checkpoint

    Args:
      problem: the transfer.
      weights: of one run, with a leading axis over its budgets.
      rates: fine-tuning rates.
      chart: its chart; only the run of seed 0 is used.
      noise: gamma.
      relative_noise: gamma in units of the rms weight.
    """
    require_number("noise", noise, above=0)
    require_number("relative_noise", relative_noise, above=0)
    pretrain, finetune = problem.transfer.pretrain, problem.transfer.finetune
    read = _read(
        tuple(jnp.asarray(weight) for weight in weights),
        (pretrain.target, pretrain.input_covariance, pretrain.label_noise),
        (finetune.target, finetune.input_covariance),
        (noise, relative_noise),
    )
    found = {name: np.asarray(value) for name, value in read._asdict().items()}
    loss = np.maximum(found["loss"], rounding_floor(problem, np.dtype(np.float64)))
    hessian, base, tuned = hessians(weights, pretrain), found["base"], found["tuned"]
    slope, square = np.sum(base * tuned, axis=1), np.sum(tuned**2, axis=1)
    bend = np.einsum("ci,cij,cj->c", tuned, hessian, tuned)
    times = rates[:, None] * problem.finetune_steps
    rehearsed = rehearsal_of(chart)["forgetting"].values
    values = {
        **{name: found[name] for name in ("fisher_trace", "empirical_fisher", "gradient_square")},
        "top_eigenvalue": np.asarray([_top(one) for one in hessian]),
        "absolute_noise": found["absolute_noise"],
        "relative_noise": found["relative_noise"],
        "inverse_loss": 1 / loss,
        "finetuning_curvature": np.divide(bend, square, out=np.zeros_like(bend), where=square > 0),
        "predicted_forgetting": -times * slope + times**2 / 2 * bend,
        "rehearsal": rehearsed,
        "loss_halved": 1 - loss / loss[0],
        "clock": problem.budgets.astype(np.float64),
    }
    return {name: np.atleast_2d(values[name]) for name in MONITORS}


def rehearsal_of(chart: xr.Dataset) -> xr.Dataset:
    """The curve of the rehearsal: seed 0, middle rate, the smallest strength."""
    return chart.isel(seed=0, learning_rate=chart.sizes["learning_rate"] // 2, regularization=0)


@jax.jit
def _read(weights: Weights, pretrain: _Arrays, finetune: _Arrays, noise: _Arrays) -> _Read:
    target, covariance, label_noise = pretrain
    absolute, relative = noise

    def read(one: Weights) -> _Read:
        base, tuned = (
            ravel_pytree(jax.grad(population_loss)(one, *task))[0] for task in ((target, covariance), finetune)
        )
        scales = relative * jnp.stack([jnp.sqrt(jnp.mean(weight**2)) for weight in one])
        return _Read(
            curvature.fisher_trace(one, covariance),
            curvature.empirical_fisher_trace(one, target, covariance, label_noise),
            curvature.gradient_square(one, target, covariance),
            expected_increase(one, jnp.broadcast_to(absolute, (len(one),)), covariance),
            expected_increase(one, scales, covariance),
            population_loss(one, target, covariance),
            base,
            tuned,
        )

    return jax.vmap(read)(weights)


def hessians(weights: Weights, task: LinearTask) -> Float[np.ndarray, "checkpoints weights weights"]:
    """The Hessian of `curvature.loss_hessian` at many checkpoints, assembled block by block: some 20 times as fast.

    dP = sum_l B_l dW_l A_l with A_l = W_{l-1} ... W_1, B_l = W_L ... W_{l+1}. With C_ml = W_{m-1} ... W_{l+1} and x for
    the Kronecker product block (m, l), m >= l, is 2 (B_m^T B_l) x (A_m S A_l^T); for m > l the residual's part joins,
    2 sum (A_l S (P - A)^T B_m)_ni (C_ml)_jk at entries (i, j) of W_m and (k, n) of W_l.

    Args:
      weights: with a leading axis over checkpoints.
      task: A and S.
    """
    layers = [np.asarray(weight) for weight in weights]
    depth, count = len(layers), len(layers[0])

    def chain(above: int, below: int) -> np.ndarray:
        """W_{above - 1} ... W_{below + 1}, counted from 0; the identity where there is no layer between the two."""
        size = task.inputs if below < 0 else layers[below].shape[1]  # rows of the layer below
        result = np.broadcast_to(np.eye(size), (count, size, size))
        for layer in layers[below + 1 : above]:
            result = layer @ result
        return result

    before, after = [chain(l, -1) for l in range(depth)], [chain(depth, l) for l in range(depth)]
    weighted = (chain(depth, -1) - task.target) @ task.input_covariance  # (P - A) S
    sizes = np.cumsum([0, *(layer[0].size for layer in layers)])
    whole = np.empty((count, sizes[-1], sizes[-1]))
    for l, m in itertools.combinations_with_replacement(range(depth), 2):
        outer, inner = _turned(after[m]) @ after[l], before[m] @ task.input_covariance @ _turned(before[l])
        block = np.einsum("cik,cjn->cijkn", outer, inner)
        if m > l:
            pull = before[l] @ _turned(weighted) @ after[m]
            block = block + np.einsum("cni,cjk->cijkn", pull, chain(m, l))
        rows, columns = slice(sizes[m], sizes[m + 1]), slice(sizes[l], sizes[l + 1])
        whole[:, rows, columns] = 2 * block.reshape(count, layers[m][0].size, layers[l][0].size)
        whole[:, columns, rows] = _turned(whole[:, rows, columns])
    return whole


def _top(matrix: np.ndarray) -> float:
    """The largest eigenvalue, by Lanczos iteration from a direction that is special to no basis."""
    start = np.random.default_rng(0).standard_normal(len(matrix))
    return float(eigsh(matrix, 1, which="LA", v0=start, tol=1e-10, return_eigenvectors=False)[0])


def _turned(matrices: np.ndarray) -> np.ndarray:
    return np.swapaxes(matrices, 1, 2)
