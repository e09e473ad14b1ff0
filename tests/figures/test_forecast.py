"""Pictures of forecasts and of their scores, from any result."""

import numpy as np
import pytest

from experiments import forecast as forecasting
from experiments import forecast_scores as judging
from figures import forecast, forecast_scores
from linsim.errors import InvalidInput
from linsim.finding import Finding
from tests.computed import computed
from tests.experiments.test_forecast_scores import CONFIG
from tests.figures.pictures import assert_redrawn, in_full, words


@pytest.fixture(scope="module")
def told():
    return computed(forecasting.experiment, forecasting.Config())


@pytest.fixture(scope="module")
def scores():
    return computed(judging.experiment, CONFIG)


def test_a_panel_is_a_run_with_its_chances(told):
    figure = forecast.draw(told)
    text = words(figure)
    assert Finding.of(told).sentence in text
    assert len(figure.get_axes()) == told.sizes["run"]
    for run, chance in zip(told["run"].values, told["probability"].isel(horizon=-1).values, strict=True):
        assert str(run) in text and f"{100 * chance:.0f}%" in text


def test_a_run_without_losses_can_be_drawn():
    result = computed(forecasting.experiment, forecasting.Config(example="published"))
    assert "cannot tell" in words(forecast.draw(result))


def test_rows_are_domains(scores):
    figure = forecast_scores.draw(scores)
    text = words(in_full(figure))
    for part in (Finding.of(scores).sentence, *map(str, scores["domain"].values), *map(str, scores["policy"].values)):
        assert part in text


def test_scores_that_are_not_known_are_left_out(scores):
    result = judging.experiment.found(scores.assign(wrong=np.nan * scores["wrong"]))
    assert Finding.of(result).sentence in words(in_full(forecast_scores.draw(result)))


@pytest.mark.parametrize(("figure", "name"), [(forecast, "told"), (forecast_scores, "scores")])
def test_a_stored_result_is_redrawn_with_the_same_bytes(figure, name, request, tmp_path, capsys):
    assert_redrawn(figure, request.getfixturevalue(name), tmp_path)
    capsys.readouterr()


def test_what_is_no_result_is_refused(told):
    with pytest.raises(InvalidInput, match="allowed: a result of forecast"):
        forecast.draw(told.drop_vars("probability"))
