"""Gradient flow of a representation without labels, and of a new head with it.

The solvers of linsim train end-to-end maps, P = W_L ... W_1. Here the loss is of W^T W, in which the layers are tied,
and fine-tuning puts another layer on top: neither is a task of theirs. Lanes are the last axis of all matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from linsim.theory.objectives.new_heads import Pretext

Lanes = Float[Array, "_ _ lanes"]
State = tuple[Lanes, ...]
Steps = int | Int[Array, ""]
OBJECTIVES: tuple[Pretext, ...] = get_args(Pretext)

_CHUNK = 64  # lanes that step together: their states stay in the cache


def product(left: Lanes, right: Lanes) -> Lanes:
    """Of the matrices of every lane."""
    return jnp.sum(left[:, :, None] * right[None], axis=1)


def gram(weights: Lanes) -> Lanes:
    """W^T W."""
    return product(weights.swapaxes(0, 1), weights)


def limits(data: Float[np.ndarray, " modes"], objective: Pretext) -> Float[np.ndarray, " modes"]:
    """c, the strengths of W^T W at which the loss is 0."""
    return {"autoencoder": np.ones_like(data), "contrastive": data, "whitening": 1 / data}[objective]


def representation_loss(
    weights: Float[Array, "hidden modes lanes"], data: Float[Array, " modes"], objective: Pretext
) -> Float[Array, " lanes"]:
    """tr(E S E) with E = W^T W - I, ||W^T W - C||^2, or ||W G W^T - I||^2; S, C and G diagonal."""
    each = data[None, :, None]
    if objective == "whitening":
        outer = product(weights * each, weights.swapaxes(0, 1))
        return jnp.sum((outer - jnp.eye(len(weights), dtype=weights.dtype)[..., None]) ** 2, axis=(0, 1))
    if objective == "contrastive":
        return jnp.sum((gram(weights) - jnp.diag(data)[..., None]) ** 2, axis=(0, 1))
    off = gram(weights) - jnp.eye(len(data), dtype=weights.dtype)[..., None]
    return jnp.sum(off**2 * each, axis=(0, 1))


def supervised_loss(weights: Lanes, head: Lanes, target: Lanes) -> Float[Array, " lanes"]:
    """||H W - B||^2, of whitened inputs."""
    return jnp.sum((product(head, weights) - target) ** 2, axis=(0, 1))


@partial(jax.jit, static_argnames="objective")
def pretrained(weights: Lanes, data: Float[Array, " modes"], rate: float, objective: Pretext, steps: Steps) -> Lanes:
    """W after some steps of the flow dW/dt = -dL/dW."""

    def velocity(state: State) -> State:
        return (-jax.grad(lambda told: jnp.sum(representation_loss(told, data, objective)))(state[0]),)

    return _flow(velocity, (weights,), rate, steps)[0]


@jax.jit
def headed(weights: Lanes, head: Lanes, target: Lanes, rate: float, steps: Steps) -> tuple[Lanes, Lanes]:
    """W and H after some steps of the flow on ||H W - B||^2, both trained."""

    def trained(start: tuple[Lanes, Lanes, Lanes]) -> State:
        def velocity(state: State) -> State:
            layer, top = state
            error = product(top, layer) - start[2]
            return -2 * product(top.swapaxes(0, 1), error), -2 * product(error, layer.swapaxes(0, 1))

        return _flow(velocity, start[:2], rate, steps)

    lanes = weights.shape[-1]
    chunks = -(-lanes // _CHUNK)

    def split(whole: Lanes) -> Array:
        padded = jnp.pad(whole, ((0, 0), (0, 0), (0, chunks * _CHUNK - lanes)))
        return jnp.moveaxis(padded.reshape(*whole.shape[:-1], chunks, _CHUNK), 2, 0)

    layer, top = jax.lax.map(trained, (split(weights), split(head), split(target)))
    whole = [jnp.moveaxis(each, 0, 2).reshape(*each.shape[1:3], -1)[..., :lanes] for each in (layer, top)]
    return whole[0], whole[1]


def _flow(velocity: Callable[[State], State], state: State, rate: float, steps: Steps) -> State:
    """By the classical Runge-Kutta method."""
    stages = jnp.asarray([[0, 0.5, 0.5, 1], [1 / 6, 1 / 3, 1 / 3, 1 / 6]], state[0].dtype).T * rate

    def step(_: int, at: State) -> State:
        def stage(told: tuple[State, State], share: Array) -> tuple[tuple[State, State], None]:
            slope, moved = told
            slope = velocity(jax.tree.map(lambda where, how: where + share[0] * how, at, slope))
            return (slope, jax.tree.map(lambda where, how: where + share[1] * how, moved, slope)), None

        return jax.lax.scan(stage, (jax.tree.map(jnp.zeros_like, at), at), stages)[0][1]

    return jax.lax.fori_loop(0, steps, step, state)
