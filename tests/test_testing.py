"""The public strategies: what they draw is valid and of few shapes, what they promise holds, and they shrink well."""

import itertools
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from linsim import testing
from linsim.dynamics.matrices.dense import Dense
from linsim.dynamics.modes.descent_modes import Modes
from linsim.dynamics.runs import Lanes
from linsim.dynamics.training import Session
from linsim.losses import end_to_end
from linsim.phase import REGULARIZERS
from linsim.problem import Problem
from linsim.tasks import LinearTask, Transfer
from linsim.testing import draws

FEW = settings(max_examples=20)


def drawn(strategy, condition=lambda value: True, phases=(Phase.generate, Phase.shrink)):
    """The simplest value of a strategy that fulfils a condition, or without shrinking the first one."""
    return find(
        strategy, condition, settings=settings(max_examples=300, phases=phases, database=None, derandomize=True)
    )


def is_identity(matrix):
    return np.array_equal(matrix, np.eye(len(matrix)))


def is_balanced(weights, tolerance=1e-12):
    pairs = itertools.pairwise(weights)
    return all(np.allclose(outer.T @ outer, inner @ inner.T, rtol=0, atol=tolerance) for inner, outer in pairs)


@given(draws.numbers(-2.0, 3.0), draws.decades(1e-6, 1e3))
def test_numbers_stay_within_their_bounds(number, scale):
    assert -2 <= number <= 3
    assert 1e-6 <= scale <= 1e3
    assert number == 0 or abs(number) >= np.finfo(float).tiny


@given(st.integers(1, 5).flatmap(testing.strengths))
def test_strengths_fall_to_zeros_at_the_end(values):
    assert (np.diff(values) <= 0).all()
    assert 0.05 <= values[0] <= 3.0
    assert ((values == 0) | (values >= 0.05)).all()


@given(testing.strengths(3, present=True, distinct=True), testing.strengths(3, signed=True))
def test_strengths_can_be_narrowed(values, signed):
    assert (values > 0).all()
    assert (values[1:] < 0.955 * values[:-1]).all()
    assert (np.diff(np.abs(signed)) <= 0).all()


@FEW
@given(testing.tasks())
def test_tasks_are_of_few_shapes(task):
    assert isinstance(task, LinearTask)
    assert (task.inputs, task.outputs) in {(inputs, outputs) for inputs, _, outputs in testing.SIZES}


@FEW
@given(testing.tasks(whitened=True, noiseless=True), testing.tasks(identity=True, inputs=3, outputs=2))
def test_tasks_can_be_narrowed(white, plain):
    assert is_identity(white.input_covariance)
    assert white.label_noise == 0
    assert is_identity(plain.left) and is_identity(plain.right)
    assert plain.target.shape == (2, 3)


@FEW
@given(testing.tasks(commuting=True))
def test_a_commuting_covariance_is_diagonal_in_the_input_basis(task):
    inside = task.right.T @ task.input_covariance @ task.right
    np.testing.assert_allclose(inside, np.diag(np.diag(inside)), atol=1e-14)


@FEW
@given(testing.transfers(), testing.transfers(aligned=True))
def test_aligned_transfers_share_their_singular_vectors(either, aligned):
    assert isinstance(either, Transfer)
    assert np.array_equal(aligned.pretrain.left, aligned.finetune.left)
    assert np.array_equal(aligned.pretrain.right, aligned.finetune.right)


def test_every_shift_applies_to_what_the_shifts_before_it_have_left():
    # New modes take the place of zero ones, of which an earlier shift may have left none.
    @settings(max_examples=150, derandomize=True, database=None, phases=[Phase.generate])
    @given(testing.transfers(most=3, identity=True, whitened=True, noiseless=True))
    def apply(transfer):
        assert transfer.finetune.target.shape == transfer.pretrain.target.shape

    apply()


def test_identity_weights_are_called_balanced_only_where_they_are():
    @settings(max_examples=30, derandomize=True, database=None, phases=[Phase.generate])
    @given(testing.weights(LinearTask.create(np.ones(3), inputs=4), hidden=6, balanced=True))
    def hold(weights):
        assert is_balanced(weights)

    hold()


WIDE = [
    ("turned bases", testing.tasks(), lambda task: not is_identity(task.left)),
    ("coloured inputs", testing.tasks(), lambda task: not is_identity(task.input_covariance)),
    ("label noise", testing.tasks(), lambda task: task.label_noise > 0),
    ("zero modes", testing.tasks(), lambda task: task.strengths[-1] == 0),
    ("repeated strengths", testing.tasks(present=True), lambda task: task.strengths[0] == task.strengths[1]),
    ("negative strengths", testing.strengths(2, signed=True), lambda values: values[0] < 0),
    ("other vectors", testing.transfers(), lambda pair: not np.array_equal(pair.pretrain.right, pair.finetune.right)),
    (
        "another task",
        testing.transfers(aligned=True),
        lambda pair: np.ptp(pair.pretrain.target - pair.finetune.target) > 0,
    ),
    ("momentum", testing.phases(), lambda phase: phase.momentum),
    *((name, testing.phases(), lambda phase, name=name: getattr(phase, name)) for name in REGULARIZERS),
    ("one layer", testing.problems(), lambda problem: problem.depth == 1),
    ("three layers", testing.problems(), lambda problem: problem.depth == 3),
    ("unbalanced", testing.problems(depth=2), lambda problem: not is_balanced([w[0] for w in problem.initial])),
    ("not aligned", testing.problems(), lambda problem: Modes().refusal(problem) is not None),
]


@pytest.mark.parametrize(("strategy", "condition"), [case[1:] for case in WIDE], ids=[case[0] for case in WIDE])
def test_what_is_not_narrowed_is_drawn(strategy, condition):
    drawn(strategy, condition, [Phase.generate])


@FEW
@given(st.data(), testing.tasks(), st.sampled_from([1, 2, 3]))
def test_weights_fit_their_task_and_keep_their_promises(data, task, depth):
    weights = data.draw(testing.weights(task, depth=depth, balanced=True))
    assert len(weights) == depth
    assert end_to_end(weights).shape == task.target.shape
    assert all(weight.dtype == jnp.float64 for weight in weights)
    assert is_balanced(weights)
    aligned = data.draw(testing.weights(task, depth=depth, aligned=True))
    inside = task.left.T @ np.asarray(end_to_end(aligned)) @ task.right
    off = inside - np.eye(*inside.shape) * inside
    np.testing.assert_allclose(off, 0, atol=1e-13)


def test_weights_are_drawn_in_float64_whatever_the_setting():
    task = LinearTask.create(np.ones(2))
    with jax.enable_x64(False):
        assert all(weight.dtype == np.float64 for weight in drawn(testing.weights(task)))


@FEW
@given(testing.phases(), testing.phases(plain=True), testing.phases(regularizers=("weight_decay",)))
def test_phases_are_valid(phase, plain, decaying):
    for one in (phase, plain, decaying):
        one.validate("phase")
    assert sum(getattr(phase, name) is not None for name in REGULARIZERS) <= 1
    assert plain.momentum is None and all(getattr(plain, name) is None for name in REGULARIZERS)
    assert decaying.product_penalty is None and decaying.weight_penalty is None


@FEW
@given(testing.problems(aligned=True))
def test_aligned_problems_are_what_the_modes_solver_asks_for(problem):
    assert Modes().refusal(problem) is None


@FEW
@given(testing.problems(depth=2, balanced=True, whitened=True, plain=True, budget=20, finetune_steps=5))
def test_problems_can_be_narrowed(problem):
    assert is_balanced([weight[0] for weight in problem.initial])
    assert is_identity(problem.transfer.finetune.input_covariance)
    assert problem.pretrain.momentum is None
    assert problem.budgets[-1] <= 20 and len(problem.budgets) == 3
    assert problem.finetune_steps <= 5


def test_problems_are_of_few_shapes():
    shapes = set()

    @settings(max_examples=100, derandomize=True, database=None, phases=[Phase.generate])
    @given(testing.problems())
    def collect(problem):
        shapes.add((problem.seeds, problem.widths, len(problem.budgets)))

    collect()
    depths = {(1, (i, *([h] * (depth - 1)), o), 3) for i, h, o in testing.SIZES for depth in (1, 2, 3)}
    assert shapes <= depths
    assert len(shapes) >= 8


def test_a_drawn_problem_runs_and_descends():
    @settings(max_examples=4, derandomize=True, database=None, phases=[Phase.generate])
    @given(testing.problems(depth=2, plain=True))
    def descends(problem):
        session = Session.open(problem, Dense(), np.float64)
        checkpoints = session.pretrain()
        losses = np.asarray(checkpoints.losses)[:, 0]
        # The largest rate x curvature is far below 2, so descent only descends, up to rounding.
        assert (np.diff(losses) <= 1e-12 * session.scale).all()
        lanes = Lanes(*(jnp.zeros(1, int),) * 2, {"learning_rate": jnp.full(1, 1e-3)})
        assert not session.finetune(checkpoints, lanes).diverged[0]

    descends()


def test_shrinking_goes_to_identity_bases_one_mode_and_no_regulariser():
    problem = drawn(testing.problems())
    assert isinstance(problem, Problem)
    assert problem.widths == (2, 2, 2)
    for task in (problem.transfer.pretrain, problem.transfer.finetune):
        assert is_identity(task.left) and is_identity(task.right) and is_identity(task.input_covariance)
        assert task.label_noise == 0
        assert list(task.strengths) == [1.0, 0.0]
    assert problem.pretrain.momentum is None and problem.finetune.product_penalty is None
    assert list(problem.budgets) == [1, 2, 3] and problem.finetune_steps == 1


@pytest.mark.parametrize(
    "wanted",
    [lambda of: len(of) == 8, lambda of: 1 < len(set(of)) < len(of), lambda of: len(of) > 1 and list(of) == sorted(of)],
)
def test_values_of_any_number_and_order_are_drawn_some_of_them_equal(wanted):
    several = draws.sized(lambda count: {"modes": draws.values(draws.numbers(0.1, 2.0), count)})
    found = drawn(several, lambda problem: wanted(problem["modes"]))["modes"]
    assert len(found) in (1, 2, 3, 8)
    assert all(0.1 <= value <= 2.0 for value in found)


def test_drawing_does_not_disturb_the_global_random_numbers():
    random.seed(3)
    expected = random.random()

    @settings(max_examples=5, suppress_health_check=list(HealthCheck), database=None)
    @given(draws.undisturbed(st.integers().map(lambda n: n + random.random())), testing.problems())
    def draw(_, problem):
        pass

    random.seed(3)
    draw()  # Hypothesis would warn, and a warning is an error here
    assert random.random() == expected
