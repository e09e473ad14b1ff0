"""What one probe of each monitor costs, in gradient steps of the same model on the same batch.

    python -m benchmarks.monitor_costs [--json FILE] [--quick]

A gradient step is the loss, its gradient and the update of plain descent, compiled as one. Each probe races against it;
the ratio is probes a second over steps a second, and the note tells its inverse, what a probe costs in steps.
`top_eigenvalue` is counted per product.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from benchmarks.racing import Row, main, race
from linsim.monitoring import probes
from linsim.monitoring.measuring import OF_LOSSES, OF_OUTPUTS
from linsim.monitoring.predictive import CROSS_ENTROPY, Predictive
from linsim.monitoring.sharpness import Sharpness

PRODUCTS = 16  # of one Lanczos run


class Perceptron(nnx.Module):
    """Two hidden layers."""

    def __init__(self, inputs: int, width: int, classes: int) -> None:
        rngs = nnx.Rngs(0)
        self.layers = nnx.List(
            [nnx.Linear(rows, columns, rngs=rngs) for rows, columns in ((inputs, width), (width, width))]
        )
        self.head = nnx.Linear(width, classes, rngs=rngs)

    def __call__(self, inputs: jax.Array) -> jax.Array:
        for layer in self.layers:
            inputs = nnx.relu(layer(inputs))
        return self.head(inputs)


class Reader(nnx.Module):
    """Tokens through two blocks of causal attention and a perceptron each."""

    def __init__(self, tokens: int, width: int, blocks: int) -> None:
        rngs = nnx.Rngs(0)
        self.embedding = nnx.Embed(tokens, width, rngs=rngs)
        self.attention = nnx.List([nnx.MultiHeadAttention(4, width, decode=False, rngs=rngs) for _ in range(blocks)])
        self.perceptrons = nnx.List([Perceptron(width, 2 * width, width) for _ in range(blocks)])
        self.head = nnx.Linear(width, tokens, rngs=rngs)

    def __call__(self, text: jax.Array) -> jax.Array:
        stream = self.embedding(text)
        mask = nnx.make_causal_mask(text)
        for attend, think in zip(self.attention, self.perceptrons, strict=True):
            stream = stream + attend(stream, mask=mask)
            stream = stream + think(stream)
        return self.head(stream)


def models() -> dict[str, tuple[nnx.Module, Any]]:
    """Name -> (module, batch)."""
    images, text, labels = jax.random.split(jax.random.key(0), 3)
    pictures = jax.random.normal(images, (256, 784)), jax.random.randint(labels, (256,), 0, 10)
    words = jax.random.randint(text, (32, 65), 0, 128)
    return {
        "perceptron, 784-512-512-10, 256 rows": (Perceptron(784, 512, 10), pictures),
        "transformer, 2 x 96, 32 x 64 tokens": (Reader(128, 96, 2), (words[:, :-1], words[:, 1:])),
    }


def peers(module: nnx.Module, batch: Any) -> dict[str, tuple[Callable[[], Any], int]]:
    """Name -> (what is timed, how many probes or products it makes)."""
    loss, params, key = Predictive.of_module(module, CROSS_ENTROPY), nnx.state(module, nnx.Param), jax.random.key(1)

    def step(weights: Any, rows: Any) -> Any:
        value, gradient = jax.value_and_grad(loss)(weights, rows)
        return value, jax.tree.map(lambda weight, slope: weight - 0.1 * slope, weights, gradient)

    def compiled(probe: Callable[..., Any], *settings: Any) -> Callable[[], Any]:
        run = jax.jit(lambda weights, rows, one: probes.total(probe(loss, weights, rows, one, *settings)))
        return lambda: run(params, batch, key)

    descend, sharpness = jax.jit(step), Sharpness(loss, 1e-30, PRODUCTS)  # a tolerance that no residual comes to
    square = jax.jit(lambda weights, rows: probes.total(jax.tree.map(jnp.square, jax.grad(loss)(weights, rows))))
    nothing, masks = (
        jax.tree.map(lambda _: None, params),
        jax.tree.map(lambda leaf: jnp.ones((1,) * (leaf.ndim + 1)), params),
    )
    return {
        "gradient step": (lambda: descend(params, batch), 1),
        "gradient_square": (lambda: square(params, batch), 1),
        **{name: (compiled(probe), 1) for name, probe in (OF_OUTPUTS | OF_LOSSES).items()},
        "noise_increase": (compiled(probes.noise_increase, 0.01, True), 1),
        "top_eigenvalue": (lambda: sharpness.measure(params, nothing, [batch], [1], key, masks), PRODUCTS),
    }


def races(title: str, module: nnx.Module, batch: Any, rounds: int) -> Iterator[Row]:
    """Every probe against the gradient step."""
    timed = peers(module, batch)
    step, _ = timed.pop("gradient step")
    for name, (probe, count) in timed.items():
        row = race(f"{name}: {title}", count, "probes", probe, step, rounds=rounds, peer_work=1)
        cost = f"{1 / row.ratio:.2f} gradient steps a probe ({1 / row.high:.2f} to {1 / row.low:.2f})"
        yield replace(row, note=cost)


def rows(quick: bool) -> Iterator[Row]:
    """Every probe on a perceptron and on a transformer."""
    if quick:
        yield from races("perceptron", Perceptron(3, 4, 2), (jnp.ones((8, 3)), jnp.zeros(8, int)), rounds=1)
        return
    for title, (module, batch) in models().items():
        yield from races(title, module, batch, rounds=30)


if __name__ == "__main__":
    sys.exit(main(rows, __doc__))
