"""Optimisers that commute with a change of basis, against NumPy's decompositions; on matrices and in modes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import linsim as ls
from linsim.dynamics.choosing import choose
from linsim.dynamics.moving.matrix_roots import inverse_root, polar_factor
from linsim.dynamics.moving.spectral import Muon, NaturalGradient, Shampoo, Spectral
from linsim.errors import InvalidInput
from tests.dynamics.battery import Case, distance_to_dense
from tests.dynamics.by_hand import slopes
from tests.problems import aligned_problem, gaussian_problem

RATE, STEPS = 0.01, 12


def svd_polar(matrix):
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    return left @ right


def power(matrix, exponent):
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * values**exponent) @ vectors.T


def by_muon(weights, gradients, memory):
    return [svd_polar(gradient) for gradient in gradients], memory


def by_shampoo(weights, gradients, memory):
    memory = memory or [[1e-4 * np.eye(n) for n in gradient.shape] for gradient in gradients]
    memory = [[left + g @ g.T, right + g.T @ g] for (left, right), g in zip(memory, gradients, strict=True)]
    changes = [power(left, -0.25) @ g @ power(right, -0.25) for (left, right), g in zip(memory, gradients, strict=True)]
    return changes, memory


def by_natural_gradient(weights, gradients, memory):
    first, second = weights
    inner = np.linalg.inv(second.T @ second + 0.01 * np.eye(second.shape[1]))
    outer = np.linalg.inv(first @ first.T + 0.01 * np.eye(first.shape[0]))
    return [inner @ gradients[0] / 2, gradients[1] @ outer / 2], memory


BY_HAND = {Muon(): by_muon, Shampoo(): by_shampoo, NaturalGradient(): by_natural_gradient}
EACH = pytest.mark.parametrize("optimizer", BY_HAND, ids=lambda each: type(each).__name__)


@EACH
def test_steps_are_those_of_decompositions_in_numpy(optimizer):
    problem = gaussian_problem(2, dim=4, seeds=1, scale=1.0)
    task = problem.transfer.pretrain
    ours = theirs = [np.asarray(weight[0]) for weight in problem.initial]
    transformation = optimizer(RATE)
    update, state, memory = jax.jit(transformation.update), transformation.init(tuple(ours)), None
    for _ in range(STEPS):
        changes, state = update(tuple(map(jnp.asarray, slopes(ours, task))), state, tuple(map(jnp.asarray, ours)))
        ours = [weight + np.asarray(change) for weight, change in zip(ours, changes, strict=True)]
        changes, memory = BY_HAND[optimizer](theirs, slopes(theirs, task), memory)
        theirs = [weight - RATE * change for weight, change in zip(theirs, changes, strict=True)]
    for one, other in zip(ours, theirs, strict=True):
        # Accumulators differ by up to 1e7 from direction to direction, of which iterations lose as many digits.
        np.testing.assert_allclose(one, other, atol=1e-8)


@pytest.mark.sampled(2)
@EACH
def test_modes_are_stepped_as_matrices_are(optimizer):
    phase = ls.Phase(RATE, optimizer=optimizer)
    square = {"inputs": 5, "hidden": 5, "outputs": 5} if optimizer.by_lengths else {}
    case = Case(aligned_problem(2, pretrain=phase, finetune=phase, **square))
    assert choose(case.problem).solver.name == "modes"
    # Rounding of the iterations, 1e-16 times the ratio of a gradient's singular values, over some 100 steps.
    assert distance_to_dense(case, "modes") < 1e-8


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 3), (1, 4)])
def test_a_polar_factor_is_that_of_the_singular_vectors(shape):
    matrix = np.random.default_rng(0).standard_normal(shape)
    np.testing.assert_allclose(polar_factor(jnp.asarray(matrix)), svd_polar(matrix), atol=1e-12)
    assert not np.any(polar_factor(jnp.zeros(shape)))


def test_small_directions_of_a_polar_factor_are_not_lost_and_those_of_rounding_are():
    for small, length in ((1e-8, 1.0), (1e-14, 0.0)):
        found = np.asarray(polar_factor(jnp.diag(jnp.asarray([1.0, small]))))
        np.testing.assert_allclose(found[1, 1], length, atol=1e-4)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_an_inverse_root_is_that_of_the_eigenvalues(order):
    basis = ls.random_basis(5, np.random.default_rng(1))
    values = np.geomspace(1e-7, 2.0, 5)
    stated = (basis * values ** (-1 / order)) @ basis.T
    found = np.asarray(inverse_root(jnp.asarray((basis * values) @ basis.T), order))
    # Rounding of the matrix, 1e-16, is 1e-9 of its smallest eigenvalue.
    np.testing.assert_allclose(found, stated, atol=1e-8 * np.abs(stated).max())


def test_what_moves_rounding_by_a_length_is_left_to_matrices_where_layers_are_not_square():
    problem = aligned_problem(2, finetune=ls.Phase(RATE, optimizer=Muon()))
    with pytest.raises(InvalidInput, match="solver: got modes; .* outside the modes of layers that are not square"):
        choose(problem, "modes")


def test_an_optimiser_that_is_not_known_to_commute_is_left_to_matrices():
    problem = aligned_problem(2, finetune=ls.Phase(RATE, optimizer=optax.adam))
    assert choose(problem).solver.name == "dense"
    assert not isinstance(optax.adam, Spectral)


@pytest.mark.parametrize(
    ("make", "field"),
    [(lambda: Shampoo(0.0), "initial"), (lambda: Shampoo("a"), "initial"), (lambda: NaturalGradient(-1.0), "damping")],
)
def test_numbers_outside_their_domain_are_refused(unchecked, make, field):
    with pytest.raises(InvalidInput, match=f"^{field}: got .*; allowed: a finite number"):
        make()


def test_the_natural_gradient_is_of_two_layers():
    problem = gaussian_problem(3, pretrain=ls.Phase(RATE, optimizer=NaturalGradient()))
    with pytest.raises(InvalidInput, match="optimizer: got 3 layers; allowed: two layers"):
        ls.sweep(problem, {"learning_rate": [RATE]})
