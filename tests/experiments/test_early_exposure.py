"""Early exposure: three phases against NumPy, controls, and what is concluded."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from experiments.early_exposure import Config, experiment, main
from experiments.early_exposure.experiment import _plans
from experiments.early_exposure.finding import find, matched
from experiments.early_exposure.phases import Place
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
    "downstream asks for less than the base": (replace(CONFIG, asked=(0.2,)), "not seen"),
    "one layer": (replace(CONFIG, depth=(1,)), "cannot tell"),
    "no control": (replace(CONFIG, depth=(2,)), "cannot tell"),
    "the base is hardly trained on": (replace(CONFIG, seeds=1, shares=(0.0, 0.99, 1.0)), "cannot tell"),
    "the target is hardly trained on": (replace(CONFIG, depth=(2,), target_steps=5), "cannot tell"),
}


@pytest.fixture(scope="module")
def small():
    return computed(experiment, CONFIG)


@pytest.mark.parametrize("name", VERDICTS)
def test_every_verdict_has_a_configuration(small, name):
    config, verdict = VERDICTS[name]
    found = small if replace(config, depth=CONFIG.depth, asked=CONFIG.asked) == CONFIG else experiment.run(config)
    finding = find(found.sel(depth=list(config.depth), asked=list(config.asked)))
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


@pytest.mark.parametrize(
    "place", [{"features": "redundant", "depth": 1}, {"features": "independent", "depth": 2}], ids=["layer", "features"]
)
def test_what_a_control_sees_too_is_not_put_down_to_redundancy_and_depth(small, place):
    names = [name for name in small if name in ("retained_loss", "target_loss", "asked_loss", "base_left")]
    deep = small.sel(features="redundant", depth=2)
    here = (small["features"] == place["features"]) & (small["depth"] == place["depth"])
    finding = find(small.assign({name: xr.where(here, deep[name], small[name], keep_attrs=True) for name in names}))
    assert finding.verdict == "cannot tell"
    assert "controls see it too" in finding.sentence


def test_losses_are_compared_only_where_the_base_is_at_its_end(small):
    assert float(small["base_left"].max()) < 1e-7
    short = experiment.run(replace(CONFIG, seeds=1, shares=(0.0, 0.99, 1.0)))
    assert float(short["base_left"].sel(features="redundant", share=0.99).min()) > 0.01
    for share, known in ((0.0, True), (0.99, False), (1.0, True)):
        assert bool(matched(short).sel(features="redundant", share=share).notnull().all()) is known


def test_in_closed_form_more_is_better_up_to_a_jump_at_one():
    """Three layers of which the base itself is asked: there is no best share inside."""
    place = Place("redundant", 3, 2, 1, 0, 0.002, 0.8, (0.8,), 0.02, 10)
    losses = [float(place.predicted(share)[0]) for share in (0.0, 0.3, 0.6, 0.9, 0.99, 0.999)]
    assert np.all(np.diff(losses) < 0)
    np.testing.assert_allclose(losses[3:], [0.01206, 0.01161, 0.01157], atol=1e-5)


def test_losses_that_are_rounding_do_not_differ(small):
    tiny = small.assign(retained_loss=small["retained_loss"] * 1e-18)
    (line,) = (each for each in find(tiny).details if "independent features: retained" in each)
    assert "at most 0 % (1) and 0 % (2)" in line


def test_the_sentence_says_more_is_better_only_where_it_is(small):
    assert "the base is asked (0.8), more early exposure is better, up to a jump at 1" in find(small).sentence
    more = small.isel(share=[0, 1, 1, 2]).assign_coords(share=[0.0, 0.6, 0.9, 1.0]).copy(deep=True)
    more["retained_loss"].loc[{"share": 0.9}] += 0.002
    assert "some early exposure is best: " in find(more).sentence


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
