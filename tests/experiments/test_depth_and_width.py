"""Depth and width: closed forms against steps in plain NumPy, and what is found."""

import numpy as np
import pytest

from experiments.depth_and_width import Config, experiment, main, run
from experiments.depth_and_width import theory as theory
from linsim.commands.config import FinetuneConfig, NetworkConfig, PretrainConfig, chart_of
from linsim.commands.transfers import build_transfer
from linsim.errors import InvalidInput
from linsim.finding import Finding
from linsim.theory.stages import critical_time
from tests.computed import computed

PRETRAINING = PretrainConfig(steps=30_000, budgets=24, first=10)


def config(**changes):
    """Depths and widths on both sides of everything that decides, four modes."""
    fields = {
        "dim": 4,
        "depth": (1, 3),
        "width": (1, 4),
        "width_dim": 4,
        "width_steps": 6000,
        "width_budgets": 16,
        "seeds": 3,
        "starts": (4.0,),
        "network": NetworkConfig(tau=4.0),
        "pretrain": PRETRAINING,
        "finetune": FinetuneConfig(steps=400, rates=5, lowest_rate=5e-5, highest_rate=1e-2, strengths=1),
    }
    return Config(**fields | changes)


@pytest.fixture(scope="module")
def result():
    return computed(experiment, config())


def test_one_layer_costs_at_most_the_square_of_a_cotangent(result):
    transfer = build_transfer(chart_of(config(), depth=1, seeds=1, checkpoints="real"))
    change, way = (
        transfer.finetune.target - transfer.pretrain.target,
        transfer.pretrain.target - np.exp(-8.0) * np.eye(4),
    )
    # One layer in plain NumPy: the checkpoint is P_0 + (1 - e^(-2t)) (A - P_0), tuned by e^(-2T) likewise.
    shares = np.linspace(0, 1, 4001)[:, None, None]
    kept = np.exp(-2 * 0.1)
    ends = (transfer.pretrain.target - shares * way) * kept + transfer.finetune.target * (1 - kept)
    losses = np.sum((ends - transfer.pretrain.target) ** 2, axis=(1, 2))
    expected = losses[0] / losses.min() - 1
    bound = float(result["one_layer_harm"][0])
    assert bound == pytest.approx(expected, rel=1e-5)  # a minimum between 4,000 shares
    assert np.sum(change * way) > 0
    # Simulated, the best budget is one of 24; the largest rate has no turn after the start.
    harm = result["harm"][0, 0].values
    # The least loss is read between budgets, which some 1e-5 of it go with.
    assert np.all(harm <= bound + 1e-4) and harm[:2].min() > 0.8 * bound and harm[-1] < 1e-3


def test_simulated_depths_follow_the_closed_form(result):
    for depth in (1, 3):
        simulated = result["pretrain_loss_after"][0].sel(depth=depth, learning_rate=3e-4, method="nearest").values
        predicted = (
            result["predicted_pretrain_loss_after"].sel(depth=depth, learning_rate=3e-4, method="nearest").values
        )
        # Descent lags the flow by half of rate x curvature of the time: 0.005 x 13 / 2 in the steeper depth.
        assert np.median(np.abs(simulated / predicted - 1)) < 0.005
        assert np.max(np.abs(simulated - predicted)) < 0.1 * simulated.max()


def test_harm_over_stages_begins_at_the_critical_rate(result):
    transfer = build_transfer(chart_of(config(), depth=2, seeds=1, checkpoints="idealised"))
    pretrain, finetune, _ = theory.strengths_of(transfer)
    critical = float(np.min(critical_time(pretrain, finetune))) / config().finetune.steps
    harmful = result["harm"][1, 1].values > 1e-6
    np.testing.assert_array_equal(harmful, result["learning_rate"].values > critical)
    assert harmful.any() and not harmful.all()


def test_from_two_layers_on_converged_harm_is_that_of_the_stages(result):
    idealised = result["harm"][1, 1:, -1].values
    np.testing.assert_allclose(
        idealised, result["converged_harm"][1:], rtol=0.01
    )  # e^(-4 sigma eta K) = e^(-8) is left
    assert np.isnan(result["converged_harm"][0])
    assert float(result["converged_harm"][1]) == pytest.approx(
        8.0
    )  # (3 sigma)^2 / sigma^2 - 1 in the modes rescaled by 4


def test_a_width_below_the_harmful_modes_has_no_harm(result):
    assert np.all(result["width_harm"][:, 0].values < 1e-6)
    np.testing.assert_allclose(result["width_converged_harm"], [0, 8])
    assert np.all(result["width_harm"][1, 1, -1] > 7)


def test_the_mean_start_is_that_of_gaussian_layers():
    rng, tau = np.random.default_rng(0), 1.0
    for width in (3, 50):
        first = rng.normal(size=(4000, width)) * np.exp(-tau) / np.sqrt(5)  # W_1 v with 5 inputs
        second = rng.normal(size=(4000, width)) * np.exp(-tau) / np.sqrt(width)
        drawn = np.sum((first + second) ** 2, axis=1) / 4
        error = drawn.std() / np.sqrt(4000)
        assert theory.gaussian_start(2, width, 5, tau)[0] == pytest.approx(drawn.mean(), abs=4 * error)
    np.testing.assert_array_equal(theory.gaussian_start(4, 2, 5, tau)[2:], 0)


def found(result, **changes):
    """What is found in a result whose variables are others than they were."""
    return Finding.of(experiment.found(result.assign(changes)))


def test_the_finding_tells_depths_and_widths_apart(result):
    finding = Finding.of(result)
    assert finding.verdict == "seen"
    assert "none where the width (1) keeps the harmful modes out of reach" in finding.sentence
    assert finding.numbers["harm at depth 3"] == float(result["harm"][0, 1].max())
    assert finding.numbers["harm at depth 1"] == float(result["harm"][0, 0].max())
    assert finding.numbers["harm at width 4"] == float(result["width_harm"][0, 1].median("width_seed").max())
    told = experiment.tell(result)
    assert "800 %" in told and max(map(len, told.partition("\nThe claims")[0].splitlines())) <= 120


@pytest.mark.parametrize("part", ["", "width_"])
def test_too_few_budgets_of_either_part_tell_nothing(result, part):
    few = found(result.isel({f"{part}pretrain_steps": slice(1)}))
    assert (few.verdict, few.numbers) == ("cannot tell", {"budgets": 1})


def test_a_depth_and_a_width_at_which_every_run_diverged_are_named_and_nothing_is_said_of_them(result):
    some = result.copy(deep=True)
    some["harm"][:, 0], some["width_harm"][:, 0] = np.nan, np.inf
    finding = found(some)
    assert np.isnan(finding.numbers["harm at depth 1"]) and np.isnan(finding.numbers["harm at width 1"])
    assert "one layer" not in finding.sentence and "out of reach" not in finding.sentence
    assert [line.split()[1] for line in experiment.tell(some).splitlines() if line.startswith("        1")] == [
        "unstable"
    ]


@pytest.mark.thorough("by its row of test_verdicts.py")
@pytest.mark.parametrize(("starts", "verdict"), [((4.0,), True), ((1.0,), False)])
def test_the_rate_decides_less_in_deeper_networks_from_small_starts_only(starts, verdict):
    rates = FinetuneConfig(steps=400, rates=9, lowest_rate=5e-5, highest_rate=1e-2, strengths=1)
    few = {"width": (4,), "width_steps": 500, "width_budgets": 3, "seeds": 1, "checkpoints": ("real",)}
    steps = PretrainConfig(steps=100_000, budgets=40, first=10)
    found = Finding.of(run(config(depth=(2, 4), starts=starts, finetune=rates, pretrain=steps, **few)))
    assert (found.numbers["starts"], found.numbers["starts with less"]) == (1, int(verdict))
    assert ("the deeper, the less" in found.sentence) is verdict


def test_starts_that_say_otherwise_are_named(result):
    turns = np.array([[[1.0, 100.0], [1.0, 5.0]], [[1.0, 100.0], [1.0, 50.0]]])
    cells = ("start_tau", "start_depth", "learning_rate")
    two = result.isel(learning_rate=[0, 1]).drop_dims(["start_tau", "start_depth"])
    two = two.assign(start_inflection_steps=(cells, turns), start_harm=(cells, np.ones((2, 2, 2))))
    told = found(two.assign_coords(start_tau=[5.0, 1.0], start_depth=[2, 4])).sentence
    assert "the deeper, the less the rate decides where it starts from s_0 = 4.5e-05, not from 0.14" in told


def test_errors_of_inflections_are_ratios(result):
    off = found(
        result,
        predicted_inflection_steps=2.5 * result["inflection_steps"][0],
        width_predicted_inflection_steps=result["width_inflection_steps"][0].median("width_seed") / 3,
    )
    assert any("the closed form are off by a factor of 2.5 in the median" in line for line in off.details)
    assert any("are off by a factor of 3 in the median, at most a factor of 3" in line for line in off.details)


def test_bad_input_is_one_line(tmp_path, capsys):
    for flags, said in (
        (["--depth", "0", "2"], "depth: got 0"),
        (["--depth", "3", "2"], "depth: got (3, 2)"),
        (["--width", "4", "4"], "width: got (4, 4)"),
        (["--network.hidden", "3"], "network.hidden: got 3"),
        (["--network.init", "gaussian"], "network.init: got gaussian"),
        (["--solver", "dense"], "solver: got dense"),
        (["--finetune.strengths", "3"], "finetune.strengths: got 3 strengths"),
    ):
        assert main([*flags, "--out", str(tmp_path / "out")]) == 2
        told = capsys.readouterr().err
        assert said in told and told.count("\n") == 1
    with pytest.raises(InvalidInput, match="checkpoints: got "):
        run(config(checkpoints=()))
