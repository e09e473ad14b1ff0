"""Fine-tuning at fixed rates: what the result holds, what it says, and where nothing happens."""

import dataclasses

import numpy as np
import pytest

from experiments.fixed_rate import Config, experiment, main, run
from experiments.fixed_rate.experiment import overshoot
from experiments.fixed_rate.finding import find
from linsim import shifts, spectra
from linsim.commands.config import FinetuneConfig, NetworkConfig, PretrainConfig, TaskConfig
from linsim.errors import InvalidInput
from linsim.finding import Finding
from linsim.tasks import LinearTask
from tests.computed import computed

SMALL = Config(
    dim=4,
    seeds=2,
    task=TaskConfig(rank=3),
    network=NetworkConfig(init="gaussian", tau=3.0),
    pretrain=PretrainConfig(learning_rate=0.02, steps=500, first=5, budgets=14),
    finetune=FinetuneConfig(steps=100, learning_rates=(1e-3, 5e-3, 2e-2), strengths=1),
    angles=(30.0, 90.0),
)


@pytest.fixture(scope="module")
def result():
    return computed(experiment, SMALL)


def descended(weights, target, rate, steps):
    """Gradient descent on ||W_2 W_1 - A||^2, in NumPy."""
    first, second = weights
    for _ in range(steps):
        residual = second @ first - target
        first, second = first - 2 * rate * second.T @ residual, second - 2 * rate * residual @ first.T
    return first, second


@pytest.mark.parametrize("name", ["weak modes x 4", "rotated by 90°"])
def test_losses_are_those_of_descent_in_numpy(result, name):
    chart = result.sel(checkpoints="real", shift=name).isel(regularization=0, seed=1, learning_rate=1)
    start = [chart[f"initial_weights_{layer}"].values for layer in (1, 2)]
    budget = int(chart["pretrain_steps"][9])
    base = descended(start, chart["pretrain_target"].values, 0.02, budget)
    tuned = descended(base, chart["finetune_target"].values, 5e-3, 100)
    for task, loss in (("pretrain", "pretrain_loss_after"), ("finetune", "finetune_loss_after")):
        expected = np.sum((tuned[1] @ tuned[0] - chart[f"{task}_target"].values) ** 2)
        # Some 600 steps in float64, each of a relative error of about 1e-15.
        np.testing.assert_allclose(chart[loss][9], expected, rtol=1e-11)


SHIFTS = {
    "weak": shifts.Rescale((2, 3), 4.0),
    "little": shifts.Rescale((2, 3), 1.5),
    "reversed": shifts.Permute((3, 2, 1, 4)),
    "new": shifts.NewModes((1.0,)),
    "removed": shifts.ZeroModes((2, 3)),
    **{f"turned {angle}": shifts.Rotate(angle) for angle in (10.0, 50.0, 70.0, 85.0)},
    "both sides": shifts.Rotate(85.0, "both"),
}


@pytest.mark.parametrize("name", SHIFTS)
def test_overshoot_above_2_says_where_learning_a_mode_hurts_after_descent_to_convergence(name):
    task = LinearTask.create(spectra.power_law(4)[:3], outputs=4, inputs=4)
    transfer = shifts.shifted(task, SHIFTS[name])
    losses = []
    for stage in range(4):
        root = np.diag(np.sqrt(np.where(np.arange(4) < stage, task.strengths, 0.0)))
        first, second = descended((root, root), transfer.finetune.target, 0.02, 2500)
        losses.append(np.sum((second @ first - task.target) ** 2))
    ratio = overshoot(transfer)
    assert np.isnan(ratio[3])
    # Descent ends within 1e-6 of its limit: the slowest mode of rate 4 s / 3 has e^-100 left, or e^-10 near 90 degrees.
    hurts = np.diff(losses) > 1e-3
    np.testing.assert_array_equal(hurts, ratio[:3] > 2)


def test_overshoot_of_tasks_with_shared_vectors_is_the_ratio_of_strengths():
    task = LinearTask.create(spectra.power_law(4)[:3], outputs=4, inputs=4)
    np.testing.assert_allclose(overshoot(shifts.shifted(task, SHIFTS["weak"]))[:3], [1, 4, 4])
    # Rounding of a cosine, rounded to nine digits.
    np.testing.assert_allclose(overshoot(shifts.shifted(task, shifts.Rotate(60.0)))[:3], [2, 2, 2], rtol=1e-8)


def test_it_counts_where_modes_overshoot_and_not_where_features_come_or_go(result):
    counts = (result["counts"] & result["turns_inside"]).any(("learning_rate", "regularization"))
    for kind in ("real", "idealised"):
        assert bool(counts.sel(checkpoints=kind, shift="weak modes x 4"))
        assert not counts.sel(checkpoints=kind, shift=["features new", "features removed"]).any()


def test_what_counts_passes_both_bars_in_every_seed(result):
    last = result["pretrain_loss_after"].isel(pretrain_steps=-1)
    least = result["pretrain_loss_after"].min("pretrain_steps")
    zero = sum((2 / i) ** 2 for i in (1, 2, 3))
    # The least loss is read between budgets, too.
    np.testing.assert_allclose(result["excess"], (last - least) / zero, rtol=1e-2, atol=1e-4)
    passed = (last / least - 1 >= 0.01) & ((last - least) / zero >= 0.001)
    np.testing.assert_array_equal(result["counts"], passed.all("seed"))


def test_harm_that_is_nothing_to_the_zero_network_does_not_count(result):
    strict = run(dataclasses.replace(SMALL, checkpoints=("real",), least_excess=0.2))
    same = result.sel(checkpoints=["real"])
    np.testing.assert_array_equal(strict["counts"], same["counts"] & (same["excess"] >= 0.2).all("seed"))
    assert int(strict["counts"].sum()) < int(same["counts"].sum())


def told(found):
    return "\n".join(found.details)


def test_the_finding_counts_where_it_hurts_and_what_theory_named(result):
    found = Finding.of(result)
    hurts = (result["counts"] & result["turns_inside"]).sel(checkpoints="real").any(("learning_rate", "regularization"))
    assert (found.verdict, found.numbers["hurts"]) == ("seen", int(hurts.sum()))
    assert found.numbers["shifts"] == result.sizes["shift"]
    named = result["counts"].sel(checkpoints="idealised").isel(learning_rate=-1, regularization=0)
    agree = named.values == (result["overshoot"].max("mode") > 2).values
    assert found.numbers["as theory names"] == int(agree.sum())
    assert "\n  weak modes x 4: " in told(found)
    assert "features removed" in told(found).split("\n  not: ")[1].split(" (no turn)")[0]


def test_diverged_runs_are_told_and_do_not_count():
    wild = dataclasses.replace(SMALL.finetune, learning_rates=(5.0, 6.0, 7.0))
    result = run(dataclasses.replace(SMALL, finetune=wild, checkpoints=("real",)))
    assert not (result["counts"] & result["diverged"].all("pretrain_steps").any("seed")).any()
    found = Finding.of(result)
    assert found.verdict == "cannot tell" and "fine-tuning runs diverged" in told(found)
    assert "does not cost it" not in told(found) and "as theory has it" not in told(found)


def test_theory_is_told_right_only_at_the_rates_where_all_shifts_agree(result):
    over = result["overshoot"].max("mode") > 2
    agreed = result.assign(counts=result["counts"] * 0 + over > 0)
    assert "as theory has it, at 0.001, 0.005, 0.02." in told(find(agreed))
    assert find(agreed).numbers["as theory names"] == result.sizes["shift"]
    other = agreed["counts"].copy()
    other.loc[{"shift": "weak modes x 4", "learning_rate": 1e-3}] = False
    said = told(find(agreed.assign(counts=other)))
    assert "as theory has it, at 0.005, 0.02; theory is right on 7 of 8 shifts at the rates in turn 0.001" in said


BAD = {
    "angles": {"angles": (90.0, 10.0)},
    "checkpoints": {"checkpoints": ()},
    "factor": {"factor": -1.0},
    "depth": {"depth": 3, "network": NetworkConfig(init="lambda_balanced", balance=1e-4)},
    "dim": {"dim": 2},
    "task.rank": {"task": TaskConfig()},
    "task.covariance": {"task": TaskConfig(rank=3, covariance="aligned")},
    "finetune.regularizations": {"finetune": FinetuneConfig(strengths=3)},
}


@pytest.mark.parametrize("field", BAD)
def test_a_bad_field_is_named(field):
    with pytest.raises(InvalidInput, match=f"^{field}: got"):
        run(dataclasses.replace(SMALL, **BAD[field]))


def test_a_bad_argument_is_one_line(tmp_path, capsys):
    assert main(["--out", str(tmp_path / "x"), "--least-harm", "-1"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("least_harm: got -1") and error.count("\n") == 1
