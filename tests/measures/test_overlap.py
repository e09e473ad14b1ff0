"""How much codes of features overlap, against cosines in NumPy, and what a sweep tells of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linsim as ls
from linsim.errors import InvalidInput
from linsim.measures.features.overlap import (
    balanced_gram,
    dimensionality,
    feature_gram,
    least_overlap,
    overlap,
)
from tests.problems import gaussian_problem

PROBLEM = gaussian_problem(dim=4, budgets=np.asarray([30, 300]), finetune_steps=40, finetune=ls.Phase(0.005), scale=0.3)
RNG = np.random.default_rng(3)
FEATURES = RNG.standard_normal((4, 6))
FIRST = ls.Measure("first", at="checkpoint", dims=("row", "column"), of=lambda seen: seen.weights[0])


def by_cosines(first, features):
    """D_i and O from unit codes, feature by feature."""
    codes = [first @ feature / np.linalg.norm(feature) for feature in features.T]
    dims, own, whole = [], 0.0, 0.0
    for code in codes:
        length = np.linalg.norm(code)
        shared = sum((code / length @ other) ** 2 for other in codes)
        dims.append(length**2 / shared)
        own, whole = own + length**4, whole + length**2 * shared
    return np.array(dims), 1 - own / whole


def test_a_sweep_tells_what_cosines_of_codes_say():
    measures = [FIRST, ls.feature_overlap(), ls.feature_dimensionality(FEATURES)]
    found = ls.sweep(PROBLEM, {"learning_rate": [1e-3]}, measures, solver="dense", rechecked=0)
    for seed in range(2):
        at = found.isel(pretrain_steps=1, seed=seed)
        np.testing.assert_allclose(at["feature_overlap"], by_cosines(at["first"].values, np.eye(4))[1], rtol=1e-10)
        dims = by_cosines(at["first"].values, FEATURES)[0]
        np.testing.assert_allclose(at["feature_dimensionality"], dims, rtol=1e-10)
    assert found["feature_overlap"].attrs["units"] == "1"


@pytest.mark.thorough("rotations of the hidden layer, below")
def test_solvers_that_know_weights_up_to_a_rotation_tell_the_same():
    problem = gaussian_problem(dim=3, budgets=np.asarray([400]), finetune_steps=5, scale=0.3)
    measures = [ls.feature_overlap(), ls.feature_dimensionality()]
    one, other = (
        ls.sweep(problem, {"learning_rate": [1e-3]}, measures, solver=solver, rechecked=0)
        for solver in ("dense", "gram")
    )
    np.testing.assert_allclose(one["feature_overlap"], other["feature_overlap"], atol=1e-9)


def test_rotations_of_the_hidden_layer_and_scales_change_nothing():
    first, turn = RNG.standard_normal((5, 4)), np.linalg.qr(RNG.standard_normal((5, 5)))[0]
    with jax.enable_x64(True):
        told = [
            feature_gram((jnp.asarray(scale * basis @ first), jnp.ones((2, 5))), FEATURES)
            for basis, scale in ((np.eye(5), 1.0), (turn, 1e-60), (turn, 1e60))
        ]
        for each in told[1:]:
            np.testing.assert_allclose(dimensionality(each), dimensionality(told[0]), rtol=1e-12)
            np.testing.assert_allclose(overlap(each), overlap(told[0]), rtol=1e-12)


def test_what_has_no_code_has_no_dimension_and_no_overlap():
    gram = np.diag([0.0, 1.0, 4.0])
    np.testing.assert_array_equal(dimensionality(gram), [0, 1, 1])
    assert float(overlap(gram)) == 0
    np.testing.assert_array_equal(dimensionality(np.zeros((3, 3))), np.zeros(3))
    assert float(overlap(np.zeros((3, 3)))) == 0


@pytest.mark.parametrize("width", [1, 2, 3])
def test_rows_of_a_basis_attain_the_bound(width):
    # The Fourier frame: columns of one length, and rows orthonormal.
    angles = np.outer(np.arange(1, 3), np.arange(6)) * np.pi / 3
    rows = np.concatenate([np.ones((1, 6)) / np.sqrt(2), np.cos(angles)[:1], np.sin(angles)[:1]]) / np.sqrt(3)
    rows = rows[1:] if width == 2 else rows[:width]
    gram = rows.T @ rows
    assert abs(float(overlap(gram)) - least_overlap(6, width)) < 1e-6
    assert abs(float(jnp.sum(dimensionality(gram))) - width) < 1e-5


def test_balanced_layers_have_the_gram_of_their_product():
    left, right = (np.linalg.qr(RNG.standard_normal((4, 4)))[0] for _ in "ab")
    strengths = np.array([2.0, 1.0, 0.5, 0.0])
    for depth in (2, 3):
        first = strengths[:, None] ** (1 / depth) * right.T
        np.testing.assert_allclose(balanced_gram((left * strengths) @ right.T, depth), first.T @ first, atol=1e-7)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: feature_gram((jnp.eye(2),)), "weights: got one layer"),
        (lambda: feature_gram((jnp.eye(2), jnp.eye(2)), np.ones((3, 1))), "features: got columns of 3"),
        (lambda: ls.feature_overlap(np.zeros((2, 1))), "features: got a column of zeros; allowed: directions"),
        (lambda: ls.feature_dimensionality(np.ones(2)), "features: got"),
        (lambda: balanced_gram(np.eye(2), 1), "depth: got 1"),
        (lambda: least_overlap(0, 1), "features: got 0"),
        (lambda: least_overlap(1, 0), "width: got 0"),
    ],
)
def test_bad_input_is_refused_by_name(unchecked, call, told):
    with pytest.raises(InvalidInput) as error:
        call()
    assert str(error.value).startswith(told)
