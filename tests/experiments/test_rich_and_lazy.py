"""Rich and lazy networks: descent against NumPy, closed forms, what linear dynamics allows, and what is concluded."""

import dataclasses

import numpy as np
import pytest

from experiments.rich_and_lazy import Config, main, run
from experiments.rich_and_lazy.matching import matched_each, matched_last
from experiments.rich_and_lazy.summary import summarise
from linsim.commands.config import FinetuneConfig, PretrainConfig, ShiftConfig

CONFIG = Config(
    dim=3,
    seeds=2,
    taus=(0.0, 3.0),
    balances=(0.02, 30.0),
    levels=(0.2, 0.5),
    pretrain=PretrainConfig(learning_rate=0.002, steps=6000, first=2, budgets=30),
    finetune=FinetuneConfig(steps=50, rates=16, lowest_rate=1e-4, highest_rate=1e-2, regularizations=(0.0,)),
    shift=ShiftConfig(rescale_from=2),
)
PRETRAIN = np.diag(2 / np.arange(1, 4))
FINETUNE = np.diag([2, 4, 8 / 3])


@pytest.fixture(scope="module")
def small():
    return run(CONFIG)


def descended(first, second, target, rate, steps):
    """Gradient descent of two layers, in NumPy alone."""
    for _ in range(steps):
        slope = 2 * (second @ first - target)
        first, second = first - rate * second.T @ slope, second - rate * slope @ first.T
    return first, second


def test_losses_are_those_of_a_script_in_numpy(small):
    for balance in (0.02, 30.0):
        cell = small.sel(tau=3, balance=balance).isel(seed=1, learning_rate=9, pretrain_steps=20)
        start = (cell["initial_weights_1"].values, cell["initial_weights_2"].values)
        checkpoint = descended(*start, PRETRAIN, 0.002, int(cell["pretrain_steps"]))
        first, second = descended(*checkpoint, FINETUNE, float(cell["learning_rate"]), 50)
        for name, target in (("pretrain", PRETRAIN), ("finetune", FINETUNE)):
            # The same recurrence in float64: rounding of some 1e3 steps.
            np.testing.assert_allclose(cell[f"{name}_loss_after"], np.sum((second @ first - target) ** 2), rtol=1e-9)
        trace = 2 * 3 * sum(np.sum(layer**2) for layer in checkpoint)
        np.testing.assert_allclose(cell["hessian_trace"], trace, rtol=1e-9)


def test_closed_form_and_descent_differ_by_the_lag_of_descent(small):
    slow = small.sel(balance=0.02).isel(learning_rate=slice(9))
    ratio = slow["pretrain_loss_after"] / slow["predicted_pretrain_loss_after"]
    # A step of rate x curvature = 0.002 x 16 delays descent by half of that in its own exponents: 2 % of a loss that
    # falls by some e-folds, less on the median.
    assert float(np.abs(ratio - 1).max()) < 0.1
    assert float(np.abs(ratio - 1).median()) < 0.005


def test_no_network_beats_the_triangle_and_lazy_ones_reach_it(small):
    away = np.linalg.norm(FINETUNE - PRETRAIN)
    sides = np.sqrt(small["pretrain_loss_after"]) + np.sqrt(small["finetune_loss_after"])
    assert float(sides.min()) > away * (1 - 1e-12)  # rounding
    last = sides.sel(balance=30.0).isel(pretrain_steps=-1)
    # Linear dynamics to relative order (m / l)^2 with m = |A_ft| + |D| = 7.
    assert float(last.max()) < away * (1 + (7 / 30) ** 2)
    assert float(sides.sel(balance=0.02).isel(pretrain_steps=-1).max()) > 1.02 * away


def test_linear_dynamics_is_what_a_lazy_network_does(small):
    lazy = small.sel(balance=30.0)
    # As above; losses are squares, and budgets are read between rates to 1e-3.
    off = np.abs(lazy["curve_at_equal_loss"] / lazy["lazy_curve_at_equal_loss"] - 1).sel(tau=3)
    assert float(off.max()) < 2 * (7 / 30) ** 2 + 0.02
    bound = lazy["lazy_harm"].sel(tau=3)
    np.testing.assert_allclose(lazy["harm_at_equal_loss"].sel(tau=3, level=0.2), bound, rtol=0.15)
    assert float(small["harm_at_equal_loss"].sel(tau=3, balance=0.02, level=0.2).min()) > 3 * float(bound.max())


def test_the_bound_is_the_square_of_a_cosine(small):
    for seed in range(2):
        cell = small.sel(tau=0, balance=30.0).isel(seed=seed)
        missing = PRETRAIN - cell["initial_weights_2"].values @ cell["initial_weights_1"].values
        shift = FINETUNE - PRETRAIN
        cosine = max(np.sum(shift * missing) / np.linalg.norm(shift) / np.linalg.norm(missing), 0)
        np.testing.assert_allclose(cell["lazy_harm"], cosine**2 / (1 - cosine**2), rtol=1e-9, atol=1e-12)


def test_matching_finds_the_rate_of_an_exact_exponential():
    budgets, rates = np.array([1, 2, 4]), np.geomspace(0.01, 10, 40)
    size = np.array([1.0, 0.25, 0.5])
    after = size[:, None, None] * (rates**0.5)[None, :, None]
    on_finetune = np.exp(-rates)[None, :, None] * np.array([4.0, 2.0, 1.0])[:, None, None]
    found = matched_last(budgets, rates, after, on_finetune, np.array([0.3, 1e-9]))
    rate = -np.log(0.3)
    np.testing.assert_allclose(found.rate[0, 0], rate, rtol=2e-3)  # cubics over steps of 19 %: 0.19^3 / 6
    np.testing.assert_allclose(found.curve[0, 0], size * np.sqrt(rate), rtol=2e-3)
    np.testing.assert_allclose(found.harm[0, 0], 1, rtol=1e-6)
    assert np.isnan(found.harm[1, 0])  # no rate gets there
    tuned = matched_each(rates, after, on_finetune, np.array([0.3]))
    own = size * np.sqrt(np.log(np.array([4, 2, 1]) / 0.3))
    np.testing.assert_allclose(tuned[0, 0], own[-1] / own.min() - 1, rtol=1e-2)


def test_sensitivity_grows_in_the_rich_network_and_hardly_in_the_lazy_one(small):
    growth = small["hessian_trace"].isel(pretrain_steps=-1) / small["hessian_trace"].isel(pretrain_steps=0)
    assert float(growth.sel(tau=3, balance=0.02).min()) > 20
    assert float(growth.sel(tau=3, balance=30.0).max()) < 1.05


def test_the_conclusion_says_what_laziness_does(small):
    text = summarise(small)
    assert "At equal fine-tuning loss laziness flattens the U and does not remove it: harm is" in text
    assert "linear dynamics allow" in text
    assert "takes away the good early checkpoints" in text


def test_the_conclusion_denies_what_is_not_so(small):
    swapped = small.assign(harm_at_equal_loss=small["harm_at_equal_loss"].roll(balance=1))
    assert "Laziness does NOT reduce harm" in summarise(swapped)
    assert "The rich network shows no U" in summarise(small.assign(harm_at_equal_loss=0 * small["harm_at_equal_loss"]))
    assert "No conclusion: it takes two balances" in summarise(small.isel(balance=[0]))
    assert "too few budgets to tell" in summarise(small.isel(pretrain_steps=[0, 1]))
    lost = summarise(small.assign(pretrain_loss_after=small["pretrain_loss_after"] * np.inf))
    assert "all fine-tuning runs diverged" in lost and "nan" not in lost
    unknown = small.assign(harm_at_equal_loss=np.nan * small["harm_at_equal_loss"])
    assert "No conclusion on laziness" in summarise(unknown)


def test_the_largest_harm_is_told_where_it_is(small):
    middle = small.isel(balance=[0, 0, 1]).assign_coords(balance=[0.02, 1.0, 30.0])
    harm = middle["harm_at_equal_loss"].where(middle["balance"] != 1, 9.0)
    assert "harm is 9 at most, at |l| = 1, and" in summarise(middle.assign(harm_at_equal_loss=harm))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--shift.rescale-factor", "1"), "shift: got two tasks without a difference"),
        (("--balances", "1", "0"), "balances: got (1.0, 0.0); allowed: strictly increasing values"),
        (("--levels", "0.5", "1.5"), "levels: got (0.5, 1.5); allowed: shares below 1"),
        (("--network.tau", "3"), "network.tau: got 3.0"),
        (("--finetune.strengths", "3"), "finetune.strengths: got 3; allowed: its default"),
        (("--finetune.regularizations", "0", "1"), "finetune.regularizations: got (0.0, 1.0); allowed: one strength"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, flags, said):
    assert main([*flags, "--out", str(tmp_path / "out")]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert line.startswith(said)


def test_minibatches_have_no_closed_form_and_it_is_said():
    few = dataclasses.replace(CONFIG.pretrain, steps=20, budgets=4, batch_size=4)
    noisy = run(dataclasses.replace(CONFIG, taus=(3.0,), pretrain=few))
    assert noisy["predicted_pretrain_loss_after"].isnull().all()
    assert noisy["lazy_harm"].isnull().all()
    assert "Closed form: none: minibatches" in summarise(noisy)
