"""Tasks: their matrices, their covariances, and tasks from data."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linsim import spectra
from linsim.errors import InvalidInput
from linsim.spectra import power_covariance
from linsim.tasks import LinearTask, Transfer, random_basis

rng = np.random.default_rng(0)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 6), st.integers(0, 2**32 - 1))
def test_target_has_the_given_singular_values_for_any_shape_and_rank(outputs, inputs, rank, seed):
    rank = min(rank, outputs, inputs)
    draw = np.random.default_rng(seed)
    strengths = np.sort(draw.uniform(0.1, 2, rank))[::-1]
    task = LinearTask.create(
        strengths, outputs=outputs, inputs=inputs, left=random_basis(outputs, draw), right=random_basis(inputs, draw)
    )
    found = np.linalg.svd(task.target, compute_uv=False)
    expected = np.concatenate([strengths, np.zeros(min(outputs, inputs) - rank)])
    np.testing.assert_allclose(found, expected, atol=1e-14)  # a few roundings of numbers of order 1


def test_a_task_from_its_matrix_is_the_same_task():
    target = rng.standard_normal((3, 5))
    np.testing.assert_allclose(LinearTask.from_target(target).target, target, atol=1e-14)


def test_modes_of_a_product_are_read_in_the_bases_of_the_task():
    rng = np.random.default_rng(4)
    left, right = random_basis(4, rng), random_basis(3, rng)
    task = LinearTask.create(np.array([3.0, 1.0]), outputs=4, inputs=3, left=left, right=right)
    np.testing.assert_allclose(task.along_modes(task.target), [3, 1, 0], atol=1e-14)  # rounding
    other = rng.normal(size=(4, 3))
    expected = [left[:, mode] @ other @ right[:, mode] for mode in range(3)]
    np.testing.assert_allclose(task.along_modes(other), expected, rtol=1e-13)


def test_zero_loss_is_the_loss_of_the_zero_map():
    task = LinearTask.create(np.asarray([2.0, 1.0]), input_covariance=np.diag([1.0, 3.0]))
    assert task.zero_loss == pytest.approx(4.0 + 3.0)


def test_task_from_data_gives_the_mean_squared_error_of_every_map():
    X, Y = rng.standard_normal((50, 4)), rng.standard_normal((50, 3))
    task, P = LinearTask.from_data(X, Y), rng.standard_normal((3, 4))
    direct = np.mean(np.sum((X @ P.T - Y) ** 2, axis=1))
    residual = P - task.target
    formula = np.trace(residual @ task.input_covariance @ residual.T) + 3 * task.label_noise**2
    assert formula == pytest.approx(direct, rel=1e-13)


def test_the_task_that_examples_pose_is_the_true_one_up_to_their_noise():
    task = LinearTask.create(np.array([2.0, 1.0, 0.5]))
    exact = task.posed(5, 0.0, np.random.default_rng(0))
    np.testing.assert_allclose(exact.target, task.target, atol=1e-13)  # least squares on five examples
    assert not exact.whitened and task.posed(5, 0.0, np.random.default_rng(0), "orthogonal").whitened
    for inputs, factor in (("normal", 1 / (20 - 3 - 1)), ("orthogonal", 1 / 20)):
        drawn = [task.posed(20, 0.4, np.random.default_rng(seed), inputs).target - task.target for seed in range(300)]
        # E (X'X)^-1 = I / (n - d - 1); the mean of 2,700 squares of nearly normal entries is known to about 3 %.
        assert np.mean(np.square(drawn)) == pytest.approx(0.4**2 * factor, rel=0.12)


def test_task_from_data_takes_the_smallest_map_when_inputs_are_degenerate():
    X = np.concatenate([rng.standard_normal((30, 2)), np.zeros((30, 1))], axis=1)
    task = LinearTask.from_data(X, X[:, :2])
    np.testing.assert_allclose(task.target, [[1, 0, 0], [0, 1, 0]], atol=1e-14)
    assert task.label_noise < 1e-14


def test_power_covariance_in_the_tasks_basis_commutes_with_it():
    basis = random_basis(5, rng)
    covariance = power_covariance(basis, 1.0)
    np.testing.assert_allclose(basis.T @ covariance @ basis, np.diag(1 / np.arange(1, 6)), atol=1e-15)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LinearTask.create(np.ones(3), outputs=2, inputs=5), "strengths: got 3 values; allowed: at most"),
        (lambda: LinearTask.create(np.ones(2), left=np.ones((2, 2))), "left: got columns off orthonormal"),
        (lambda: LinearTask.create(np.asarray([1.0, np.nan])), "strengths: got nan; allowed: a list of finite numbers"),
        (lambda: LinearTask.create(np.ones(2), input_covariance=-np.eye(2)), "input_covariance: got eigenvalue -1"),
        (lambda: LinearTask.create(np.ones(2), input_covariance=np.eye(3)), r"input_covariance: got shape \(3, 3\)"),
        (lambda: LinearTask.create(np.ones(2), label_noise=-0.1), "label_noise: got -0.1"),
        (lambda: LinearTask.from_target(np.zeros((0, 3))), "target: got"),
        (lambda: LinearTask.create(np.ones(2)).posed(0, 1.0, rng), "size: got 0"),
        (lambda: LinearTask.create(np.ones(2)).posed(3, -1.0, rng), "noise: got -1.0"),
        (lambda: LinearTask.from_data(np.ones(3), np.ones((3, 1))), "allowed: a matrix of finite numbers"),
        (lambda: LinearTask.from_data(np.ones((3, 2)), np.ones((4, 1))), "Y: got 4 rows; allowed: as many"),
        (lambda: LinearTask.from_data(np.full((3, 2), np.nan), np.ones((3, 1))), "X: got nan; allowed: a matrix"),
        (lambda: LinearTask.from_data(np.ones((3, 2)) * 1j, np.ones((3, 1))), "X: got complex128 "),
        (
            lambda: Transfer(LinearTask.create(np.ones(2)), LinearTask.create(np.ones(3))),
            r"finetune: got a \(3, 3\) target; allowed: the shape \(2, 2\)",
        ),
    ],
)
def test_bad_tasks_are_refused_in_one_line(make, message):
    with pytest.raises(InvalidInput, match=message) as error:
        make()
    assert "\n" not in str(error.value)


def test_spectra_follow_their_formulas():
    np.testing.assert_allclose(spectra.power_law(3, 2.0, 1.0), [2, 1, 2 / 3])
    np.testing.assert_allclose(spectra.exponential(3, 2.0, np.log(2)), [2, 1, 0.5])
    np.testing.assert_array_equal(spectra.flat_blocks([2, 1], [3.0, 1.0]), [3, 3, 1])
    np.testing.assert_array_equal(spectra.explicit([3, -1]), [3.0, -1.0])


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: spectra.power_law(0), "modes"),
        (lambda: spectra.power_law(3, float("nan")), "scale"),
        (lambda: spectra.exponential(3, 1.0, -1.0), "rate"),
        (lambda: spectra.flat_blocks([1], [1.0, 2.0]), "sizes"),
        (lambda: spectra.flat_blocks([0], [1.0]), "sizes"),
        (lambda: spectra.explicit([]), "values"),
        (lambda: spectra.explicit([float("inf")]), "values"),
    ],
)
def test_bad_spectra_are_refused(make, field):
    with pytest.raises(InvalidInput, match=f"^{field}: got"):
        make()
