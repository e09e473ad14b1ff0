"""Cross-entropy as the objective of a task: against plain NumPy, against finite differences, and who refuses it."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linsim as ls
from linsim.dynamics.choosing import SOLVERS
from linsim.dynamics.matrices.dense import Dense
from linsim.errors import InvalidInput
from linsim.losses import end_to_end
from linsim.measures.forgetting import forgetting_by_mode
from linsim.sweeping.checks.plain_descent import is_quick
from linsim.tasks import Transfer

INPUTS, OUTPUTS, HIDDEN = 4, 5, 6
SHARES = ls.zipf(INPUTS)
TARGET = 2 * np.random.default_rng(0).standard_normal((OUTPUTS, INPUTS))
POINTS = np.random.default_rng(1).standard_normal((7, INPUTS))
WEIGHED = ls.zipf(7, 0.5)
CONTEXTS = {"inputs": tuple(map(tuple, POINTS.tolist())), "frequencies": tuple(WEIGHED.tolist())}
OBJECTIVES = {
    "soft": ls.CrossEntropy(),
    "hard": ls.CrossEntropy("hard"),
    "smoothed": ls.CrossEntropy("hard", 0.2),
    "sigmoid": ls.CrossEntropy("hard", 0.2, "sigmoid"),
    "other contexts": ls.CrossEntropy("soft", **CONTEXTS),
    "sigmoid of other contexts": ls.CrossEntropy("soft", 0.1, "sigmoid", **CONTEXTS),
}


def task_of(objective, factor=1.0):
    """A task in which nothing is aligned."""
    covariance = np.diag(SHARES)
    if objective is not None and objective.inputs is not None:
        covariance = POINTS.T * WEIGHED @ POINTS
        covariance = (covariance + covariance.T) / 2
    return ls.LinearTask.from_target(factor * TARGET, covariance, objective=objective)


def plain(objective, product, factor=1.0):
    """Loss and gradient of a map, a context at a time, in NumPy alone."""
    points, shares = (np.eye(INPUTS), SHARES) if objective.inputs is None else (POINTS, WEIGHED)
    loss, slope = 0.0, np.zeros_like(product)
    for x, share in zip(points, shares, strict=True):
        wanted, given = factor * TARGET @ x, product @ x
        if objective.link == "sigmoid":
            soft, count = 1 / (1 + np.exp(-wanted)), 2
            hard = (wanted > 0).astype(float)
            predicted = 1 / (1 + np.exp(-given))
        else:
            soft, count = np.exp(wanted) / np.exp(wanted).sum(), OUTPUTS
            hard = np.eye(OUTPUTS)[np.argmax(wanted)]
            predicted = np.exp(given) / np.exp(given).sum()
        label = (1 - objective.smoothing) * (soft if objective.labels == "soft" else hard) + objective.smoothing / count
        pairs = [(label, predicted)] + [(1 - label, 1 - predicted)] * (objective.link == "sigmoid")
        for q, p in pairs:
            some = q > 0
            loss += share * np.sum(q[some] * np.log(q[some] / p[some]))
        slope += share * np.outer(predicted - label, x)
    return loss, slope


@pytest.fixture(params=OBJECTIVES, scope="module")
def objective(request):
    return OBJECTIVES[request.param]


def test_loss_and_slope_are_those_of_a_script_in_numpy(objective):
    rng = np.random.default_rng(2)
    task, products = task_of(objective), rng.standard_normal((3, OUTPUTS, INPUTS))
    wanted = [plain(objective, product) for product in products]
    # Sums of tens of terms of order 1, in float64.
    np.testing.assert_allclose(task.loss_of(products), [loss for loss, _ in wanted], rtol=1e-13)
    np.testing.assert_allclose(task.own_loss.slope(products), [slope for _, slope in wanted], rtol=0, atol=1e-14)
    assert np.isclose(task.zero_loss, plain(objective, 0 * TARGET)[0], rtol=1e-13)
    in_jax = jax.tree.map(jnp.asarray, task.own_loss)
    product = jnp.asarray(products[0])
    np.testing.assert_allclose(in_jax.loss(product), wanted[0][0], rtol=1e-13)
    np.testing.assert_allclose(in_jax.slope(product), jax.grad(in_jax.loss)(product), rtol=0, atol=1e-14)


def test_soft_labels_are_met_exactly_and_hard_ones_never():
    for name in ("soft", "other contexts"):
        task = task_of(OBJECTIVES[name])
        assert task.loss_of(task.target) < 1e-28  # a square of rounding
        near = task.loss_of(task.target + 1e-6 * np.ones_like(TARGET) * np.arange(OUTPUTS)[:, None])
        assert 1e-14 < near < 1e-11  # and not lost in it, which is 1e-16
    hard = task_of(OBJECTIVES["hard"])
    losses = hard.loss_of(np.stack([scale * TARGET for scale in (1.0, 4.0, 16.0)]))
    assert 0 < losses[2] < losses[1] < losses[0]
    smoothed, table = task_of(OBJECTIVES["smoothed"]), np.full((INPUTS, OUTPUTS), 0.2 / OUTPUTS)
    table[np.arange(INPUTS), TARGET.argmax(axis=0)] += 0.8
    assert smoothed.loss_of(np.log(table).T) < 1e-28


@pytest.mark.parametrize("name", ["smoothed", "sigmoid of other contexts"])
def test_the_trace_is_that_of_squared_scores(name):
    objective = OBJECTIVES[name]
    weights = tuple(
        jnp.asarray(np.random.default_rng(seed).standard_normal(shape))
        for seed, shape in enumerate([(HIDDEN, INPUTS), (3, HIDDEN), (OUTPUTS, 3)])
    )
    loss = jax.tree.map(jnp.asarray, task_of(objective).own_loss)
    told = loss.fisher_trace(weights)
    points, shares = (np.eye(INPUTS), SHARES) if objective.inputs is None else (POINTS, WEIGHED)
    wanted = 0.0
    for x, share in zip(points, shares, strict=True):
        logits = np.asarray(end_to_end(weights)) @ x
        one, two, three = map(np.asarray, weights)
        pairs = ((three @ two, x), (three, one @ x), (np.eye(OUTPUTS), two @ one @ x))
        rows = np.concatenate([np.kron(after, before) for after, before in pairs], axis=1)  # dz/dW of every logit
        if objective.link == "sigmoid":
            p = 1 / (1 + np.exp(-logits))
            wanted += share * np.sum(p * (1 - p) * np.sum(rows**2, axis=1))
        else:
            p = np.exp(logits) / np.exp(logits).sum()
            scores = rows - p @ rows  # of every label
            wanted += share * np.sum(p * np.sum(scores**2, axis=1))
    np.testing.assert_allclose(told, wanted, rtol=1e-12)


def problem_of(first, second=None, **changes):
    """From Gaussian starts of two seeds."""
    transfer = Transfer(task_of(first), task_of(first if second is None else second, 2.0))
    starts = [ls.gaussian((INPUTS, HIDDEN, OUTPUTS), 0.3, jax.random.key(seed)) for seed in range(2)]
    told = {"pretrain": ls.Phase(0.2), "finetune": ls.Phase(0.1), "budgets": np.array([5, 40, 300])}
    return ls.Problem(transfer, ls.stack_seeds(starts), **{**told, "finetune_steps": 25, **changes})


def descended(objective, factor, weights, rate, steps):
    """Gradient descent of two layers, in NumPy alone."""
    first, second = weights
    for _ in range(steps):
        slope = plain(objective, second @ first, factor)[1]
        first, second = first - rate * second.T @ slope, second - rate * slope @ first.T
    return first, second


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", ["smoothed", "sigmoid of other contexts"])
def test_a_sweep_is_descent_in_numpy(name):
    told = OBJECTIVES[name]
    problem = problem_of(told)
    measures = [ls.built_in(each, problem.transfer) for each in ("fisher_trace", "gradient_square", "top_eigenvalue")]
    result = ls.sweep(problem, {"learning_rate": [0.05, 0.4]}, measures)
    start = [np.asarray(layer)[1] for layer in problem.initial]
    checkpoint = descended(told, 1.0, start, 0.2, 40)
    tuned = descended(told, 2.0, checkpoint, 0.4, 25)
    cell = result.isel(seed=1, pretrain_steps=1)
    lane = cell.isel(learning_rate=1)
    # The same recurrence of 65 steps in float64.
    np.testing.assert_allclose(cell["pretrain_loss_before"], plain(told, checkpoint[1] @ checkpoint[0])[0], rtol=1e-11)
    np.testing.assert_allclose(lane["pretrain_loss_after"], plain(told, tuned[1] @ tuned[0])[0], rtol=1e-11)
    np.testing.assert_allclose(lane["finetune_loss_after"], plain(told, tuned[1] @ tuned[0], 2.0)[0], rtol=1e-11)
    slope = plain(told, checkpoint[1] @ checkpoint[0])[1]
    square = np.sum((checkpoint[1].T @ slope) ** 2) + np.sum((slope @ checkpoint[0].T) ** 2)
    np.testing.assert_allclose(cell["gradient_square"], square, rtol=1e-10)

    def gradient(flat):
        first, second = flat[: HIDDEN * INPUTS].reshape(HIDDEN, -1), flat[HIDDEN * INPUTS :].reshape(OUTPUTS, -1)
        slope = plain(told, second @ first)[1]
        return np.concatenate([(second.T @ slope).ravel(), (slope @ first.T).ravel()])

    at, step = np.concatenate([layer.ravel() for layer in checkpoint]), 1e-5
    hessian = [(gradient(at + step * unit) - gradient(at - step * unit)) / (2 * step) for unit in np.eye(len(at))]
    # Central differences: step^2 of the third derivative, and rounding over the step.
    np.testing.assert_allclose(np.trace(hessian), cell["fisher_trace"], rtol=1e-7)
    np.testing.assert_allclose(np.linalg.eigvalsh(hessian)[-1], cell["top_eigenvalue"], rtol=1e-6)
    assert result["pretrain_loss_after"].attrs["units"] == "nats"
    assert result.attrs["zero_loss"] == problem.transfer.pretrain.zero_loss
    assert result.attrs["loss_convention"].startswith("L(P) = mean over contexts x of KL(")
    assert json.loads(result.attrs["finetune_objective"])["smoothing"] == told.smoothing
    assert result.attrs["stability"] == "told"
    assert "predicted_harm" not in result


def test_the_sample_that_is_computed_again_is_of_the_same_objective():
    problem = problem_of(OBJECTIVES["soft"])
    result = ls.sweep(problem, {"learning_rate": [0.05, 0.4]})
    assert is_quick(problem, 2, 8)
    assert result.attrs["recheck_by"] == "full matrices in NumPy"
    assert result.attrs["recheck_lanes"] == 12
    assert result.attrs["recheck_deviation"] < 1e-13  # some tens of steps


def test_tasks_may_have_different_objectives_and_units():
    squared = replace(task_of(None), objective=None)
    problem = problem_of(OBJECTIVES["hard"])
    mixed = replace(problem, transfer=replace(problem.transfer, finetune=squared))
    result = ls.sweep(mixed, {"learning_rate": [0.01]})
    assert result["pretrain_loss_after"].attrs["units"] == "nats"
    assert result["finetune_loss_after"].attrs["units"] == "squared output"
    assert "; and L(P) = ||" in result.attrs["loss_convention"]
    assert "finetune_objective" not in result.attrs
    assert not result["unstable"].any()


def test_a_chart_has_turns_and_no_closed_form():
    problem = problem_of(OBJECTIVES["soft"])
    result = ls.chart(problem, np.array([0.05, 0.4]), np.array([0.0, 0.1]), rechecked=0)
    assert result.attrs["prediction"].startswith("none: ")
    assert "squared error alone" in result.attrs["prediction"]
    assert result["predicted_inflection_steps"].isnull().all()
    assert "predicted_harm" not in result
    losses = result["pretrain_loss_after"]
    np.testing.assert_allclose(result["harm"], losses[-1] / losses.min("pretrain_steps") - 1, rtol=0.05, atol=1e-6)
    excess = (losses[-1] - losses.min("pretrain_steps")) / problem.transfer.pretrain.zero_loss
    np.testing.assert_allclose(result["excess"], excess, rtol=0.05, atol=1e-6)
    # The penalty in product space holds the map back, of whatever loss.
    assert (result["forgetting"][-1, 1, 1] < result["forgetting"][-1, 1, 0]).all()


def test_a_task_says_its_objective():
    assert "CrossEntropy(labels='hard', smoothing=0.2, link='softmax'" in repr(task_of(OBJECTIVES["smoothed"]))


def test_descent_beyond_the_edge_is_told():
    problem = problem_of(OBJECTIVES["soft"], finetune_steps=200)
    result = ls.sweep(problem, {"learning_rate": [0.05, 50.0]})
    assert not result["unstable"].sel(learning_rate=0.05).any()
    assert result["unstable"].sel(learning_rate=50.0).isel(pretrain_steps=-1).all()


@pytest.mark.parametrize("where", ["pretrain", "finetune"])
def test_solvers_refuse_an_objective_that_they_do_not_know(where):
    problem = problem_of(OBJECTIVES["soft"])
    plain_task = replace(getattr(problem.transfer, where), objective=None)
    other = "finetune" if where == "pretrain" else "pretrain"
    problem = replace(problem, transfer=replace(problem.transfer, **{other: plain_task}))
    words = "the (pre-training|fine-tuning) task has an objective of its own, and this solver knows squared error alone"
    for solver in SOLVERS:
        if type(solver) is Dense:
            assert solver.refusal(problem) is None
        else:
            with pytest.raises(InvalidInput, match=words) as refused:
                ls.choose(problem, solver)
            assert len(str(refused.value).splitlines()) == 1
    assert ls.choose(problem).solver.name == "dense"


def test_dense_refuses_what_is_of_squared_error_alone(unchecked):
    problem = problem_of(OBJECTIVES["hard"])
    with pytest.raises(InvalidInput, match="minibatches of fine-tuning are drawn for squared error alone"):
        ls.choose(replace(problem, finetune=ls.Phase(0.1, batch_size=3)), "dense")
    with pytest.raises(InvalidInput, match="idealised checkpoints are those of squared error"):
        ls.choose(replace(problem, idealised=True), "dense")
    with pytest.raises(InvalidInput, match="bound_ratio.*squared error"):
        ls.bound_ratio(problem.transfer)
    with pytest.raises(InvalidInput, match="rise_under_absolute_noise.*squared error"):
        ls.sweep(problem, {"learning_rate": [0.1]}, [ls.rise_under_noise([0.1])])
    with pytest.raises(InvalidInput, match="task.*squared error"):
        forgetting_by_mode(*[ls.identity((4, 5, 5), 1.0)] * 2, problem.transfer.pretrain)
    with pytest.raises(InvalidInput, match="examples pose a task of squared error"):
        problem.transfer.pretrain.posed(5, 0.1, np.random.default_rng(0))


def test_shifts_keep_the_objective():
    task = task_of(OBJECTIVES["hard"])
    for shift in (ls.Rescale([2], 3.0), ls.Blend(ls.Rotate(30.0), 0.5)):
        assert ls.shifted(task, shift).finetune.objective == OBJECTIVES["hard"]


def test_equal_objectives_are_equal_and_others_are_not(unchecked):
    assert ls.CrossEntropy("soft", **CONTEXTS) == OBJECTIVES["other contexts"]
    assert hash(ls.CrossEntropy("soft", **CONTEXTS)) == hash(OBJECTIVES["other contexts"])
    assert ls.CrossEntropy(inputs=np.eye(2), frequencies=[0.5, 0.5]) == ls.CrossEntropy(
        inputs=((1.0, 0.0), (0.0, 1.0)), frequencies=(0.5, 0.5)
    )
    trees = {jax.tree.structure(task_of(each).own_loss) for each in OBJECTIVES.values()}
    assert len(trees) == 4  # softmax or sigmoid, one-hot contexts or others: never one's program for the other's


def test_a_model_of_bigrams_is_its_table():
    table = np.array([[0.7, 0.2, 0.1], [0.05, 0.05, 0.9]])
    task = ls.bigram(table, [0.25, 0.75])
    np.testing.assert_allclose(np.exp(task.target.T) / np.exp(task.target.T).sum(axis=1)[:, None], table, rtol=1e-14)
    entropy = -np.sum([0.25, 0.75] * np.sum(table * np.log(table), axis=1))
    np.testing.assert_allclose(task.zero_loss, np.log(3) - entropy, rtol=1e-14)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: ls.CrossEntropy("firm"), "labels: got firm; allowed: one of soft, hard"),
        (lambda: ls.CrossEntropy(smoothing=1.0), "smoothing: got 1.0; allowed: "),
        (lambda: ls.CrossEntropy(smoothing=-0.1), "smoothing: got -0.1; allowed: "),
        (lambda: ls.CrossEntropy(smoothing=np.nan), "smoothing: got nan; allowed: "),
        (lambda: ls.CrossEntropy(inputs=np.eye(2)), "frequencies: got None; allowed: given beside inputs"),
        (lambda: ls.CrossEntropy(inputs=np.eye(2), frequencies=[0.5, 0.6]), "frequencies: got a sum of 1.1"),
        (lambda: ls.bigram([[0.5, 0.6]], [1.0]), "conditional: got a row whose sum is off 1 by 0.1"),
        (lambda: ls.bigram([[1.0, 0.0]], [1.0]), "conditional: got an entry of 0; allowed: distributions"),
        (lambda: ls.bigram([[0.5, 0.5]], [0.5, 0.5]), "frequencies: got 2 of them; allowed: 1, as contexts"),
        (lambda: ls.LinearTask.create([1.0], objective=ls.CrossEntropy), "objective: got"),
        (lambda: ls.LinearTask.create([1.0, 1.0], objective=ls.CrossEntropy()), "input_covariance: got a trace of 2"),
        (lambda: replace(task_of(OBJECTIVES["other contexts"]), input_covariance=np.eye(4)), "input_covariance: got"),
        (lambda: replace(task_of(OBJECTIVES["soft"]), label_noise=0.1), "label_noise: got 0.1; allowed: 0"),
    ],
)
def test_bad_input_is_refused_in_one_line(unchecked, make, told):
    with pytest.raises(InvalidInput) as refused:
        make()
    assert told in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
