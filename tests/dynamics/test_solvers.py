"""Every solver over a battery of problems: the same numbers, or a refusal that names the assumption."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from linsim import network
from linsim.dynamics.choosing import SOLVERS, choose
from linsim.dynamics.matrices.layer_flow import FlowLayer
from linsim.dynamics.training import Session
from linsim.errors import InvalidInput
from linsim.losses import end_to_end
from linsim.phase import REGULARIZERS, Phase
from linsim.problem import stack_seeds
from linsim.shifts import Rotate
from linsim.tasks import LinearTask, Transfer, random_basis
from tests.dynamics.battery import AGREEMENT, deviation, outcomes
from tests.problems import aligned_problem, balanced_problem, gaussian_problem

BY_NAME = {solver.name: solver for solver in SOLVERS if solver.stepping}
IDS = [f"{solver.name} ({type(solver).__name__})" for solver in SOLVERS]


def largest_deviation(problem, regularizer="product_penalty"):
    """Of every stepping solver that accepts the problem from `dense`, relative to the largest entry of each outcome."""
    others = [name for name, solver in BY_NAME.items() if name != "dense" and solver.refusal(problem) is None]
    assert "modes" in others
    reference = outcomes(problem, "dense", regularizer)
    return max(deviation(outcomes(problem, name, regularizer), reference) for name in others)


# The other pairs, and two layers with momentum or idealised, are in the battery.
@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("depth", "regularizer"),
    [
        *((1, "weight_decay"), (1, "weight_penalty"), (2, "product_penalty"), (3, "weight_penalty")),
        *((3, "weight_decay"), (4, "product_penalty"), (4, "weight_decay"), (4, "weight_penalty")),
    ],
)
def test_modes_equals_dense_with_each_regularizer(depth, regularizer):
    assert largest_deviation(aligned_problem(depth, coloured=True), regularizer) < AGREEMENT["modes"]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("depth", [3, 4])
def test_modes_equals_dense_with_momentum(depth, nesterov):
    phase = Phase(0.002, momentum=0.8, nesterov=nesterov)
    assert largest_deviation(aligned_problem(depth, pretrain=phase, finetune=phase)) < AGREEMENT["modes"]


def test_modes_equals_dense_with_a_schedule():
    phase = Phase(0.01, schedule=optax.cosine_decay_schedule(1.0, 2000))
    assert largest_deviation(aligned_problem(2, pretrain=phase, finetune=phase)) < AGREEMENT["modes"]


def test_modes_equals_dense_from_idealised_checkpoints():
    # In bases that float64 represents exactly, an unlearned mode is exactly 0 in both.
    assert largest_deviation(aligned_problem(3, random_bases=False, idealised=True)) < AGREEMENT["modes"]


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("inputs", "hidden", "outputs"), [(4, 3, 5), (5, 8, 3), (3, 8, 5), (3, 1, 3)])
def test_modes_equals_dense_for_any_widths(inputs, hidden, outputs):
    problem = aligned_problem(3, inputs=inputs, hidden=hidden, outputs=outputs)
    assert largest_deviation(problem) < AGREEMENT["modes"]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("regularizer", REGULARIZERS)
def test_weights_outside_the_modes_follow_decay_and_penalties(regularizer):
    problem = aligned_problem(2, inputs=6, hidden=8, outputs=3, random_bases=False)
    first, _second = problem.initial
    first[:, 5, 5] = 0.7  # an input direction that no output sees
    assert largest_deviation(problem, regularizer) < AGREEMENT["modes"]


@pytest.mark.parametrize("solver", SOLVERS, ids=IDS)
def test_training_in_two_pieces_is_training_in_one(solver):
    # With momentum to carry over, where there is any, and a penalty whose anchor is the beginning of the phase.
    phase = Phase(0.005, product_penalty=0.3, momentum=0.5 if solver.stepping else None)
    problem = balanced_problem(budgets=np.asarray([70, 200]), pretrain=phase)
    depth = 1 if isinstance(solver, FlowLayer) else 2
    problem = aligned_problem(depth, budgets=(70, 200), pretrain=phase) if solver.refusal(problem) else problem
    in_two, in_one = (
        Session.open(replace(problem, budgets=np.asarray(budgets)), solver, np.float64).pretrain()
        for budgets in ([70, 200], [200])
    )
    for two, one in zip(jax.tree.leaves(in_two.states), jax.tree.leaves(in_one.states), strict=True):
        # Flow times 0.35 + 0.65 and 1 may differ in the last bit.
        np.testing.assert_allclose(two[-1], one[-1], rtol=0 if solver.stepping else 1e-13)


@pytest.mark.sampled(5)
@pytest.mark.parametrize("solver", SOLVERS, ids=IDS)
@pytest.mark.parametrize("start", ["aligned", "balanced"])
def test_learned_share_of_the_modes_is_the_same_in_any_coordinates(solver, start):
    depth = 1 if isinstance(solver, FlowLayer) else 2
    problem = {"aligned": aligned_problem(depth, pretrain=Phase(0.01)), "balanced": balanced_problem()}[start]
    if solver.refusal(problem) is not None:
        assert start == "balanced"  # the modes solvers need aligned problems
        return
    session = Session.open(problem, solver, np.float64)
    states = session.pretrain().states
    learned = solver.learned(jax.tree.map(lambda leaf: leaf[-1, 0], states), session.encoded.pretrain)
    task, modes = problem.transfer.pretrain, len(problem.transfer.pretrain.strengths)
    weights = solver.weights(problem, jax.tree.map(lambda leaf: leaf[-1], states))
    expected = (
        np.diag(task.left.T @ np.asarray(end_to_end(tuple(weight[0] for weight in weights))) @ task.right)[:modes]
        / task.strengths
    )
    np.testing.assert_allclose(learned[:modes], expected, rtol=0, atol=1e-12)


def test_auto_takes_modes_on_an_aligned_problem_and_says_why():
    choice = choose(aligned_problem(3, coloured=True))
    assert choice.solver.name == "modes"
    assert "diagonal in one set of bases" in choice.reason


def test_auto_takes_dense_otherwise_and_says_which_assumption_fails():
    choice = choose(gaussian_problem())
    assert choice.solver.name == "dense"
    assert "not modes: the pre-training input covariance couples the modes" in choice.reason


def _rotated_target(problem):
    first = problem.transfer.pretrain
    return replace(problem, transfer=Transfer(first, Rotate(10.0)(first)))


REFUSED = {
    "minibatches in pre-training": lambda: aligned_problem(pretrain=Phase(0.01, batch_size=4)),
    "the optimizer of fine-tuning": lambda: aligned_problem(finetune=Phase(0.01, optimizer=optax.adam)),
    "the fine-tuning target is not diagonal": lambda: _rotated_target(aligned_problem()),
    "input covariance couples the modes": lambda: gaussian_problem(),
    "the initial weights send two modes to overlapping directions of hidden layer 1": lambda: replace(
        aligned_problem(inputs=6, outputs=6, hidden=6),
        initial=gaussian_problem().initial,
    ),
    "the initial W_2 is not diagonal": lambda: replace(
        aligned_problem(inputs=6, outputs=6, hidden=6),
        initial=(np.eye(6)[None], random_basis(6, np.random.default_rng(0))[None]),
    ),
}


@pytest.mark.parametrize("assumption", REFUSED)
def test_modes_outside_its_domain_is_an_error_that_names_the_assumption(assumption):
    with pytest.raises(InvalidInput, match=f"solver: got modes.*{assumption}"):
        choose(REFUSED[assumption](), "modes")


def test_repeated_strengths_do_not_hide_a_common_frame():
    # The SVD of a flat target may return any bases; only together with the second task are they determined.
    rng = np.random.default_rng(3)
    left, right = random_basis(4, rng), random_basis(4, rng)
    first, second = ((left * strengths) @ right.T for strengths in (np.full(4, 1.5), np.asarray([3.0, 2.0, 1.0, 0.5])))
    transfer = Transfer(LinearTask.from_target(first), LinearTask.from_target(second))
    aligned = LinearTask.create(np.ones(4), left=left, right=right)
    problem = replace(
        aligned_problem(inputs=4, outputs=4, hidden=4),
        transfer=transfer,
        initial=stack_seeds([network.aligned((4, 4, 4), aligned, np.full(4, 1e-2))]),
    )
    assert choose(problem).solver.name == "modes"
    assert largest_deviation(problem) < AGREEMENT["modes"]


def test_dense_follows_the_textbook_gradient_of_every_optax_optimizer():
    # Adam by its published update rule, in NumPy.
    rate, steps = 0.01, 30
    problem = gaussian_problem(pretrain=Phase(rate, optimizer=optax.adam), budgets=np.asarray([steps]), seeds=1)
    states = Session.open(problem, BY_NAME["dense"], np.float64).pretrain().states
    task, weights = problem.transfer.pretrain, [weight[0] for weight in problem.initial]
    first, second = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
    for step in range(1, steps + 1):
        error = 2 * (weights[1] @ weights[0] - task.target) @ task.input_covariance
        gradient = [weights[1].T @ error, error @ weights[0].T]
        first = [0.9 * m + 0.1 * g for m, g in zip(first, gradient, strict=True)]
        second = [0.999 * v + 0.001 * g**2 for v, g in zip(second, gradient, strict=True)]
        scaled = [
            m / (1 - 0.9**step) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8) for m, v in zip(first, second, strict=True)
        ]
        weights = [w - rate * s for w, s in zip(weights, scaled, strict=True)]
    for ours, theirs in zip(states, weights, strict=True):
        np.testing.assert_allclose(ours[0, 0], theirs, rtol=1e-10)


def test_minibatch_gradients_average_to_the_population_gradient():
    problem = gaussian_problem(pretrain=Phase(0.01, batch_size=16), seeds=1)
    dense, target = BY_NAME["dense"], Session.open(problem, BY_NAME["dense"], np.float64).encoded.pretrain
    state = tuple(jnp.asarray(weight[0]) for weight in problem.initial)
    keys = jax.random.split(jax.random.key(0), 4000)
    sampled = jax.vmap(lambda key: jax.grad(dense.training_loss)(state, target, problem.pretrain, key))(keys)
    exact = jax.grad(dense.loss)(state, target)
    for draws, mean in zip(sampled, exact, strict=True):
        error = np.std(draws, axis=0) / np.sqrt(len(keys))
        # 72 entries, each a mean of 4,000 draws: 5 standard errors are exceeded by chance once in 2e4 runs.
        assert np.all(np.abs(np.mean(draws, axis=0) - mean) < 5 * error)


def _square(pretrain, finetune, weights, **changes):
    """A problem from matrices as they are."""
    transfer = Transfer(LinearTask.from_target(pretrain), LinearTask.from_target(finetune))
    return replace(
        aligned_problem(seeds=1, pretrain=Phase(0.01)), transfer=transfer, initial=stack_seeds([weights]), **changes
    )


def test_a_mode_far_below_the_others_is_still_a_mode():
    # 1e-13 of the strongest entry, and descent does learn it: exact bases keep it, whatever its size.
    tiny = np.diag([1.0, 1e-13])
    problem = _square(np.diag([2.0, 1.0]), np.diag([2.0, 4.0]), [tiny, tiny], budgets=np.asarray([50, 400, 3000]))
    assert largest_deviation(problem) < AGREEMENT["modes"]


def test_an_entry_off_the_diagonal_however_small_is_not_aligned():
    weights = [np.asarray([[1.0, 9e-13], [9e-13, 0.0]]), np.diag([1.0, 0.0])]
    problem = _square(np.diag([2.0, 1.0]), np.diag([2.0, 4.0]), weights)
    assert BY_NAME["modes"].refusal(problem) is not None


def test_idealised_checkpoints_of_repeated_strengths_are_left_to_dense():
    # Which modes of a flat spectrum are the first n is a choice of bases; modes would choose others than dense.
    turn = random_basis(3, np.random.default_rng(0))
    second = (turn * [3.0, 2.0, 1.0]) @ turn.T
    start = (turn * [0.3, 0.1, 0.03]) @ turn.T
    problem = _square(np.eye(3), 0.5 * (second + second.T), [start, start])
    assert BY_NAME["modes"].refusal(problem) is None
    assert "own bases" in BY_NAME["modes"].refusal(replace(problem, idealised=True))


@pytest.mark.thorough("by test_repeated_strengths_do_not_hide_a_common_frame")
def test_a_frame_that_only_the_second_covariance_determines_is_found():
    turn = random_basis(3, np.random.default_rng(1))
    seen = (turn * [1.0, 0.5, 0.25]) @ turn.T
    transfer = Transfer(LinearTask.from_target(np.eye(3)), LinearTask.from_target(2 * np.eye(3), 0.5 * (seen + seen.T)))
    problem = replace(aligned_problem(seeds=1), transfer=transfer, initial=stack_seeds([[0.05 * np.eye(3)] * 2]))
    assert largest_deviation(problem) < AGREEMENT["modes"]
