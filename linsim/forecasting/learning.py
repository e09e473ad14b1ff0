"""How the forecaster learns: small networks in Flax, trained on tables of the prior, averaged."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from linsim.forecasting.bins import place_in
from linsim.forecasting.columns import COLUMNS, OPTIONAL, features, shape_of
from linsim.forecasting.network import Members
from linsim.forecasting.prior import HORIZONS
from linsim.forecasting.simulation import Simulated

_SMOOTHING = 1e-3  # weight decay


class Examples(NamedTuple):
    """What is learned from, over examples."""

    features: Float[np.ndarray, "examples features"]
    worse: Bool[np.ndarray, "examples horizons"]
    place: Int[np.ndarray, " examples"]
    """Interval of ln(turn / B), see `linsim.forecasting.bins`."""
    columns: Int[np.ndarray, " examples"]
    """Which of the optional columns there are, as bits."""


def examples(budgets: Float[np.ndarray, "runs budgets"], told: Simulated, masks: int, seed: int) -> Examples:
    """Features of all runs, each with several choices of its optional columns.

    Args:
      budgets: NaN beyond the last of a run.
      told: what was measured, and what came of it.
      masks: choices for each run, drawn at random but for the first, which has all columns.
      seed: of the choices.
    """
    rng, every = np.random.default_rng([seed, 22]), (1 << len(OPTIONAL)) - 1
    rows, bits = [], rng.integers(0, every + 1, (len(budgets), masks))
    bits[:, 0] = every
    for steps, losses, chosen in zip(budgets, np.swapaxes(told.losses, 0, 1), bits, strict=True):
        known = np.isfinite(steps)
        shapes = {name: shape_of(steps[known], loss[known]) for name, loss in zip(COLUMNS, losses, strict=True)}
        rows += [features(chosen_of(shapes, int(each)), steps[known]) for each in chosen]
    place = np.repeat(place_in(told.turn), masks)
    return Examples(np.asarray(rows, np.float32), np.repeat(told.worse, masks, axis=0), place, bits.ravel())


def chosen_of(shapes: dict[str, np.ndarray], bits: int) -> dict[str, np.ndarray]:
    """The base loss, and those of the optional columns whose bits are set."""
    return {name: each for name, each in shapes.items() if name not in OPTIONAL or bits >> OPTIONAL.index(name) & 1}


def learn(
    known: Examples,
    members: int,
    width: int,
    epochs: int,
    seed: int,
    bins: int,
    report: Callable[[int, int], None] | None = None,
) -> Members:
    """Train networks of two hidden layers on the log score of all outcomes, and of the interval of the turn.

    Args:
      known: what is learned from.
      members: networks, which differ in their initial weights and in the order of examples.
      width: of the hidden layers.
      epochs: passes through the examples.
      seed: of all that is drawn.
      bins: number of intervals of the turn.
      report: called with (passes done, passes in all).
    """
    mean, scale = known.features.mean(axis=0), known.features.std(axis=0) + 1e-3
    inputs = jnp.asarray((known.features - mean) / scale)
    targets = jnp.asarray(known.worse, jnp.float32), jnp.asarray(known.place)
    batch = min(512, len(inputs))
    steps = max(len(inputs) // batch, 1)
    optimizer = optax.adamw(optax.cosine_decay_schedule(2e-3, epochs * steps), weight_decay=_SMOOTHING)
    found = []
    for member in range(members):
        sizes = (inputs.shape[1], width, width, len(HORIZONS) + bins)
        rngs = nnx.Rngs(seed * 1000 + member)
        layers = [nnx.Linear(a, b, rngs=rngs) for a, b in pairwise(sizes)]
        weights = [(layer.kernel[...], jnp.zeros_like(layer.kernel[...][0])) for layer in layers]
        state, rng = optimizer.init(weights), np.random.default_rng([seed, member, 23])
        for epoch in range(epochs):
            order = jnp.asarray(rng.permutation(len(inputs))[: steps * batch].reshape(steps, batch))
            weights, state = _epoch(optimizer.update, weights, state, inputs, targets, order)
            if report is not None:
                report(member * epochs + epoch + 1, members * epochs)
        found.append([np.asarray(part) for layer in weights for part in layer])
    return Members(mean, scale, *(np.stack(parts) for parts in zip(*found, strict=True)))


def _scores(weights: list[tuple[Array, Array]], inputs: Array, worse: Array, place: Array) -> Array:
    """Mean negative log score."""
    for kernel, bias in weights[:-1]:
        inputs = jax.nn.silu(inputs @ kernel + bias[None])
    logits = inputs @ weights[-1][0] + weights[-1][1][None]
    asked, turn = logits[:, : worse.shape[1]], logits[:, worse.shape[1] :]
    return jnp.mean(
        optax.sigmoid_binary_cross_entropy(asked, worse).sum(axis=1)
        + optax.softmax_cross_entropy_with_integer_labels(turn, place)
    )


@jax.jit(static_argnums=0)
def _epoch(
    update: Callable[..., Any],
    weights: list[tuple[Array, Array]],
    state: optax.OptState,
    inputs: Array,
    targets: tuple[Array, Array],
    order: Array,
) -> tuple[list[tuple[Array, Array]], optax.OptState]:
    def step(carry: tuple[list[tuple[Array, Array]], optax.OptState], rows: Array) -> tuple[Any, None]:
        weights, state = carry
        slopes = jax.grad(_scores)(weights, inputs[rows], *(target[rows] for target in targets))
        moves, state = update(slopes, state, weights)
        return (optax.apply_updates(weights, moves), state), None

    (weights, state), _ = jax.lax.scan(step, (weights, state), order)
    return weights, state
