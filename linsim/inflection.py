"""Where extra pre-training becomes harmful: the inflection point located in simulated curves and predicted.

The inflection point is the pre-training budget with the smallest pre-training loss after fine-tuning. Harm is what
pre-training on to the largest budget costs: loss there / smallest loss - 1.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from scipy.interpolate import CubicSpline

from linsim.dynamics.mode_flow import mode_flow
from linsim.dynamics.frame import Frame, Misaligned, find_frame
from linsim.errors import require
from linsim.phase import Phase, Regularizer
from linsim.problem import Problem

_GRID = 512  # closed-form budgets tried per cell before the root is bracketed
_STABLE = 2.0  # learning rate x curvature beyond which gradient descent oscillates instead of following the flow
_FOREVER = 1e30  # a flow time after which every mode is at its limit
_CELLS = 1024  # predicted at once: some 100 MB at 16 modes
_BISECTIONS = 60  # halvings of a bracket in log-budget: to the last bit of float64


class Inflection(NamedTuple):
    """Inflection points and harm, over the trailing axes of the curves they come from."""

    steps: Float[np.ndarray, "..."]
    """Budget of the smallest loss, refined between budgets; NaN where the curve never turns. The first budget means
    at or before it: such a curve rises from the start."""
    harm: Float[np.ndarray, "..."]
    """Loss at the largest budget / smallest loss - 1; infinite where the largest budget diverged, NaN if all did."""


class Prediction(NamedTuple):
    """The same from the closed form, with its curves."""

    loss: Float[np.ndarray, "budgets rates strengths seeds"]
    """Pre-training loss after fine-tuning."""
    steps: Float[np.ndarray, "rates strengths seeds"]
    """Budget of the smallest loss, budgets being continuous; NaN where the curve never turns."""
    harm: Float[np.ndarray, "rates strengths seeds"]
    """Over the same budgets as in the simulation."""


class Unpredictable(NamedTuple):
    """Why the closed form does not apply."""

    reason: str


def locate(
    budgets: Int[np.ndarray, " steps"],
    loss: Float[np.ndarray, "budgets ..."],
    diverged: Bool[np.ndarray, "budgets ..."] | None = None,
    resolution: float | None = None,
    floor: float = 0.0,
) -> Inflection:
    """Find the inflection point of every curve of losses over budgets.

    The smallest loss is refined between budgets by a cubic spline over log budget.

    Args:
      budgets: pre-training steps, increasing.
      loss: loss after fine-tuning, budgets along the first axis.
      diverged: lanes to keep out of the minima; they count as infinitely bad.
      resolution: harm below this is rounding, not a turn; default the square root of the dtype's epsilon, which the
        accumulated rounding of any sensible number of steps stays under.
      floor: losses below this are rounding too and count as equal; see `rounding_floor`.
    """
    require(len(budgets) == len(loss), "budgets", f"{len(budgets)} values", f"one for each of the {len(loss)} losses")
    require(bool(np.all(np.diff(budgets) > 0)), "budgets", budgets, "strictly increasing values")
    resolution = float(np.sqrt(np.finfo(loss.dtype).eps)) if resolution is None else resolution
    curve = np.where(np.isfinite(loss), loss, np.inf).astype(np.float64)
    if diverged is not None:
        curve = np.where(diverged, np.inf, curve)
    curve = np.maximum(curve, floor)
    best = np.asarray(np.argmin(curve, axis=0))
    smallest, last = np.take_along_axis(curve, best[None], axis=0)[0], curve[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        harm = np.where(last == smallest, 0.0, last / smallest - 1)
    harm = np.where(np.isinf(smallest), np.nan, harm)
    turns = harm > resolution
    return Inflection(np.where(turns, _refine(budgets, curve, best), np.nan), harm)


def rounding_floor(problem: Problem, dtype: np.dtype[Any]) -> float:
    """Loss below which a curve shows rounding: eps^(3/2) x the loss of the zero network.

    Descent at rate eta stops moving when its step is lost in the weights, at a relative residual of about eps / (4 eta
    s); the loss is its square, below eps^(3/2) for every eta s above eps^(1/4) / 4, which is 3e-5 in float64.
    """
    return float(np.finfo(dtype).eps ** 1.5) * problem.transfer.pretrain.zero_loss


def predict(
    problem: Problem,
    learning_rates: Float[np.ndarray, " rates"],
    strengths: Float[np.ndarray, " strengths"],
    regularizer: Regularizer,
) -> Prediction | Unpredictable:
    """Loss after fine-tuning, inflection point and harm of a whole chart in closed form, without simulating.

    With t = eta_pre * budget and T = eta * K, mode i is pre-trained to s_i(t) and fine-tuned to F_T(s_i(t)), both
    given by `mode_flow`, and L(t) = sum_i lambda_i (F_T(s_i(t)) - sigma_i)^2. The inflection point is the smallest
    value of L on a fine grid, then the root of dL/dlog t between its neighbours, by bisection.

    Returns:
      The prediction, or why there is none: it needs two aligned, balanced layers, plain gradient descent at a constant
      rate on the population loss, and no penalty in weight space. It holds to first order in learning rate x curvature
      and is NaN in cells where that is above 2, where descent does not follow the flow.
    """
    found = _closed_form_domain(problem, regularizer)
    if isinstance(found, Unpredictable):
        return found
    with jax.enable_x64(True):
        cells = np.stack(np.meshgrid(learning_rates, strengths, np.arange(problem.seeds), indexing="ij"), axis=-1)
        budgets = problem.budgets.astype(np.float64)
        rows = cells.reshape(-1, 3)
        size = -(-len(rows) // -(-len(rows) // _CELLS))  # parts of one size, so that all are one program
        parts = [
            _predict_cells(
                _modes_of(problem, found), np.resize(rows[first : first + size], (size, 3)), budgets, regularizer
            )
            for first in range(0, len(rows), size)
        ]
        loss, steps, harm = (np.concatenate(part)[: len(rows)] for part in zip(*parts, strict=True))
    shape = cells.shape[:-1]
    return Prediction(np.moveaxis(loss.reshape(*shape, -1), -1, 0), steps.reshape(shape), harm.reshape(shape))


class _Modes(NamedTuple):
    """All that the closed form needs of a problem."""

    start: Any  # s(0), (seed, mode)
    pretrain: tuple[Any, Any]  # strengths and variances, (mode,)
    finetune: tuple[Any, Any]
    phases: tuple[Phase, Phase]
    finetune_steps: Any
    floor: Any


def _modes_of(problem: Problem, frame: Frame) -> _Modes:
    modes = len(frame.pretrain_strengths)
    return _Modes(
        np.prod(frame.chains[..., :modes], axis=1),
        (frame.pretrain_strengths, frame.pretrain_variances),
        (frame.finetune_strengths, frame.finetune_variances),
        (problem.pretrain.as_dtype(np.float64), problem.finetune.as_dtype(np.float64)),
        np.float64(problem.finetune_steps),
        np.float64(rounding_floor(problem, np.dtype(np.float64))),
    )


def _closed_form_domain(problem: Problem, regularizer: Regularizer) -> Frame | Unpredictable:
    if problem.depth != 2:
        return Unpredictable(f"the closed form is for two layers, not {problem.depth}")
    if problem.idealised:
        return Unpredictable("idealised checkpoints jump from stage to stage: there is no smooth curve over budgets")
    for name, phase in (("pre-training", problem.pretrain), ("fine-tuning", problem.finetune)):
        plain = phase.optimizer is None and phase.momentum is None and phase.schedule is None
        if not plain or phase.batch_size is not None:
            return Unpredictable(f"the closed form is for plain gradient descent at a constant rate, not this {name}")
        if phase.weight_penalty is not None:
            return Unpredictable(f"the closed form knows no penalty in weight space, and {name} has one")
    if regularizer == "weight_penalty":
        return Unpredictable("the closed form knows no penalty in weight space, and the chart sweeps one")
    frame = find_frame(problem)
    if isinstance(frame, Misaligned):
        return Unpredictable(frame.reason)
    with jax.enable_x64(True):
        step = problem.pretrain.learning_rate * float(_pretraining_curvature(_modes_of(problem, frame)))
    if not step <= _STABLE:
        return Unpredictable(f"pre-training is unstable, with learning rate x curvature = {step:.1f} above {_STABLE:g}")
    sizes = np.abs(frame.chains[..., : len(frame.pretrain_strengths)])
    difference, larger = np.abs(sizes[:, 0] - sizes[:, 1]), np.max(sizes, axis=1)
    if (off := float(np.max(difference / np.where(larger > 0, larger, 1)))) > 1e-9:
        return Unpredictable(f"the closed form is for balanced layers, and the initial weights are off by {off:.1e}")
    return frame


def _train(start: Any, task: tuple[Any, Any], phase: Phase, time: Any) -> Any:
    """Flow of all modes through one phase that starts at `start`."""
    strengths, variances = task
    penalty = 0.0 if phase.product_penalty is None else phase.product_penalty
    decay = 0.0 if phase.weight_decay is None else phase.weight_decay
    sign = jnp.where(start < 0, -1.0, 1.0)
    return mode_flow(start, variances * strengths + penalty * start - sign * decay / 2, variances + penalty, time)


def _curvature(checkpoint: Any, task: tuple[Any, Any], phase: Phase) -> Any:
    """Largest curvature that a phase meets between its checkpoint and its limit: 4 (v + lambda) s, plus decay."""
    _, variances = task
    penalty = 0.0 if phase.product_penalty is None else phase.product_penalty
    decay = 0.0 if phase.weight_decay is None else phase.weight_decay
    largest = jnp.maximum(jnp.abs(checkpoint), jnp.abs(_train(checkpoint, task, phase, _FOREVER)))
    return jnp.max(4 * (variances + penalty) * largest) + decay


@jax.jit
def _pretraining_curvature(modes: _Modes) -> Array:
    """The largest over all seeds."""
    return jnp.max(jax.vmap(lambda start: _curvature(start, modes.pretrain, modes.phases[0]))(modes.start))


@partial(jax.jit, static_argnames="regularizer")
def _predict_cells(modes: _Modes, cells: Array, budgets: Array, regularizer: Regularizer) -> tuple[Array, Array, Array]:
    """Curves, inflection steps and harm of cells (rate, strength, seed)."""
    pretrain, finetune = modes.phases
    first, last = jnp.log(budgets[0]), jnp.log(budgets[-1])
    grid = jnp.linspace(first, last, _GRID)
    resolution = np.sqrt(np.finfo(np.float64).eps)

    def predict_cell(cell: Array) -> tuple[Array, Array, Array]:
        rate, strength, seed = cell
        tuned = finetune.at(rate, regularizer, strength)

        def loss(log_budget: Array) -> Array:
            time = pretrain.learning_rate * jnp.exp(log_budget)
            checkpoint = _train(modes.start[seed.astype(int)], modes.pretrain, pretrain, time)
            end = _train(checkpoint, modes.finetune, tuned, rate * modes.finetune_steps)
            return jnp.maximum(jnp.sum(modes.pretrain[1] * (end - modes.pretrain[0]) ** 2), modes.floor)

        slope = jax.grad(loss)
        best = jnp.argmin(jax.vmap(loss)(grid))
        low, high = grid[jnp.maximum(best - 1, 0)], grid[jnp.minimum(best + 1, _GRID - 1)]

        def halve(_: Any, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
            middle = 0.5 * (bracket[0] + bracket[1])
            rising = slope(middle) > 0
            return jnp.where(rising, bracket[0], middle), jnp.where(rising, middle, bracket[1])

        low, high = jax.lax.fori_loop(0, _BISECTIONS, halve, (low, high))
        turn = jnp.where(best == 0, first, 0.5 * (low + high))
        steps = jnp.where(loss(last) / loss(turn) - 1 > resolution, jnp.exp(turn), jnp.nan)
        curve = jax.vmap(loss)(jnp.log(budgets))
        harm = curve[-1] / jnp.min(curve) - 1
        learned = _train(modes.start[seed.astype(int)], modes.pretrain, pretrain, _FOREVER)
        stable = rate * _curvature(learned, modes.finetune, tuned) <= _STABLE
        curve, steps, harm = (jnp.where(stable, value, jnp.nan) for value in (curve, steps, harm))
        return curve, steps, harm

    return jax.vmap(predict_cell)(cells)


def _refine(budgets: np.ndarray, curve: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Lowest stationary point, next to the smallest value, of the cubic spline through a curve over log budget.

    Curves fall and rise exponentially fast, at different rates: a parabola through three points misses their minimum
    by more than the grid point itself does. At an end of the budgets, or on a curve with diverged lanes, the grid point
    stays.
    """
    flat, nearest = curve.reshape(len(curve), -1), best.ravel()
    refined = budgets[nearest].astype(np.float64)
    usable = np.isfinite(flat).all(axis=0) & (nearest > 0) & (nearest < len(budgets) - 1)
    if not usable.any():
        return refined.reshape(best.shape)
    log = np.log(budgets.astype(np.float64))
    spline = CubicSpline(log, flat[:, usable])
    columns, middle = np.arange(np.count_nonzero(usable)), nearest[usable]
    lowest, place = flat[middle, np.flatnonzero(usable)], log[middle]
    for interval in (middle - 1, middle):
        cubic, square, slope, value = spline.c[:, interval, columns]
        with np.errstate(invalid="ignore", divide="ignore"):
            # The root of 3 cubic x^2 + 2 square x + slope where the curvature is positive, free of cancellation.
            offset = -slope / (square + np.sqrt(square**2 - 3 * cubic * slope))
            depth = value + offset * (slope + offset * (square + offset * cubic))
            better = (offset >= 0) & (offset <= log[interval + 1] - log[interval]) & (depth <= lowest)
        lowest = np.where(better, depth, lowest)
        place = np.where(better, log[interval] + offset, place)
    refined[usable] = np.exp(place)
    return refined.reshape(best.shape)
