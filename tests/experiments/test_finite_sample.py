"""Samples of the fine-tuning task: against NumPy, and every verdict by a configuration."""

import dataclasses

import numpy as np
import pytest

from experiments.finite_sample import Config, experiment, main, run
from linsim.commands.config import FinetuneConfig, NetworkConfig, PretrainConfig, ShiftConfig
from linsim.finding import Finding

SMALL = Config(
    dim=4,
    seeds=4,
    factors=(1.0,),
    examples=(6,),
    noise=2.0,
    shift=ShiftConfig(rescale_from=2),
    network=NetworkConfig(tau=4.0),
    pretrain=PretrainConfig(learning_rate=0.01, steps=1500, budgets=12),
    finetune=FinetuneConfig(steps=100, learning_rates=(1e-2,), regularizations=(0.0,)),
)


@pytest.fixture(scope="module")
def result():
    return run(dataclasses.replace(SMALL, factors=(0.0, 1.0), examples=(6, 200)))


def test_losses_are_those_of_descent_on_the_sample(result):
    sample, size = 2, 6
    rng = np.random.default_rng([0, sample])
    goal = np.diag(2 / np.arange(1.0, 5.0))
    X = rng.standard_normal((size, 4))
    Y = X @ goal.T + 2.0 * rng.standard_normal((size, 4))
    for budget in result["pretrain_steps"].values[[0, 6, -1]]:
        first, second = np.exp(-4.0) * np.eye(4), np.exp(-4.0) * np.eye(4)
        for _ in range(budget):
            pull = 2 * 0.01 * (second @ first - goal)
            first, second = first - second.T @ pull, second - pull @ first.T
        for _ in range(100):
            pull = 2 * 1e-2 * (X @ first.T @ second.T - Y).T @ X / size
            first, second = first - second.T @ pull, second - pull @ first.T
        cell = {"rescale_factor": 1.0, "examples": size, "seed": sample, "pretrain_steps": budget}
        # Rounding of a hundred contracting steps, and of least squares on six examples.
        np.testing.assert_allclose(
            result["heldout_loss_after"].sel(cell).item(), np.sum((second @ first - goal) ** 2), rtol=1e-9
        )


def test_more_examples_come_nearer_to_exact_gradients(result):
    last = result["heldout_loss_after"].isel(pretrain_steps=-1, learning_rate=0)
    off = abs(last - last.sel(examples=np.inf)).median("seed")
    # The cost of a sample goes as 1 / n, 33 times here; medians of four samples scatter.
    assert bool((off.sel(examples=6) > 5 * off.sel(examples=200)).all())


@pytest.mark.thorough("by the claim on finite samples")
def test_the_first_order_in_the_noise_is_the_mean_over_many_small_noises():
    config = dataclasses.replace(SMALL, seeds=40, examples=(40,), noise=0.5, inputs="orthogonal")
    found = run(config).isel(rescale_factor=0, learning_rate=0)
    told, seen = found["predicted_heldout_loss_after"].sel(examples=40), found["heldout_loss_after"].sel(examples=40)
    error = seen.std("seed") / np.sqrt(40)
    # Steps of 1e-2 x curvature 8 lag by a few percent of what is still missing; three standard errors of the mean.
    assert bool((abs(seen.mean("seed") - told) < 3 * error + 0.04 * told).all())


VERDICTS = {
    "a noisy sample of the same task": ({}, "seen"),
    "hardly any noise": ({"noise": 0.01}, "not seen"),
    "nearly no fine-tuning": ({"finetune": dataclasses.replace(SMALL.finetune, steps=2)}, "not seen"),
    "features that fine-tuning has to unlearn": ({"factors": (0.0,), "noise": 0.1}, "cannot tell"),
    "rates that diverge": ({"finetune": dataclasses.replace(SMALL.finetune, learning_rates=(50.0,))}, "cannot tell"),
    "two budgets": ({"pretrain": dataclasses.replace(SMALL.pretrain, budgets=2)}, "cannot tell"),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", VERDICTS)
def test_every_verdict_has_a_configuration(name):
    changes, verdict = VERDICTS[name]
    found = run(dataclasses.replace(SMALL, **changes))
    assert Finding.of(found).verdict == verdict
    assert "nan" not in experiment.tell(found)


def test_what_exact_gradients_do_as_well_is_not_put_down_to_the_sample(result):
    control = result["heldout_turns"].sel(examples=np.inf).all(["seed", "learning_rate"])
    assert control.values.tolist() == [True, False]
    finding = Finding.of(result)
    assert finding.verdict == "seen" and finding.numbers["rescale_factor"] == 1
    assert any("At x 0 exact gradients turn as well" in line for line in finding.details)
    assert max(map(len, experiment.tell(result).splitlines())) <= 120


def test_bad_input_is_one_line(tmp_path, capsys):
    for flags, said in (
        (["--factors", "2", "1"], "factors: got (2.0, 1.0)"),
        (["--examples", "3"], "examples: got 3"),
        (["--noise", "-1"], "noise: got -1.0"),
        (["--shift.rescale-factor", "2"], "shift.rescale_factor: got 2.0"),
        (["--finetune.regularizations", "0", "1"], "finetune.regularizations: got (0.0, 1.0)"),
    ):
        assert main([*flags, "--out", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1
