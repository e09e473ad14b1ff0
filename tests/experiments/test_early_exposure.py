"""Early exposure: three phases against NumPy, controls, and what is concluded."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.early_exposure import Config, experiment, main
from experiments.early_exposure.experiment import _plans
from experiments.early_exposure.finding import find, matched
from tests.computed import computed

CONFIG = Config(
    depth=(1, 2),
    hidden=2,
    seeds=2,
    shares=(0.0, 0.6, 1.0),
    early=(0.0, 0.5, 1.0),
    learning_rate=0.03,
    steps=1400,
    target_steps=400,
    downstream_steps=800,
    split_base_steps=1000,
    split_target_steps=600,
)
VERDICTS = {
    "two layers": (CONFIG, "seen"),
    "one layer": (replace(CONFIG, depth=(1,)), "not seen"),
    "the target is hardly trained on": (replace(CONFIG, depth=(2,), target_steps=5), "cannot tell"),
}


@pytest.fixture(scope="module")
def small():
    return computed(experiment, CONFIG)


@pytest.mark.parametrize("name", VERDICTS)
def test_every_verdict_has_a_configuration(small, name):
    config, verdict = VERDICTS[name]
    found = small if config.target_steps == CONFIG.target_steps else experiment.run(config)
    finding = find(found.sel(depth=list(config.depth)))
    assert finding.verdict == verdict, finding.sentence
    assert len(finding.sentence) <= 160


def numpy_phases(share, asked, rate=0.01):
    """All three phases of two layers from one small start, by descent on the products' losses."""
    rng = np.random.default_rng(3)
    first, second = 0.02 * rng.standard_normal((3, 2)), 0.02 * rng.standard_normal((1, 3))
    base, both, known = np.array([[0.8, 0.0]]), np.ones((2, 2)), np.diag([1.0, 0.0])
    target, ask = np.array([[0.5, 0.5]]), np.array([[asked, 0.0]])
    phases = [
        (lambda P: (1 - share) * (P - base) + share * (P - target) @ both, 5000),
        (lambda P: (P - target) @ both, 2000),
        (lambda P: (P - ask) @ known, 3000),
    ]
    for slope, steps in phases:
        for _ in range(steps):
            back = 2 * slope(second @ first)
            first, second = first - rate * second.T @ back, second - rate * back @ first.T
    return float((second @ first).sum() - 1) ** 2


@pytest.mark.parametrize("share", [0.0, 0.6])
@pytest.mark.parametrize("asked", [0.2, 0.8])
def test_retained_losses_are_those_of_a_script_in_numpy_and_of_the_closed_form(small, share, asked):
    cell = small.sel(features="redundant", depth=2, share=share, asked=asked)
    theory = float(cell["predicted_retained_loss"])
    # Small starts are balanced to their size: some times 0.02 squared, and 0.002 in the experiment.
    np.testing.assert_allclose(numpy_phases(share, asked), theory, atol=2e-3)
    np.testing.assert_allclose(cell["retained_loss"], theory, atol=6e-3)


def test_controls_one_layer_and_independent_features_do_not_see_the_share(small):
    losses = matched(small)
    assert bool(losses.notnull().all())
    within = losses.sel(share=[0.0, 0.6])
    spread = (within.max("share") - within.min("share")) / within.max("share")
    assert float(spread.sel(features="redundant", depth=1).max()) < 1e-3  # what steps leave of e^(-2 t)
    assert float(spread.sel(features="independent").max()) < 0.01
    assert float(spread.sel(features="redundant", depth=2, asked=0.8).min()) > 0.2


def test_splits_have_equal_data_and_the_late_half_counts(small):
    plans = [plan for (way, _), plan in _plans(CONFIG).items() if way == "early"]
    for plan in plans:
        (part,) = plan.parts
        assert part.steps + plan.steps == 1600
        assert part.share * part.steps + plan.steps == pytest.approx(600)
    assert plans[-1].steps == 0
    timed = small["timed_retained_loss"].sel(features="redundant", depth=2, asked=0.8).median("seed")
    assert float(timed.sel(timing="second half")) < float(timed.sel(timing="throughout"))
    none = float(small["retained_loss"].sel(features="redundant", depth=2, asked=0.8, share=0).median())
    assert float(timed.sel(timing="first half")) == pytest.approx(none, rel=0.02)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--shares", "0", "1.5"], "shares: got (0.0, 1.5); allowed: shares from 0 to 1"),
        (["--shares", "0.5"], "shares: got (0.5,); allowed: shares from 0 to 1 with both and one between"),
        (["--shares", "0", "1"], "shares: got (0.0, 1.0); allowed: shares from 0 to 1 with both and one between"),
        (["--steps", "301"], "steps: got 301; allowed: an even number"),
        (["--timed", "0.7"], "timed: got 0.7"),
        (["--learning-rate", "5"], "learning_rate: got 5.0; allowed: a smaller one: at this one training diverges"),
        (["--depth", "1", "--learning-rate", "3"], "learning_rate: got 3.0; allowed: a smaller one"),
        (["--depth", "2", "1"], "depth: got (2, 1); allowed: strictly increasing values"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(flags, told, refused):
    assert told in refused(main, flags)
