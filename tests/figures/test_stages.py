"""The picture of harm feature by feature: theory and simulation, whatever does harm."""

import numpy as np
import pytest
import xarray as xr

from experiments.stages import experiment
from figures import stages as figure
from linsim.errors import InvalidInput
from linsim.finding import Finding
from tests.figures.pictures import assert_redrawn, in_full, words


def result(seeds=3, highest=6.0, features=3):
    """Features that have converged from idealised stages, and that fine-tuning learns by itself from real ones."""
    kinds, rates, penalties = ["idealised", "real"], np.array([1e-4, 1e-3]), np.array([0.0, 1.0])
    ratio = np.random.default_rng(0).uniform(-1, highest, (features, seeds))
    r, p = ratio[:, None, :], penalties[:, None]
    reached, alone = np.maximum((r + p) / (1 + p), 0), np.maximum(r / (1 + p), 0)
    limit = np.stack([(reached - 1) ** 2 - 1, (reached - 1) ** 2 - (alone - 1) ** 2])
    harm = np.repeat(limit[:, :, None], len(rates), axis=2)
    loss = 100 + np.concatenate([np.zeros_like(harm[:, :1]), np.cumsum(harm, axis=1)], axis=1)
    cells = ("checkpoint", "stage", "learning_rate", "regularization", "seed")
    by_feature = ("checkpoint", "feature", *cells[2:])
    pull, every = 2 + np.geomspace(0.1, 10, 20), np.linspace(-1, 6, 50)
    variables = {
        "pretrain_loss_after": (cells, loss),
        "predicted_pretrain_loss_after": (cells, loss),
        "diverged": (cells, np.zeros(loss.shape, dtype=bool)),
        "feature_harm": (by_feature, harm),
        "predicted_feature_harm": (by_feature, harm),
        "limit_harm": (("feature", "regularization", "seed"), limit[0]),
        "limit_harm_learned_anyway": (("feature", "regularization", "seed"), limit[1]),
        "own_time": (("feature", "regularization", "seed"), np.where(r > 0, 0.01, np.inf) + 0 * limit[0]),
        "effort": (by_feature[1:], 10.0 ** np.arange(harm[0].size).reshape(harm[0].shape) ** 0.2),
        "boundary_effort": ("boundary_pull", 1 / pull),
        "ratio": (("feature", "seed"), ratio),
        "limit_curve": (("checkpoint", "regularization", "curve_ratio"), np.ones((2, 2, 50)) * every),
        "critical_ratio": (("checkpoint", "regularization"), np.array([[2, 3], [np.nan, 1.5]])),
        "relearning": (("feature", "learning_rate", "regularization", "seed"), np.ones(harm[0].shape)),
        "relative_ratio": (("feature", "regularization", "seed"), r / (1 + p / 2)),
        "relearning_edge": ("edge", np.array([0.1, 1.0, 10.0])),
        "simulated_threshold": ("range", np.array([2.0, np.nan])),
        "turned_harm": (("rotate_side", "rotate_degrees", "feature"), np.zeros((3, 2, features))),
        "turned_limit": (("rotate_side", "rotate_degrees", "feature"), np.zeros((3, 2, features))),
    }
    coords = {"checkpoint": np.asarray(kinds, np.dtypes.StringDType()), "stage": np.arange(features + 1)}
    coords |= {
        "learning_rate": rates,
        "regularization": penalties,
        "seed": np.arange(seeds),
        "rotate_side": np.asarray(["right", "both", "opposite"], np.dtypes.StringDType()),
        "rotate_degrees": [20.0, 40.0],
        "boundary_pull": pull,
        "curve_ratio": every,
    }
    return xr.Dataset(variables, coords, {"depth": 2, "finetune_steps": 1000, "harmful": 0.01})


def test_theory_is_drawn_as_lines_and_simulation_as_markers():
    dataset = result()
    drawn = figure.draw(dataset)
    stages, harm, plane, real, *_ = drawn.get_axes()
    theory = [line for line in stages.lines if line.get_marker() == "None"]
    simulated = [line for line in stages.lines if line.get_linestyle() == "None"]
    assert len(theory) == len(simulated) == 4
    hollow = [line for line in harm.lines if line.get_markerfacecolor() == "white" and len(line.get_xdata())]
    assert len(hollow) == 2
    assert sum(len(line.get_xdata()) for line in hollow) == 18
    crosses = [line for line in real.lines if line.get_marker() == "x"]
    assert sum(len(line.get_xdata()) for line in crosses) == 2 * int((dataset["ratio"] > 0).sum())
    bad = next(line for line in plane.lines if line.get_label() == "harm")
    assert len(bad.get_xdata()) == int((dataset["feature_harm"].sel(checkpoint="idealised") > 0.01).sum())


def test_the_title_is_what_was_found():
    dataset = experiment.found(result())
    assert Finding.of(dataset).sentence in words(figure.draw(dataset))


RESULTS = {
    "one seed": lambda: result(seeds=1),
    "one feature": lambda: result(features=1),
    "one penalty": lambda: result().isel(regularization=[0]),
    "no closed form": lambda: result().drop_vars(["predicted_pretrain_loss_after", "predicted_feature_harm"]),
    "all diverged": lambda: result().assign(
        feature_harm=lambda x: x["feature_harm"] * np.nan, diverged=lambda x: x["diverged"] | True
    ),
    "no harm": lambda: result(highest=0.9),
}


@pytest.mark.parametrize("name", RESULTS)
def test_any_result_can_be_drawn(name):
    drawn = figure.draw(RESULTS[name]())
    in_full(drawn)


def test_a_stored_result_is_redrawn_with_the_same_bytes(tmp_path, capsys):
    assert_redrawn(figure, result(), tmp_path)
    capsys.readouterr()
    with pytest.raises(InvalidInput, match="a result of stages"):
        figure.draw(result().drop_vars("ratio"))
