"""The loss under noise along pre-training in closed form, and the strengths that are best under it.

Two aligned balanced layers on a whitened task, hidden width h. Absolute noise gamma adds G N + gamma^4 d_out h d_in to
the loss, G = gamma^2 (d_in + d_out), N = sum_i s_i. Noise of r root mean squares of each layer has gamma_1^2 = r^2 N /
(h d_in) and gamma_2^2 = r^2 N / (d_out h), so it adds q N^2 with q = ((1 + r^2)^2 - 1) / h: a mode costs the price
2 q N, which every learned mode raises for all. Both are sum_i (sigma_i - s_i)^2 + G N + q N^2 + constant.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from linsim.commands.config import PretrainConfig
from linsim.dynamics.modes.mode_flow import mode_flow
from linsim.tasks import LinearTask
from linsim.theory.noise_turning import noise_inflection
from linsim.theory.prices import noise_price, soft_threshold, useful_modes
from linsim.theory.turning import lowest

from ..trajectory import Trajectory
from .measuring import KINDS, Kind

_ALIGNED = 1e-12  # off the diagonal, and off balance, relative to the largest strength
_SAMPLES = 2048  # of log time
_flow = jax.jit(mode_flow)


class Curves(NamedTuple):
    """What the closed form says of one kind of noise."""

    loss: Float[np.ndarray, "budgets seeds scales"]
    sensitivity: Float[np.ndarray, "budgets seeds scales"]
    inflection: Float[np.ndarray, "seeds scales"]
    """In steps; NaN where the curve never turns."""
    harm: Float[np.ndarray, "seeds scales"]


def refusal(config: Any, trajectory: Trajectory) -> str | None:
    """Why there is no closed form from a start, or None."""
    task, given = trajectory.transfer.pretrain, config.pretrain
    plain = PretrainConfig(
        learning_rate=given.learning_rate, steps=given.steps, first=given.first, budgets=given.budgets
    )
    if config.checkpoints == "idealised":
        return "none: idealised checkpoints jump from stage to stage"
    if given != plain:
        return "none: pre-training is not plain descent at a constant rate"
    if len(trajectory.weights) != 2:
        return f"none: it is for two layers, not {len(trajectory.weights)}"
    if not np.array_equal(task.input_covariance, np.eye(task.inputs)):
        return "none: inputs are not whitened"
    return _unaligned(trajectory, task)


def _unaligned(trajectory: Trajectory, task: LinearTask) -> str | None:
    first, second = trajectory.initial
    product = task.left.T @ second @ first @ task.right
    starts = _starts(trajectory)
    diagonal = np.zeros_like(product)
    modes = np.arange(starts.shape[1])
    diagonal[:, modes, modes] = starts
    size = max(float(np.abs(starts).max()), 1e-300)
    off = float(np.abs(product - diagonal).max()) / size
    if off > _ALIGNED:
        return f"none: the start overlaps other modes than its own (by {off:.1e} of its largest)"
    unbalanced = float(np.abs(np.swapaxes(second, 1, 2) @ second - first @ np.swapaxes(first, 1, 2)).max()) / size
    if unbalanced > _ALIGNED:
        return f"none: the layers are not balanced (by {unbalanced:.1e} of their strengths)"
    if min(float(starts.min()), float(task.strengths.min())) < 0:
        return "none: it is for strengths >= 0"
    return None


def _starts(trajectory: Trajectory) -> Float[np.ndarray, "seeds modes"]:
    """s_i(0)."""
    task, (first, second) = trajectory.transfer.pretrain, trajectory.initial
    modes = len(task.strengths)
    return np.einsum("oi,sod,di->si", task.left[:, :modes], second @ first, task.right[:, :modes])


def predict(config: Any, trajectory: Trajectory) -> dict[Kind, Curves]:
    """Curves, inflection points and harm of a start that `refusal` accepts."""
    times = config.pretrain.learning_rate * trajectory.budgets.astype(np.float64)
    task, starts = trajectory.transfer.pretrain, _starts(trajectory)
    hidden = trajectory.initial[0].shape[1]
    with jax.enable_x64(True):
        learned = np.asarray(_flow(starts[None], task.strengths[None, None], 1.0, times[:, None, None]))
    size, residual = learned.sum(axis=-1)[..., None], np.sum((task.strengths - learned) ** 2, axis=-1)[..., None]
    curves: dict[Kind, Curves] = {}
    for kind in KINDS:
        scales = np.asarray(getattr(config, kind))
        price, collective, constant = _prices(kind, scales, task, hidden)
        sensitivity = price * size + collective * size**2 + constant
        loss = residual + sensitivity
        turns = [
            [_turn(task.strengths, start, g, q, times) for g, q in zip(price, collective, strict=True)]
            for start in starts
        ]
        steps = np.asarray([[time for time, _ in row] for row in turns]) / config.pretrain.learning_rate
        least = np.asarray([[value for _, value in row] for row in turns]) + constant
        curves[kind] = Curves(loss, sensitivity, steps, np.maximum(loss[-1] / least - 1, 0))
    return curves


def _prices(
    kind: Kind, scales: Float[np.ndarray, " scales"], task: LinearTask, hidden: int
) -> tuple[Float[np.ndarray, " scales"], Float[np.ndarray, " scales"], Float[np.ndarray, " scales"]]:
    """G, q and the constant of the module's formula."""
    none = np.zeros_like(scales)
    if kind == "relative":
        return none, ((1 + scales**2) ** 2 - 1) / hidden, none
    with jax.enable_x64(True):
        price = np.asarray(noise_price(scales, task.inputs, task.outputs))
    return price, none, scales**4 * task.outputs * hidden * task.inputs


def _turn(
    strengths: Float[np.ndarray, " modes"],
    starts: Float[np.ndarray, " modes"],
    price: float,
    collective: float,
    times: Float[np.ndarray, " budgets"],
) -> tuple[float, float]:
    """Time of the inflection (NaN without one) and the least loss, less the constant."""
    if len(times) < 2:
        with jax.enable_x64(True):
            learned = np.asarray(_flow(starts, strengths, 1.0, times[0]))
        size = float(learned.sum())
        return np.nan, float(np.sum((strengths - learned) ** 2)) + price * size + collective * size**2
    if collective == 0:
        found = noise_inflection(strengths, starts, float(price), float(times[0]), float(times[-1]))
        return found.time, found.loss
    with jax.enable_x64(True):
        ends = np.log([times[0], times[-1]])
        found_turn = _collective_turn(*(jnp.asarray(value) for value in (strengths, starts, collective, ends)))
        place, value, last = (float(number) for number in found_turn)
    turns = last / value - 1 > np.sqrt(np.finfo(np.float64).eps)
    return float(np.exp(place)) if turns else np.nan, value


@jax.jit
def _collective_turn(strengths: Array, starts: Array, collective: Array, ends: Array) -> tuple[Array, Array, Array]:
    def loss(log_time: Array) -> Array:
        learned = mode_flow(starts, strengths, 1.0, jnp.exp(log_time))
        return jnp.sum((strengths - learned) ** 2) + collective * jnp.sum(learned) ** 2

    grid = jnp.linspace(ends[0], ends[1], _SAMPLES)
    values = jax.vmap(loss)(grid)
    turn = lowest(loss, grid, values, 1e-14 * jnp.sum(strengths**2))
    return turn.place, turn.value, values[-1]


def thresholds(config: Any, task: LinearTask) -> dict[str, tuple[Any, Any, str]]:
    """Prices, n* and the best strengths of balanced aligned layers under each kind of noise; none elsewhere."""
    hidden = min(task.inputs, task.outputs) if config.network.hidden is None else config.network.hidden
    whitened = np.array_equal(task.input_covariance, np.eye(task.inputs))
    if config.depth != 2 or not whitened or hidden < len(task.strengths) or task.strengths.min() < 0:
        return {}
    found: dict[str, tuple[Any, Any, str]] = {}
    for kind in KINDS:
        axis = f"{kind}_noise"
        price, collective, constant = _prices(kind, np.asarray(getattr(config, kind)), task, hidden)
        final = price + 2 * collective * task.strengths.sum()
        if kind == "absolute":
            with jax.enable_x64(True):
                best = np.asarray(soft_threshold(task.strengths[None], price[:, None]))
                useful = np.asarray(useful_modes(task.strengths[None], price[:, None]))
        else:
            best = np.asarray([collective_threshold(task.strengths, q) for q in collective])
            useful = np.asarray([_best_stage(task.strengths, q) for q in collective])
        size = best.sum(axis=-1)
        least = np.sum((task.strengths - best) ** 2, axis=-1) + price * size + collective * size**2
        found |= {
            f"price_{kind}": (axis, final, "price of strength once all is learned: G, or 2 q sum sigma"),
            f"useful_{kind}": (axis, useful, "n*, the best stage"),
            f"best_strengths_{kind}": ((axis, "mode"), best, "strengths of least loss under noise"),
            f"best_loss_{kind}": (axis, least, "least loss under noise, less what no weights change"),
            f"constant_{kind}": (axis, constant, "part of the loss under noise that no weights change"),
        }
    return found


def collective_threshold(strengths: Float[np.ndarray, " modes"], collective: float) -> Float[np.ndarray, " modes"]:
    """s_i = (sigma_i - q N)_+ with N = sum_i s_i: least sum (sigma_i - s_i)^2 + q N^2 over s >= 0."""
    order = np.sort(strengths)[::-1]
    kept = np.arange(1, len(order) + 1)
    sizes = np.cumsum(order) / (1 + kept * collective)  # N if so many modes are kept
    count = int(np.max(kept, where=order > collective * sizes, initial=0))
    return np.maximum(strengths - collective * (sizes[count - 1] if count else 0.0), 0)


def _best_stage(strengths: Float[np.ndarray, " modes"], collective: float) -> int:
    """n of the least loss among the idealised checkpoints of strengths in decreasing order."""
    order = np.sort(strengths)[::-1]
    missing = np.append(np.cumsum(order[::-1] ** 2)[::-1], 0)
    return int(np.argmin(missing + collective * np.append(0, np.cumsum(order)) ** 2))
