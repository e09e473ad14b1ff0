"""Pre-training to every budget, and fine-tuning from every budget at every rate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .language import Tables
from .measuring import Evaluation, Losses
from .model import Model, Params, Recipe, Run, begin, train

_PIECE = 200  # steps between which progress is told and an interrupt is heard

Done = Callable[[int], None]
"""Told the training steps done since it was told last, summed over lanes."""


class Regime(NamedTuple):
    """How a model is trained on a language, at whatever rate."""

    tables: Tables
    warmup: int
    batch: int


class Tuned(NamedTuple):
    """What fine-tuning leaves behind, over (budget, rate, seed)."""

    losses: Losses
    displacement: Float[np.ndarray, "budgets rates seeds"]
    """Root mean square of how far a parameter moved."""


def pretrain(
    model: Model,
    regime: Regime,
    learning_rate: float,
    budgets: Int[np.ndarray, " budgets"],
    initial_keys: PRNGKeyArray,
    text_keys: PRNGKeyArray,
    lanes: int,
    done: Done | None = None,
) -> Params:
    """One run per seed to the largest budget.

    Args:
      model: the transformer.
      regime: how it is trained.
      learning_rate: the same throughout.
      budgets: at which parameters are recorded, in steps.
      initial_keys: of the initial parameters, one a seed.
      text_keys: of the text, one a seed.
      lanes: seeds that step together.
      done: told how far training is.

    Returns:
      Parameters with leading axes (budget, seed).
    """
    groups = []
    for first in range(0, len(text_keys), lanes):
        keys = text_keys[first : first + lanes]
        runs = _begin(model, initial_keys[first : first + lanes])
        records = []
        for steps in np.diff(budgets, prepend=0):
            runs = _advance(model, regime, runs, [learning_rate] * len(keys), keys, int(steps), done)
            records.append(jax.tree.map(jnp.copy, runs.params))
        groups.append(jax.tree.map(lambda *leaves: jnp.stack(leaves), *records))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis=1), *groups)


def finetune(
    evaluation: Evaluation,
    regime: Regime,
    learning_rates: Sequence[float],
    steps: int,
    checkpoints: Params,
    text_keys: PRNGKeyArray,
    lanes: int,
    done: Done | None = None,
) -> Tuned:
    """Fine-tune from every checkpoint at every rate; the text of a seed is the same from all its checkpoints.

    Args:
      evaluation: the model and how it is judged.
      regime: how it is trained.
      learning_rates: of fine-tuning.
      steps: from every checkpoint.
      checkpoints: parameters with leading axes (budget, seed).
      text_keys: of the text, one a seed.
      lanes: runs that step together.
      done: told how far training is.
    """
    shape = jax.tree.leaves(checkpoints)[0].shape[0], len(learning_rates), len(text_keys)
    indices = np.stack(np.unravel_index(np.arange(np.prod(shape)), shape))
    results = []
    for first in range(0, indices.shape[1], lanes):
        budget, rate, seed = indices[:, first : first + lanes]
        start = jax.tree.map(lambda leaf, budget=budget, seed=seed: leaf[budget, seed], checkpoints)
        runs, rates = jax.vmap(begin)(jax.tree.map(jnp.copy, start)), [learning_rates[index] for index in rate]
        runs = _advance(evaluation.model, regime, runs, rates, text_keys[seed], steps, done)
        results.append((evaluation.losses_of_lanes(runs.params), _distance(start, runs.params)))
    return Tuned(*jax.tree.map(lambda *parts: np.concatenate(parts).reshape(shape), *results))


def _advance(
    model: Model,
    regime: Regime,
    runs: Run,
    rates: Sequence[float],
    keys: PRNGKeyArray,
    steps: int,
    done: Done | None,
) -> Run:
    """Train in pieces."""
    recipes = Recipe(jnp.asarray(rates, jnp.float32), jnp.full(len(rates), regime.warmup, jnp.float32))
    for first in range(0, steps, _PIECE):
        piece = min(_PIECE, steps - first)
        runs = train(model, runs, regime.tables, recipes, keys, regime.batch, np.int32(piece))
        jax.block_until_ready(runs)
        if done is not None:
            done(piece * len(rates))
    return runs


@partial(jax.jit, static_argnames="model")
def _begin(model: Model, keys: PRNGKeyArray) -> Run:
    return jax.vmap(lambda key: begin(model.draw(key)))(keys)


@jax.jit
def _distance(first: Params, second: Params) -> Float[Array, " lanes"]:
    """Root mean square of the difference of all parameters, one a lane."""
    flat = [
        jnp.concatenate([leaf.reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(each)], axis=1)
        for each in (first, second)
    ]
    return jnp.sqrt(jnp.mean((flat[0] - flat[1]) ** 2, axis=1))
