"""A small decoder-only transformer (Flax NNX), trained on a language and measured as a function of its parameters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from linsim.losses import Scalar

from .language import Tables, contexts_of, draw_text, true_logs

Params = Any
"""Parameters as `nnx.split` gives them: a pytree of arrays."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a transformer."""

    layers: int = 2
    """Blocks of attention and a two-layer perceptron."""
    width: int = 96
    """Of the residual stream; the perceptrons are four times as wide."""
    heads: int = 4
    """Attention heads; a divisor of the width."""
    context: int = 32
    """Tokens that are seen at once, and predicted in one sequence."""


class Block(nnx.Module):
    """x + attention(norm(x)), then x + perceptron(norm(x))."""

    def __init__(self, shape: Shape, rngs: nnx.Rngs) -> None:
        width = shape.width
        self.attention_norm = nnx.RMSNorm(width, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(
            shape.heads, width, use_bias=False, decode=False, rngs=rngs, keep_rngs=False
        )
        self.perceptron_norm = nnx.RMSNorm(width, rngs=rngs)
        self.up = nnx.Linear(width, 4 * width, use_bias=False, rngs=rngs)
        self.down = nnx.Linear(4 * width, width, use_bias=False, rngs=rngs)

    def __call__(self, stream: Float[Array, "batch length width"]) -> Float[Array, "batch length width"]:
        """The stream after this block; each position has seen itself and those before it."""
        mask = nnx.make_causal_mask(stream[..., 0])
        stream = stream + self.attention(self.attention_norm(stream), mask=mask)
        return stream + self.down(nnx.gelu(self.up(self.perceptron_norm(stream))))


class Transformer(nnx.Module):
    """Tokens -> logits of the next token after each of them."""

    def __init__(self, shape: Shape, tokens: int, rngs: nnx.Rngs) -> None:
        self.embedding = nnx.Embed(tokens, shape.width, rngs=rngs)
        self.positions = nnx.Embed(shape.context, shape.width, rngs=rngs)
        self.blocks = nnx.List([Block(shape, rngs) for _ in range(shape.layers)])
        self.norm = nnx.RMSNorm(shape.width, rngs=rngs)
        self.unembedding = nnx.Linear(shape.width, tokens, use_bias=False, rngs=rngs)

    def __call__(self, text: Int[Array, "batch length"]) -> Float[Array, "batch length tokens"]:
        """Logits; no dropout, so nothing here is random."""
        stream = self.embedding(text) + self.positions(jnp.arange(text.shape[1]))[None]
        for block in self.blocks:
            stream = block(stream)
        return self.unembedding(self.norm(stream))


@dataclass(frozen=True)
class Model:
    """The transformer of one shape as functions of its parameters."""

    shape: Shape
    tokens: int

    def draw(self, key: PRNGKeyArray) -> Params:
        """Initial parameters at random, in float32 (LeCun's scales, norms at 1)."""
        return nnx.state(Transformer(self.shape, self.tokens, nnx.Rngs(key)), nnx.Param)

    def logits(self, params: Params, text: Int[Array, "batch length"]) -> Float[Array, "batch length tokens"]:
        """Logits of the next token after each token of a text."""
        blank = nnx.eval_shape(lambda: Transformer(self.shape, self.tokens, nnx.Rngs(0)))
        return nnx.merge(nnx.graphdef(blank), params)(text)

    def parameters(self) -> int:
        """How many numbers are trained."""
        drawn = jax.eval_shape(self.draw, jax.random.key(0))
        return sum(leaf.size for leaf in jax.tree.leaves(drawn))


_WRITERS = {"embedding", "positions", "out", "down"}


def stream_scaled(params: Params, factor: Scalar) -> Params:
    """The same function with its residual stream `factor` times as large.

    Whatever reads the stream normalises it first (up to the 1e-6 that guards the division), so that only parameters
    which write to it change: both embeddings, and the last matrices of attention and perceptron.
    """

    def scaled(path: tuple[Any, ...], leaf: Array) -> Array:
        writes = any(getattr(part, "key", None) in _WRITERS for part in path)
        return leaf * factor.astype(leaf.dtype) if writes else leaf

    return jax.tree_util.tree_map_with_path(scaled, params)


def stream_scale(params: Params) -> Scalar:
    """Root mean square of the embedding of the tokens, with which the residual stream begins."""
    return jnp.sqrt(jnp.mean(params["embedding"]["embedding"][...] ** 2))


class Recipe(NamedTuple):
    """How a phase trains: Adam at a rate that rises linearly over the warm-up, then stays."""

    learning_rate: Float[Array, "..."]
    warmup: Float[Array, "..."]
    """In steps."""


class Run(NamedTuple):
    """Where a phase of training stands."""

    params: Params
    moments: Any
    """Of Adam."""
    steps: Int[Array, ""]
    """Taken so far."""


class Excess(NamedTuple):
    """Excess losses, in nats a token."""

    all: Scalar
    """Over all positions."""
    kept: Scalar
    """Over the positions whose context follows the same law before and after the shift."""


_ADAM = optax.scale_by_adam(b1=0.9, b2=0.95)


def begin(params: Params) -> Run:
    """The start of a phase, with a fresh optimiser."""
    return Run(params, _ADAM.init(params), jnp.zeros((), jnp.int32))


@partial(jax.jit, static_argnames=("model", "batch"), donate_argnames="lanes")
def train(
    model: Model, lanes: Run, tables: Tables, recipes: Recipe, keys: PRNGKeyArray, batch: int, steps: Int[Array, ""]
) -> Run:
    """More steps of a phase, each on text never seen before; one program for any number of steps, rate and language.

    The text of a step depends on the key and the step's number alone, so that pieces make the same run as one stretch.

    Args:
      model: what is trained.
      lanes: where each run stands; leaves have a leading axis of lanes.
      tables: the language.
      recipes: of each lane.
      keys: of each lane's text.
      batch: sequences a step.
      steps: how many more.
    """

    def step(run: Run, recipe: Recipe, key: PRNGKeyArray) -> Run:
        text = draw_text(tables, jax.random.fold_in(key, run.steps), batch, model.shape.context + 1)
        gradient = jax.grad(_cross_entropy, argnums=1)(model, run.params, text)
        direction, moments = _ADAM.update(gradient, run.moments)
        rate = recipe.learning_rate * jnp.minimum(1, (run.steps + 1) / recipe.warmup)
        params = jax.tree.map(lambda old, along: old - rate.astype(old.dtype) * along, run.params, direction)
        return Run(params, moments, run.steps + 1)

    return jax.lax.fori_loop(0, steps, lambda _, runs: jax.vmap(step)(runs, recipes, keys), lanes)


def _cross_entropy(model: Model, params: Params, text: Int[Array, "batch length"]) -> Scalar:
    logits = model.logits(params, text[:, :-1])
    return optax.softmax_cross_entropy_with_integer_labels(logits, text[:, 1:]).mean()


def excess_loss(model: Model, params: Params, tables: Tables, text: Int[Array, "batch length"]) -> Excess:
    """The mean of KL(p || q) over the positions of a text: cross-entropy minus the entropy of the language.

    The expectation over the next token is exact (p is known), that over contexts is the mean over the text; the loss is
    0 for a perfect model, on any text.

    Args:
      model: whose predictions q are judged.
      params: its parameters.
      tables: the language, which gives p.
      text: drawn from the language; its last token is not looked at.
    """
    text = text[:, :-1]
    truth, guess = true_logs(tables, text), jax.nn.log_softmax(model.logits(params, text))
    excess = jnp.sum(jnp.exp(truth) * (truth - guess), axis=-1)
    kept = tables.kept[contexts_of(tables, text)]
    return Excess(jnp.mean(excess), jnp.sum(excess[:, 1:] * kept) / jnp.maximum(jnp.sum(kept), 1))
