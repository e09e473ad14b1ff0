"""The loss under noise on the weights: its exact mean, and that of a few samples."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.interpolate import CubicSpline

from linsim.losses import Weights, population_loss
from linsim.measures.perturbation import gaussian, perturbed_loss
from linsim.measures.sensitivity import expected_increase, relative_scales

from ..trajectory import Trajectory

Kind = Literal["absolute", "relative"]
KINDS: tuple[Kind, ...] = ("absolute", "relative")


def increases(
    weights: tuple[Any, ...],
    covariance: Float[np.ndarray, "d_in d_in"],
    scales: Float[np.ndarray, " scales"],
    kind: Kind,
) -> Float[np.ndarray, "budgets seeds scales"]:
    """E L(W + noise) - L(W), exactly, of weights with leading axes (budget, seed)."""
    with jax.enable_x64(True):
        layers = tuple(jnp.asarray(layer) for layer in weights)
        return np.asarray(_increases(layers, jnp.asarray(covariance), jnp.asarray(scales), kind))


@partial(jax.jit, static_argnames="kind")
def _increases(weights: Weights, covariance: Array, scales: Array, kind: Kind) -> Array:
    def increase(layers: Weights, scale: Array) -> Array:
        gammas = scale if kind == "absolute" else relative_scales(layers, scale)
        return expected_increase(layers, gammas, covariance)

    over_scales = jax.vmap(increase, in_axes=(None, 0))
    return jax.vmap(jax.vmap(over_scales, in_axes=(0, None)), in_axes=(0, None))(weights, scales)


def strengths_at(
    budgets: Int[np.ndarray, " budgets"],
    learned: Float[np.ndarray, "budgets seeds modes"],
    steps: Float[np.ndarray, "seeds scales"],
) -> Float[np.ndarray, "seeds scales modes"]:
    """Strengths of all modes at given steps, between budgets by a cubic spline over log budget; NaN at NaN steps."""
    found = np.full((*steps.shape, learned.shape[2]), np.nan)
    log = np.log(budgets.astype(np.float64))
    for seed, of_seed in enumerate(steps):
        known = np.isfinite(of_seed)
        if len(log) > 1 and known.any() and np.isfinite(learned[:, seed]).all():
            found[seed, known] = CubicSpline(log, learned[:, seed])(np.log(of_seed[known]))
    return found


def sampled(
    trajectory: Trajectory,
    places: Int[np.ndarray, " budgets"],
    scales: dict[Kind, Float[np.ndarray, " _"]],
    samples: int,
    seed: int,
) -> dict[Kind, tuple[Float[np.ndarray, "budgets _"], Float[np.ndarray, "budgets _"]]]:
    """Mean and standard error of the loss under noise of seed 0 at some budgets, every cell with its own draws."""
    task = trajectory.transfer.pretrain
    chosen = [layer[places, 0] for layer in trajectory.weights]
    sizes = np.stack([np.sqrt(np.mean(layer**2, axis=(1, 2))) for layer in chosen], axis=-1)
    units = {"absolute": np.ones_like(sizes), "relative": sizes}
    gammas = [units[kind][:, None, :] * scales[kind][:, None] for kind in KINDS]
    ends = np.cumsum([len(scales[kind]) for kind in KINDS])[:-1]
    with jax.enable_x64(True):
        layers = tuple(jnp.asarray(layer) for layer in chosen)
        every = jnp.asarray(np.concatenate(gammas, axis=1))
        keys = jax.random.split(jax.random.key(seed), every.shape[:2])
        known = jnp.asarray(task.target), jnp.asarray(task.input_covariance)
        means, errors = (np.asarray(part) for part in _sampled(layers, *known, every, keys, samples))
    parts = zip(np.split(means, ends, axis=1), np.split(errors, ends, axis=1), strict=True)
    return dict(zip(KINDS, parts, strict=True))


@partial(jax.jit, static_argnames="samples")
def _sampled(
    weights: Weights, target: Array, covariance: Array, gammas: Array, keys: Array, samples: int
) -> tuple[Array, Array]:
    def mean(layers: Weights, gamma: Array, key: Array) -> tuple[Array, Array]:
        noise = gaussian(tuple(gamma))
        found = perturbed_loss(lambda each: population_loss(each, target, covariance), layers, key, noise, samples)
        return found.mean, found.error

    return jax.vmap(jax.vmap(mean, in_axes=(None, 0, 0)))(weights, gammas, keys)
