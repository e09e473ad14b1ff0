"""Tasks in turn: against NumPy and closed forms, and what is concluded of similarity."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.tasks_in_turn import Config, experiment, main
from experiments.tasks_in_turn.finding import find
from tests.computed import computed

CONFIG = Config(
    seeds=2,
    overlaps=(0.0, 0.4, 1.0),
    head_scales=(0.01,),
    inputs=4,
    hidden=5,
    pair_steps=900,
    tasks=2,
    dim=2,
    task_steps=700,
    balances=(0.0, 0.01),
    reversed_budgets=(100, 800),
    reversed_steps=1500,
)
VERDICTS = {
    "a small fresh head": (CONFIG, "seen"),
    "a head too large to need the shared layer": (replace(CONFIG, head_scales=(6.0,), hidden=40), "not seen"),
    "the second task is not learned": (replace(CONFIG, pair_steps=20), "cannot tell"),
}


@pytest.fixture(scope="module")
def small():
    return computed(experiment, CONFIG)


@pytest.mark.parametrize("name", VERDICTS)
def test_every_verdict_has_a_configuration(small, name):
    config, verdict = VERDICTS[name]
    finding = find(small if config is CONFIG else experiment.run(config))
    assert finding.verdict == verdict, finding.sentence
    assert len(finding.sentence) <= 160


def numpy_forgetting(overlap, copied, rate=0.02, steps=2500):
    """Two tasks of one output, one after the other, in NumPy alone."""
    rng = np.random.default_rng(1)
    layer, head = 0.01 * rng.standard_normal((4, 3)), 0.01 * rng.standard_normal((1, 4))
    tasks = [np.array([[1.0, 0, 0]]), np.array([[overlap, np.sqrt(1 - overlap**2), 0]])]
    heads = [head, 1e-4 * rng.standard_normal((1, 4))]
    for at, task in enumerate(tasks):
        for _ in range(steps):
            back = 2 * (heads[at] @ layer - task)
            layer, heads[at] = layer - rate * heads[at].T @ back, heads[at] - rate * back @ layer.T
        if copied and at == 0:
            heads[1] = heads[0].copy()
    return np.sum((heads[0] @ layer - tasks[0]) ** 2)


@pytest.mark.parametrize(("head", "overlap"), [("copied", 0.4), ("copied", 1.0), ("fresh 0.01", 0.4)])
def test_forgetting_is_that_of_a_script_in_numpy_and_of_the_closed_form(small, head, overlap):
    told = small["predicted_forgetting"].sel(head=head, overlap=overlap)
    # Heads of 1e-4 and starts of 1e-2, not 0.
    np.testing.assert_allclose(numpy_forgetting(overlap, head == "copied"), told, atol=0.02)
    # Of a head of 0.01 other hidden units take a part, of a tenth or so.
    np.testing.assert_allclose(small["forgetting"].sel(head=head, overlap=overlap), told, atol=0.3)


def test_each_task_solved_leaves_the_others_where_its_solution_is(small):
    ends = CONFIG.task_steps * np.arange(1, 3)
    at_ends = small.sel(turn_steps=ends)
    np.testing.assert_allclose(at_ends["turn_loss"], at_ends["predicted_turn_loss"], atol=2e-2)
    # Descent is off the flow by a delay of first order in rate x curvature, 0.08.
    assert float(abs(small["turn_loss"] - small["exact_turn_loss"]).max()) < 0.3


def test_reversal_is_as_slow_as_imbalance_is_small(small):
    times = small["reversal_time"].sel(start="0.01", budget=800)
    # Steps of 0.01 of curvature 4 take 2 % longer than the flow.
    np.testing.assert_allclose(times, small["predicted_reversal_time"].sel(start="0.01"), rtol=0.04)
    balanced = small["reversal_time"].sel(start="0").fillna(np.inf)
    assert bool((balanced.sel(budget=800) > 2 * times).all())


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--overlaps", "0", "1.5"], "overlaps: got (0.0, 1.5); allowed: overlaps from 0 to 1"),
        (["--overlaps", "0.5"], "overlaps: got (0.5,); allowed: overlaps from 0 to 1 with both and one between"),
        (["--overlaps", "0", "1"], "overlaps: got (0.0, 1.0); allowed: overlaps from 0 to 1 with both and"),
        (["--head-scales", "0"], "head_scales: got 0.0; allowed: "),
        (["--reversed-budgets", "10", "5"], "reversed_budgets: got (10, 5); allowed: strictly increasing values"),
        (["--tasks", "0"], "tasks: got 0"),
        (["--learning-rate", "10"], "learning_rate: got 10.0; allowed: a smaller one: at this one training diverges"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(flags, told, refused):
    assert told in refused(main, flags)
