"""The picture of sensitivity along pre-training: theory and simulation are told apart, and any result can be drawn."""

import numpy as np
import pytest

from experiments.progressive_sensitivity import experiment
from figures import progressive_sensitivity as figure
from linsim.errors import InvalidInput
from linsim.finding import Finding
from tests.computed import computed
from tests.experiments.test_progressive_sensitivity import CONFIG
from tests.figures.pictures import assert_redrawn, in_full, words


@pytest.fixture(scope="module")
def small():
    return computed(experiment, CONFIG)


def test_simulation_is_hollow_and_theory_is_a_line(small):
    drawn = figure.draw(small)
    losses = drawn.get_axes()[0]
    hollow = [line for line in losses.lines if line.get_markerfacecolor() == "white"]
    plain = [line for line in losses.lines if line.get_marker() == "None" and line.get_linestyle() == "-"]
    closed = small["predicted_loss_absolute"].sel(start="identity") - small["constant_absolute"]
    assert len(hollow) == len(plain) == 2
    for line, scale in zip(plain, small["absolute_noise"], strict=True):
        expected = closed.sel(absolute_noise=scale).isel(seed=0)
        np.testing.assert_allclose(line.get_ydata(), expected)
    stars = [line for line in losses.lines if line.get_marker() == "*"]
    np.testing.assert_allclose(
        [float(star.get_xdata()[0]) for star in stars], small["inflection_absolute"].sel(start="identity").isel(seed=0)
    )


def test_the_title_is_what_was_found_and_legends_say_what_is_there(small):
    text = words(figure.draw(small))
    assert Finding.of(small).sentence in text
    for part in ("closed form", "range of 2 seeds", "mean of 20 draws", "soft threshold", "plateau of"):
        assert part in text


def without_turns(small):
    quiet = {name: np.nan * small[name] for name in small if str(name).startswith(("inflection", "stopped"))}
    return small.assign(quiet)


RESULTS = {
    "nothing turns": (without_turns, "never turns up"),
    "one seed": (lambda small: small.isel(seed=[0]), "turns up"),
    "one budget": (
        lambda small: without_turns(small.isel(pretrain_steps=[0], sampled_steps=[0])),
        "Too few budgets to tell",
    ),
    "one start": (lambda small: small.isel(start=[1]), "Gaussian start: simulation"),
    "sensitivity falls": (
        lambda small: small.assign(sensitivity_absolute=1 / small["sensitivity_absolute"]),
        "falls by up to",
    ),
    "no thresholds": (
        lambda small: small.drop_vars(
            [n for n in small if str(n).startswith(("price", "constant", "sampled", "best"))]
        ),
        "no thresholds",
    ),
    "unknown losses": (lambda small: small.assign(loss_absolute=np.nan * small["loss_absolute"]), "turns up"),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", RESULTS)
def test_any_result_can_be_drawn(small, name):
    change, said = RESULTS[name]
    drawn = figure.draw(experiment.found(change(small)))
    assert said in words(drawn)
    in_full(drawn)


def test_a_stored_result_is_redrawn_with_the_same_bytes(small, tmp_path, capsys):
    assert_redrawn(figure, small, tmp_path)
    capsys.readouterr()


def test_what_is_no_result_is_refused(small):
    with pytest.raises(InvalidInput, match="dataset: got no sensitivity_relative; allowed: a result"):
        figure.draw(small.drop_vars("sensitivity_relative"))


def test_a_result_without_a_closed_form_says_nothing_of_one(small):
    bare = small.assign({name: np.nan * small[name] for name in small if str(name).startswith("predicted")})
    assert "closed form" not in words(figure.draw(bare))
