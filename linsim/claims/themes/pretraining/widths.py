"""A claim about descent of two layers, section 1.9 of the theory: three products tell all of it, whatever the width."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every
from linsim.claims.themes.simulation import Layers, Matrix, grams, product, rotation
from linsim.dynamics.matrices.gram import Grams, gram_step
from linsim.dynamics.matrices.width import narrowed
from linsim.testing.draws import decades, numbers, seeds

_STEP = decades(1e-3, 2e-2)
_gram_step = jax.jit(gram_step)


def check_width_free(problem: PlainProblem, curved: float = 1.0, pulled: float = 1.0) -> float:
    """Descend with wide layers, also with their hidden layer rotated, and compare P, G_1 and G_2 with `gram_step`."""
    generator, hidden = np.random.default_rng(problem["seed"]), problem["hidden"]
    outputs, inputs = problem["sides"]
    shapes = (hidden, inputs), (outputs, hidden)
    start = [problem["scale"] / np.sqrt(shape[1]) * generator.normal(size=shape) for shape in shapes]
    target, spread = generator.normal(size=(outputs, inputs)) / 2, generator.normal(size=(inputs, inputs)) / 2
    covariance, turn, checkpoint = spread @ spread.T, rotation(problem["seed"], hidden), product(start)
    rate, decay, penalty, steps = (problem[name] for name in ("rate", "decay", "penalty", "steps"))

    def pull(answer: Matrix) -> Matrix:
        return (answer - target) @ covariance + penalty * (answer - checkpoint)

    def trained(layers: Layers) -> Matrix:
        squares = [np.zeros_like(layer) for layer in layers]
        for _ in range(steps):
            half = pull(product(layers))
            slopes = [2 * layers[1].T @ half + decay * layers[0], 2 * half @ layers[0].T + decay * layers[1]]
            if problem["adaptive"]:  # Adam without momentum: every entry over the root of its mean square
                squares = [0.9 * old + 0.1 * slope**2 for old, slope in zip(squares, slopes, strict=True)]
                slopes = [slope / (np.sqrt(square) + 1e-8) for slope, square in zip(slopes, squares, strict=True)]
            layers = [layer - rate * slope for layer, slope in zip(layers, slopes, strict=True)]
        return grams(layers)

    wide, factor = trained(start), grams(start)
    now = Grams(*map(jnp.asarray, (factor[inputs:, :inputs], factor[:inputs, :inputs], factor[inputs:, inputs:])))
    for _ in range(0 if problem["adaptive"] else steps):
        half, (answer, inner, outer) = pulled * pull(np.asarray(now.product)), map(np.asarray, now)
        curves = half @ answer.T @ half, half.T @ outer @ half, half @ inner @ half.T
        stepped = _gram_step(now, half, rate, decay)
        now = Grams(*(part - (1 - curved) * 4 * rate**2 * curve for part, curve in zip(stepped, curves, strict=True)))
    closed = np.block([[now.inner, now.product.T], [now.product, now.outer]])
    # Rounding: 1e-16 at each of at most 50 steps, hardly magnified. With Adam there is no recursion to compare with.
    rotated = equals(trained([turn @ start[0], start[1] @ turn.T]), wide, 1e-11)
    if problem["adaptive"]:  # there is no recursion to compare with
        return rotated
    narrow = narrowed(start[0], start[1])
    back = np.concatenate([narrow.basis @ narrow.first, narrow.basis @ narrow.second.T], axis=1)
    narrower = equals(back, np.concatenate([start[0], start[1].T], axis=1), 1e-12)
    same = equals([closed, trained([narrow.first, narrow.second])], [wide, wide], 1e-11)
    # Rounding: 1e-16 at each of at most 50 steps, hardly magnified.
    return every(rotated, narrower, same)


def _descents(adaptive: bool = False) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries(
        {
            "sides": st.sampled_from(((2, 3), (8, 5), (1, 8))),
            "hidden": st.sampled_from((2, 4, 30)),
            "scale": decades(0.1, 1.5),
            "rate": _STEP,
            "decay": numbers(0, 1),
            "penalty": numbers(0, 2),
            "steps": st.integers(1, 50),
            "seed": seeds(),
            "adaptive": st.just(adaptive),
        }
    )


CLAIMS = (
    Claim(
        id="width-free-descent",
        statement=(
            "P, W_1^T W_1 and W_2 W_2^T after steps of descent follow from those before alone, at any width, with "
            "input covariance, weight decay and product-space penalty: `gram_step`"
        ),
        source="re-derived",
        equation="1.9",
        domain=_descents(),
        check=check_width_free,
        variants=(
            Variant(name="without-the-squared-rate", changes={"curved": 0.0}),
            Variant(name="gradient-instead-of-half-of-it", changes={"pulled": 2.0}),
        ),
        beyond=Outside(
            assumption="the update commutes with rotations of the hidden layer; that of Adam does not",
            domain=_descents(adaptive=True),
            example={
                "sides": (2, 3),
                "hidden": 2,
                "scale": 1.0,
                "rate": 0.01,
                "decay": 0.0,
                "penalty": 0.0,
                "steps": 1,
                "seed": 0,
                "adaptive": True,
            },
        ),
    ),
)
