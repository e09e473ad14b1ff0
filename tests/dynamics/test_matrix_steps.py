"""Products written out: the gradient of the same objective, and the same steps."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from linsim import losses, network
from linsim.dynamics import descent
from linsim.dynamics.matrices import matrix_steps
from linsim.dynamics.matrices.dense import Dense
from linsim.phase import Phase
from tests.problems import gaussian_problem

WIDTHS = (4, 3, 6, 2, 5)
EVERYTHING = Phase(0.01, product_penalty=0.3, weight_penalty=0.2, weight_decay=0.1)


@pytest.mark.sampled(5)
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("coloured", [False, True])
@pytest.mark.parametrize("phase", [Phase(0.01), EVERYTHING], ids=["loss alone", "all penalties"])
def test_the_products_are_the_derivative_of_the_objective(depth, coloured, phase):
    weights, anchor = (
        tuple(network.gaussian((*WIDTHS[:depth], WIDTHS[-1]), scale, jax.random.key(depth))) for scale in (1.0, 0.7)
    )
    rng = np.random.default_rng(0)
    target = jnp.asarray(rng.normal(size=(WIDTHS[-1], WIDTHS[0])))
    spread = rng.normal(size=(WIDTHS[0], WIDTHS[0]))
    covariance = jnp.asarray(spread @ spread.T) if coloured else None

    def objective(at):
        value = losses.population_loss(at, target, covariance)
        if phase is EVERYTHING:
            product, checkpoint = losses.end_to_end(at), losses.end_to_end(anchor)
            value += losses.product_penalty(product, checkpoint, jnp.asarray(phase.product_penalty))
            value += losses.weight_penalty(at, anchor, jnp.asarray(phase.weight_penalty))
            value += losses.weight_decay(at, jnp.asarray(phase.weight_decay))
        return value

    found = matrix_steps.gradient(weights, anchor, target, covariance, phase)
    for ours, theirs in zip(found, jax.grad(objective)(weights), strict=True):
        # Some tens of roundings of 1e-16, of sums with terms up to about ten times the largest entry.
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12 * float(jnp.max(jnp.abs(theirs))))


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "phase",
    [replace(EVERYTHING, momentum=0.8), Phase(1e-3, weight_penalty=0.3, optimizer=optax.adam)],
    ids=["momentum", "Adam"],
)
@pytest.mark.parametrize("steps", [0, 1, 20])
def test_steps_in_pairs_are_the_steps_of_the_differentiated_objective(phase, steps):
    problem = gaussian_problem(3, dim=4, seeds=1)
    dense = Dense()
    encoded = dense.encode(problem, np.float64)
    phase = phase.as_dtype(np.float64)
    carry = dense.begin(tuple(layer[0] for layer in encoded.initial), phase)
    given = carry, encoded.finetune, phase, jnp.asarray(steps), jax.random.key(0)
    ours, theirs = jax.jit(dense.advance)(*given), jax.jit(partial(descent.advance, dense))(*given)
    assert int(ours.step) == steps
    for ours_leaf, theirs_leaf in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        # 21 steps of some roundings each; Adam divides by the root of a mean of squares, which doubles relative errors.
        np.testing.assert_allclose(ours_leaf, theirs_leaf, rtol=1e-10, atol=1e-14)
