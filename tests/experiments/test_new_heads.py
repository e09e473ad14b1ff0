"""New heads on self-supervised features: the flow against SciPy, what thresholds decide, what is concluded."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from experiments.new_heads import Config, experiment, main
from experiments.new_heads.experiment import target
from experiments.new_heads.finding import find, table
from experiments.new_heads.reading import HARDLY, NOTHING, read
from linsim.theory.objectives.new_heads import headed
from tests.computed import computed

CONFIG = Config(
    dim=3,
    seeds=2,
    initial_scale=0.05,
    steps=300,
    budgets=7,
    ratios=(0.1, 0.6, 0.75, 1.6),
    long=600,
)
VERDICTS = {
    "targets beyond the thresholds": (CONFIG, "seen"),
    "targets that are small": (replace(CONFIG, ratios=(0.05, 0.08, 0.1, 0.15), long=1500), "not seen"),
    "harm with some objectives alone": (replace(CONFIG, ratios=(0.1, 0.2, 0.3, 0.45)), "cannot tell"),
    "heads that are hardly trained": (replace(CONFIG, long=7), "cannot tell"),
    "rates that diverge": (replace(CONFIG, finetune_rate=5.0), "cannot tell"),
    "too few budgets": (replace(CONFIG, budgets=2), "cannot tell"),
}
DATA = np.arange(1, 4) ** -0.5
LIMITS = {"autoencoder": np.ones(3), "contrastive": DATA, "whitening": 1 / DATA}


@pytest.fixture(scope="module")
def small():
    return computed(experiment, CONFIG)


def loss_of(objective, weights):
    """The representation loss, written out."""
    square = weights.T @ weights
    if objective == "autoencoder":
        return np.trace((square - np.eye(3)) @ np.diag(DATA) @ (square - np.eye(3)))
    if objective == "contrastive":
        return np.sum((square - np.diag(DATA)) ** 2)
    return np.sum((weights @ np.diag(DATA) @ weights.T - np.eye(3)) ** 2)


def slope_of(objective, weights):
    """Its gradient, written out."""
    off, data = weights.T @ weights - np.eye(3), np.diag(DATA)
    if objective == "autoencoder":
        return 2 * weights @ (off @ data + data @ off)
    if objective == "contrastive":
        return 4 * weights @ (weights.T @ weights - data)
    return 4 * (weights @ data @ weights.T - np.eye(3)) @ weights @ data


def flowed(velocity, start, time):
    told = solve_ivp(lambda _, flat: velocity(flat), (0, time), start.ravel(), "DOP853", rtol=1e-9, atol=1e-12)
    return told.y[:, -1]


def scripted(objective, begun, asked, before, after):
    """W and H after both flows, by SciPy."""
    own = flowed(lambda flat: -slope_of(objective, flat.reshape(3, 3)).ravel(), begun, before)

    def velocity(flat):
        weights, top = flat.reshape(2, 3, 3)
        error = top @ weights - asked
        return -2 * np.stack([top.T @ error, error @ weights.T]).ravel()

    return flowed(velocity, np.concatenate([own, np.zeros(9)]), after).reshape(2, 3, 3)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("objective", list(LIMITS))
def test_losses_are_those_of_a_script_in_numpy(small, objective):
    for seed, bases, asked, budget, ratio in ((0, "modes", "all", 4, 3), (1, "random", "weak half", 5, 1)):
        begun = np.random.default_rng([0, seed]).standard_normal((3, 3)) * 0.05 / np.sqrt(3)
        share, steps = CONFIG.ratios[ratio], int(small["pretrain_steps"][budget])
        wanted = target(CONFIG, LIMITS[objective], bases, asked, share, seed)
        for duration, after in (("short", CONFIG.short), ("long", CONFIG.long)):
            weights, top = scripted(objective, begun, wanted, steps * 0.02, after * 0.08)
            place = {"objective": objective, "bases": bases, "asked": asked, "duration": duration}
            cell = small.sel(place).isel(seed=seed, pretrain_steps=budget, ratio=ratio)
            # Runge-Kutta: (rate x curvature)^5 / 120 a step where it is curved, rate x curvature = 0.8 at most.
            np.testing.assert_allclose(cell["pretrain_loss_after"], loss_of(objective, weights), rtol=5e-3, atol=1e-6)
            left = np.sum((top @ weights - wanted) ** 2) / np.sum(wanted**2)
            np.testing.assert_allclose(cell["finetune_left"], left, rtol=5e-3, atol=1e-6)


@pytest.mark.parametrize("objective", list(LIMITS))
def test_targets_have_the_limits_for_strengths(objective):
    limit = LIMITS[objective]
    along, turned = (target(CONFIG, limit, bases, "all", 0.5, 0) for bases in ("modes", "random"))
    np.testing.assert_allclose(along.T @ along, np.diag((limit / 2) ** 2), atol=1e-14)
    np.testing.assert_allclose(np.linalg.svd(turned)[1], np.sort(limit)[::-1] / 2)
    weak = target(CONFIG, limit, "modes", "weak half", 0.5, 0)
    np.testing.assert_allclose(weak.T @ weak, np.diag((limit / 2) ** 2 * [0, 1, 1]), atol=1e-14)


def test_modes_learned_in_full_end_where_theory_says(small):
    last = small["strength_after"].sel(bases="modes", asked="all").isel(pretrain_steps=-1).transpose(..., "ratio")
    # What Runge-Kutta breaks of the conserved w^2 - h^2, and what pre-training leaves, e^(-8 c x 6) at most.
    np.testing.assert_allclose(last, np.broadcast_to(headed(1.0, list(CONFIG.ratios)), last.shape), rtol=5e-3)


def test_thresholds_decide_along_the_modes(small):
    for name, ratio in (("hardly", HARDLY), ("nothing", NOTHING)):
        assert bool((small[f"mode_right_{name}"] == 1).all())
        assert bool((small[f"right_{name}"].sel(bases="modes") == 1).all())
        # Between ratios by cubics; the start is no strength of 0, which is worth a few per cent of the limit.
        np.testing.assert_allclose(small[f"threshold_{name}"].sel(bases="modes"), ratio, rtol=0.06)


def test_other_thresholds_would_be_refuted(small):
    told = read(small[_RAW].assign_coords(ratio=small["ratio"] * 1.3))
    assert float(told["mode_right_hardly"].mean()) < 1
    assert float(told["right_hardly"].sel(bases="modes").mean()) < 1


_RAW = [
    *("pretrain_loss_before", "pretrain_loss_after", "finetune_left", "diverged", "strength_before", "strength_after"),
    *("limit", "zero_loss"),
]


def test_bases_without_a_difference_do_not_count(small):
    random = small["right_hardly"].sel(bases="random")
    assert bool(random.sel(objective="autoencoder").isnull().all())
    assert bool(random.sel(objective="whitening").notnull().any())
    assert not any("autoencoder, random" in line for line in table(small))


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", VERDICTS)
def test_every_verdict_has_a_configuration(small, name):
    config, verdict = VERDICTS[name]
    found = find(small.isel(pretrain_steps=[0, -1]) if config.budgets == 2 else computed(experiment, config))
    assert found.verdict == verdict, found.sentence


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--dim", "1"], "dim: got 1"),
        (["--ratios", "1", "0.5"], "ratios: got"),
        (["--short", "2000"], "short: got 2000; allowed: at least 1, and below --long"),
        (["--finetune-rate", "0"], "finetune_rate: got 0"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(flags, told, refused):
    assert told in refused(main, flags)
