"""The measures that come with linsim, against NumPy on the weights that a sweep ended with."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import linsim.testing as strategies
from linsim.errors import InvalidInput
from linsim.measure import Measure
from linsim.measures.built_in import BUILT_IN, bound_ratio, built_in
from linsim.measures.front import Front
from linsim.phase import Phase
from linsim.spectra import power_covariance
from linsim.sweeping.sweep import sweep
from linsim.tasks import LinearTask, Transfer, random_basis
from tests.problems import gaussian_problem

# A pre-training and a fine-tuning task with one covariance that no basis of theirs diagonalises.
PROBLEM = gaussian_problem(dim=4, budgets=np.asarray([30, 300]), finetune_steps=40, finetune=Phase(0.005), scale=0.3)
RATES = {"learning_rate": [2e-3, 1e-2]}
LAYERS = [
    Measure(
        f"{name}_{layer}",
        dims=(f"rows_{layer}", f"columns_{layer}"),
        of=lambda seen, name=name, layer=layer: (seen.checkpoint if name == "start" else seen).weights[layer],
    )
    for name in ("start", "end")
    for layer in (0, 1)
]


@pytest.fixture(scope="module")
def swept():
    """Every measure at the end of fine-tuning, beside the weights there and at the checkpoint."""
    measures = [built_in(f"{name}@tuned", PROBLEM.transfer) for name in BUILT_IN]
    return sweep(PROBLEM, RATES, measures=[*measures, *LAYERS], solver="dense", rechecked=0)


@pytest.fixture(scope="module")
def lane(swept):
    """One of them: its weights, those of its checkpoint, A, S, and the Hessian at both."""
    one = swept.isel(pretrain_steps=1, learning_rate=1, seed=1)
    task = PROBLEM.transfer.pretrain
    end, start = ([one[f"{name}_{layer}"].values for layer in (0, 1)] for name in ("end", "start"))
    return one, end, start, task.target, task.input_covariance


def loss(weights, target, covariance):
    residual = weights[1] @ weights[0] - target
    return np.trace(residual @ covariance @ residual.T)


def numbers_of(weights):
    return np.concatenate([weight.ravel() for weight in weights])


def hessian(weights, target, covariance):
    """By central differences of the gradient written out; of a polynomial of degree 4 they are exact to rounding."""

    def gradient(flat):
        first, second = (part.reshape(4, 4) for part in np.split(flat, 2))
        error = 2 * (second @ first - target) @ covariance
        return numbers_of([second.T @ error, error @ first.T])

    at, step = numbers_of(weights), 1e-3
    columns = []
    for direction in np.eye(at.size):
        near, far = ((gradient(at + h * direction) - gradient(at - h * direction)) / (2 * h) for h in (step, 2 * step))
        columns.append((4 * near - far) / 3)
    return np.stack(columns)


def test_traces_and_the_top_eigenvalue_are_those_of_the_hessian(lane):
    one, end, _, target, covariance = lane
    full = hessian(end, target, covariance)
    np.testing.assert_allclose(one["hessian_trace"], np.trace(full), rtol=1e-9)
    np.testing.assert_allclose(one["gauss_newton_trace"], np.trace(full), rtol=1e-9)
    np.testing.assert_allclose(one["fisher_trace"], np.trace(full) / 2, rtol=1e-9)
    np.testing.assert_allclose(one["top_eigenvalue"], np.linalg.eigvalsh(full)[-1], rtol=1e-9)


def test_the_curvature_along_the_displacement_is_that_at_the_checkpoint(lane):
    one, end, start, target, covariance = lane
    moved = numbers_of(end) - numbers_of(start)
    expected = moved @ hessian(start, target, covariance) @ moved / (moved @ moved)
    np.testing.assert_allclose(one["curvature_along_displacement"], expected, rtol=1e-8)


def test_distances_and_imbalance_are_norms(lane):
    one, end, start, *_ = lane
    np.testing.assert_allclose(one["weight_distance"], np.linalg.norm(numbers_of(end) - numbers_of(start)), rtol=1e-12)
    apart = end[1] @ end[0] - start[1] @ start[0]
    np.testing.assert_allclose(one["product_distance"], np.linalg.norm(apart), rtol=1e-12)
    np.testing.assert_allclose(one["product"], end[1] @ end[0], rtol=1e-12)
    off = end[1].T @ end[1] - end[0] @ end[0].T
    np.testing.assert_allclose(one["imbalance"], np.linalg.norm(off), rtol=1e-12)


def test_the_squared_gradient_and_the_learned_shares_follow_their_definitions(lane):
    one, end, _, target, covariance = lane
    error = 2 * (end[1] @ end[0] - target) @ covariance
    square = np.sum((end[1].T @ error) ** 2) + np.sum((error @ end[0].T) ** 2)
    np.testing.assert_allclose(one["gradient_square"], square, rtol=1e-11)
    task = PROBLEM.transfer.pretrain
    shares = np.diag(task.left.T @ end[1] @ end[0] @ task.right) / task.strengths
    np.testing.assert_allclose(one["learned_share"], shares, rtol=1e-11)
    np.testing.assert_allclose(one["learned"], shares * task.strengths, rtol=1e-11)


@pytest.mark.parametrize("kind", ["absolute", "relative"])
def test_the_rise_under_noise_is_the_mean_over_drawn_noise(lane, kind):
    one, end, _, target, covariance = lane
    rng, draws = np.random.default_rng(0), 40_000
    gamma = float(one[f"{kind}_noise"][-1])
    scales = [gamma * (np.sqrt(np.mean(weight**2)) if kind == "relative" else 1.0) for weight in end]
    first, second = (w + s * rng.standard_normal((draws, 4, 4)) for w, s in zip(end, scales, strict=True))
    residual = second @ first - target
    rises = np.einsum("nij,jk,nik->n", residual, covariance, residual) - loss(end, target, covariance)
    error = np.std(rises) / np.sqrt(draws)
    assert abs(float(one[f"rise_under_{kind}_noise"][-1]) - rises.mean()) < 4 * error  # once in 16,000 seeds


def test_the_rise_under_rounding_is_that_of_rounded_weights(lane):
    one, end, _, target, covariance = lane
    for number, bits in enumerate(one["bits"].values):
        steps = [np.max(np.abs(weight)) / (2 ** (bits - 1) - 1) for weight in end]
        rounded = [step * np.round(weight / step) for weight, step in zip(end, steps, strict=True)]
        expected = loss(rounded, target, covariance) - loss(end, target, covariance)
        np.testing.assert_allclose(one["rise_under_rounding"][number], expected, rtol=1e-10, atol=1e-13)


def test_the_bound_ratio_with_one_covariance_is_the_triangle_inequality():
    task = LinearTask.create(np.asarray([2.0, 1.0, 0.5]), input_covariance=np.diag([1.0, 0.4, 0.1]))
    other = replace(task, strengths=np.asarray([1.0, 3.0, 0.0]))
    apart = np.sqrt(np.trace((other.target - task.target) @ task.input_covariance @ (other.target - task.target).T))
    front = Front.of(Transfer(task, other))
    with jax.enable_x64(True):
        for first, second in ((1.3, 0.2), (0.0, 5.0), (1e-8, 4.0), (3.0, 0.0)):
            told = float(front.ratio(jnp.asarray(first), jnp.asarray(second)))
            np.testing.assert_allclose(told, (np.sqrt(first) + np.sqrt(second)) / apart, rtol=1e-6)


@given(strategies.transfers(), st.integers(0, 10**6), st.floats(-3, 3))
def test_no_map_is_below_the_front_and_its_own_maps_are_on_it(transfer, seed, log_weight):
    # With two covariances, of which neither commutes with the other.
    rng, inputs = np.random.default_rng(seed), transfer.pretrain.inputs
    pretrain, finetune = (
        replace(task, input_covariance=power_covariance(random_basis(inputs, rng), rng.uniform(0.1, 1.5)))
        for task in (transfer.pretrain, transfer.finetune)
    )
    pair, apart = Transfer(pretrain, finetune), finetune.target - pretrain.target
    assume(np.linalg.norm(apart) > 1e-3)
    front, weight = Front.of(pair), np.exp(log_weight)

    def losses(product):
        return [
            np.trace((product - task.target) @ task.input_covariance @ (product - task.target).T)
            for task in (pretrain, finetune)
        ]

    def ratio(product):
        return float(front.ratio(*map(jnp.asarray, losses(product))))

    first, second = pretrain.input_covariance, weight * finetune.input_covariance
    best = np.linalg.solve(first + second, (pretrain.target @ first + finetune.target @ second).T).T
    lowest = losses(best)[0] + weight * losses(best)[1]
    np.testing.assert_allclose(float(front.least(weight)), lowest, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(ratio(best), 1.0, rtol=1e-6)
    somewhere = pretrain.target + rng.uniform() * apart + 0.3 * rng.standard_normal(apart.shape)
    assert ratio(somewhere) >= 1 - 1e-9


def test_a_task_is_no_transfer(unchecked):
    with pytest.raises(InvalidInput, match=r"^transfer: got LinearTask\(.*; allowed: a linsim.Transfer"):
        bound_ratio(PROBLEM.transfer.pretrain)


def test_tasks_that_one_network_solves_have_no_front():
    task = LinearTask.create(np.ones(3))
    with pytest.raises(InvalidInput, match="bound_ratio: .*tasks of which neither map has loss 0 on both"):
        Front.of(Transfer(task, task))


def test_every_measure_is_there_by_name_and_place(swept):
    assert {*BUILT_IN} <= {*swept.data_vars}
    noise = built_in("rise_under_absolute_noise=0.1,0.2@along", PROBLEM.transfer)
    assert noise.at == "along" and noise.coords["absolute_noise"].tolist() == [0.1, 0.2]
    noise = built_in("rise_under_absolute_noise=0.1@tuned=after", PROBLEM.transfer)
    assert (noise.name, noise.at, noise.dims) == ("after", "tuned", ("absolute_noise",))
    assert built_in("rise_under_rounding=3", PROBLEM.transfer).coords["bits"].tolist() == [3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "hessian",
            "measure: got hessian; allowed: NAME, NAME=V1,V2,... or NAME@PLACE, NAME@PLACE=CALLED, or MODULE:NAME",
        ),
        ("hessian_trace@end", "measure: got hessian_trace@end; allowed: NAME, NAME=V1,V2,... or NAME@PLACE"),
        ("hessian_trace@tuned=", "measure: got hessian_trace@tuned=; allowed: NAME, NAME=V1,V2"),
        ("hessian_trace@tuned=a b", "measure: got hessian_trace@tuned=a b; allowed: NAME, NAME=V1,V2"),
        (None, "measure: got None; allowed: NAME"),
        ("hessian_trace=1", "measure: got hessian_trace=1; allowed: no values for hessian_trace"),
        ("rise_under_rounding=x", "measure: got rise_under_rounding=x; allowed: NAME"),
        ("rise_under_rounding=1", "bits: got 1; allowed: an integer >= 2 and <= 32"),
        ("rise_under_rounding=4.5", "bits: got 4.5; allowed: an integer >= 2 and <= 32"),
        ("rise_under_rounding=inf", "bits: got inf; allowed: a list of finite numbers"),
        ("rise_under_rounding=4,4", "bits: got [4, 4]; allowed: a list of numbers, each once"),
        ("rise_under_relative_noise=-1", "relative_noise: got -1.0; allowed: a finite number > 0"),
    ],
)
def test_what_names_no_measure_is_told_in_one_line(unchecked, text, message):
    with pytest.raises(InvalidInput) as told:
        built_in(text, PROBLEM.transfer)
    assert str(told.value).startswith(message)
