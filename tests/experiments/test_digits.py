"""The task from handwritten digits."""

import dataclasses

import numpy as np
import pytest

from experiments.digits import Config, build_transfer, run
from linsim.commands.config import FinetuneConfig, PretrainConfig
from linsim.errors import InvalidInput
from linsim.finding import Finding


@pytest.mark.parametrize("shift", ["new_digits", "rotated", "inverted"])
def test_both_tasks_are_the_least_squares_fit_of_the_images(shift):
    transfer = build_transfer(Config(shift=shift))
    for task in (transfer.pretrain, transfer.finetune):
        assert task.target.shape == (10, 64)
        # One-hot outputs of variance 0.09 each (0.16 for five classes) are only partly linear in the pixels.
        assert 0.1 < task.label_noise < 0.35
        assert 0 < task.zero_loss < 1


def test_inverted_images_ask_for_the_opposite_map():
    transfer = build_transfer(Config(shift="inverted"))
    np.testing.assert_allclose(transfer.finetune.target, -transfer.pretrain.target, atol=1e-10)


def test_fewer_principal_components_keep_less_of_the_images():
    few, all_of_them = build_transfer(Config(dim=5)), build_transfer(Config())
    assert few.pretrain.target.shape == (10, 5)
    assert few.pretrain.zero_loss < all_of_them.pretrain.zero_loss
    with pytest.raises(InvalidInput, match="dim: got 65"):
        build_transfer(Config(dim=65))


@pytest.fixture(scope="module")
def small():
    config = Config(
        seeds=2,
        pretrain=PretrainConfig(learning_rate=0.05, steps=10_000, budgets=12),
        finetune=FinetuneConfig(steps=500, learning_rates=(1e-4, 2.15e-3), regularizations=(0.0, 10.0)),
    )
    return run(config)


def test_extra_pre_training_is_harmful_on_digits_at_a_middle_rate_without_a_penalty(small):
    assert np.all(small["harm"].values[1, 0] > 0.05)
    assert np.all(small["inflection_steps"].values[1, 0] < 5000)
    assert np.isnan(small["inflection_steps"].values[0]).all()
    assert np.isnan(small["inflection_steps"].values[1, 1]).all()


def test_the_finding_says_whether_and_why(small):
    found = Finding.of(small)
    assert found.verdict == "seen"
    cell = small.isel(learning_rate=1, regularization=0)
    named = {"share": 0.25, "learning_rate": 2.15e-3, "regularization": 0.0, "longest": 10_000}
    assert {name: found.numbers[name] for name in named} == named
    assert found.numbers["harm"] == float(cell["harm"].median())
    assert found.numbers["best"] < 5000
    assert "Why: between the two the pre-training loss before fine-tuning changed by -" in found.details[0]


def test_configuration_is_checked():
    with pytest.raises(InvalidInput, match="depth: got 0"):
        run(dataclasses.replace(Config(), depth=0))
