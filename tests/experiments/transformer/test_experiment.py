"""The transformer experiment from configuration to result, at a size of seconds."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from experiments.transformer import Config, main, run
from experiments.transformer.config import (
    FinetuneSettings,
    LanguageSettings,
    MonitorSettings,
    NoiseSettings,
    PretrainSettings,
    Shape,
)
from experiments.transformer.experiment import _keys
from linsim.errors import InvalidInput
from linsim.finding import Finding
from tests.experiments.transformer.small import CONFIG


@pytest.fixture(scope="module")
def small():
    return run(CONFIG)


@pytest.fixture(scope="module")
def extreme():
    """At a vanishing rate, one of `small`, and one that is far too large."""
    rates = dataclasses.replace(CONFIG.finetune, learning_rates=(1e-12, 1e-2, 1e3))
    return run(dataclasses.replace(CONFIG, finetune=rates))


@pytest.mark.thorough("by test_a_verdict_has_a_configuration, where a rate diverges")
def test_fine_tuning_at_a_vanishing_rate_leaves_every_checkpoint_as_it_was(extreme):
    for moment in ("pretrain", "kept", "finetune"):
        after = extreme[f"{moment}_loss_after"].isel(learning_rate=0)
        np.testing.assert_allclose(after, extreme[f"{moment}_loss_before"], rtol=1e-5)  # float32


@pytest.mark.thorough("by test_a_verdict_has_a_configuration, where a rate diverges")
def test_a_rate_does_not_depend_on_the_others_in_the_sweep(extreme, small):
    for name in ("pretrain_loss_after", "finetune_loss_after", "harm", "displacement"):
        np.testing.assert_array_equal(extreme[name].sel(learning_rate=1e-2), small[name].sel(learning_rate=1e-2))


@pytest.mark.thorough("by test_a_verdict_has_a_configuration, where a rate diverges")
def test_a_rate_that_is_far_too_large_is_flagged_and_nothing_is_raised(extreme):
    assert not extreme["diverged"].sel(learning_rate=1e-2).any()
    assert extreme["diverged"].sel(learning_rate=1e3).all()
    assert np.isnan(extreme["harm"].sel(learning_rate=1e3)).all()
    assert "6 of 18 fine-tuning runs diverged." in Finding.of(extreme).details


VERDICTS = {"a rate that diverges": (dataclasses.replace(CONFIG.finetune, learning_rates=(1e3,)), "cannot tell")}
"""Of what is quick to compute; stored results have the others."""


@pytest.mark.parametrize("name", VERDICTS)
def test_a_verdict_has_a_configuration(name):
    tuning, verdict = VERDICTS[name]
    assert Finding.of(run(dataclasses.replace(CONFIG, finetune=tuning))).verdict == verdict


def test_noise_of_the_monitor_and_of_the_losses_are_the_same_thing(small):
    # Other text, other draws, sampled instead of expected targets; relative noise of 0.1 in both.
    value, error = (small[part].sel(measure="noise_increase") for part in ("monitor", "monitor_error"))
    rise, other = (small[f"rise_under_relative_noise{part}"].isel(relative_noise=0) for part in ("", "_error"))
    assert np.all(np.abs(value - rise) < 5 * np.hypot(error, other))
    assert np.all(value > 0)


def test_the_residual_stream_is_measured_at_its_first_scale(small):
    first, plain = small["rise_at_first_scale"], small["rise_under_absolute_noise"]
    np.testing.assert_array_equal(first[0], plain[0])
    assert np.all(first[1:] != plain[1:])


def test_pre_training_learns_the_language(small):
    uniform = np.log(6) - json.loads(small.attrs["entropies"])[0]
    assert np.all(small["pretrain_loss_before"][-1] < 0.7 * uniform)
    assert np.all(small["pretrain_loss_before"] > 0)


def test_fine_tuning_learns_the_shifted_language(small):
    last = small.isel(pretrain_steps=-1)
    assert np.all(last["finetune_loss_after"].sel(learning_rate=1e-2) < last["finetune_loss_before"])


def test_the_same_configuration_gives_the_same_numbers_and_progress_ends_at_all_steps(small):
    told = []
    assert run(CONFIG, lambda done, total: told.append((done, total))).identical(small)
    done, totals = zip(*told, strict=True)
    assert set(totals) == {90 * 2 + 3 * 2 * 2 * 15}
    assert list(done) == sorted(set(done))
    assert done[-1] == totals[0]


def test_more_seeds_never_change_old_ones(small):
    more = run(dataclasses.replace(CONFIG, seeds=3))
    for name in small.data_vars:
        np.testing.assert_array_equal(more[name].isel(seed=slice(2)), small[name])


def test_seeds_share_the_language_but_not_weights_and_text(small):
    assert np.all(small["pretrain_loss_after"].std("seed") > 0)


def test_names_units_and_origin_are_in_the_result(small):
    expected = {"pretrain_loss_before", "pretrain_loss_after", "finetune_loss_after", "forgetting", "diverged"}
    assert expected | {"inflection_steps", "harm", "monitor", "alarm_steps", "rank_correlation"} <= set(small.data_vars)
    assert all("long_name" in variable.attrs for variable in small.variables.values())
    assert {"config", "versions", "device", "solver_reason"} <= set(small.attrs)
    assert json.loads(small.attrs["config"])["seeds"] == json.loads(small.attrs["size"])["seeds"] == 2
    rise = small["pretrain_loss_after"] - small["pretrain_loss_before"]
    np.testing.assert_allclose(small["forgetting"], rise.transpose(*small["forgetting"].dims), rtol=1e-6)


def test_longer_fills_only_what_was_left_open():
    size = Config(longer=True, seeds=2, pretrain=PretrainSettings(budgets=5)).size()
    assert (size.seeds, size.budgets) == (2, 5)
    assert size.steps > Config().size().steps


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"seeds": 0}, "seeds"),
        ({"model": Shape(width=10, heads=4)}, "model.heads"),
        ({"language": LanguageSettings(tokens=1)}, "language.tokens"),
        ({"language": LanguageSettings(where="odd")}, "language.where"),
        ({"finetune": FinetuneSettings(learning_rates=(1e-2, 1e-3))}, "finetune.learning_rates"),
        ({"pretrain": PretrainSettings(first=0)}, "pretrain.first"),
        ({"noise": NoiseSettings(pairs=1)}, "noise.pairs"),
        ({"monitors": MonitorSettings(microbatches=1)}, "monitors.microbatches"),
        ({"monitors": MonitorSettings(noise=0.0)}, "monitors.noise"),
    ],
)
def test_a_field_outside_its_domain_is_named(change, field):
    with pytest.raises(InvalidInput, match=f"^{field}: got"):
        run(dataclasses.replace(CONFIG, **change))


def test_the_command_line_saves_a_result_and_refuses_a_bad_rate(tmp_path, capsys):
    assert main(["--out", str(tmp_path / "bad"), "--pretrain.learning-rate", "-1"]) == 2
    assert "pretrain.learning_rate: got -1" in capsys.readouterr().err
    assert not (tmp_path / "bad").exists()
    model = "--model.layers 1 --model.width 8 --model.heads 2 --model.context 6 --language.tokens 6 --evaluation 64"
    sizes = "--seeds 2 --pretrain.steps 6 --pretrain.first 2 --pretrain.budgets 3 --finetune.steps 2"
    sizes += " --finetune.learning-rates 1e-3 1e-2"  # shapes as in `small`: compiled already
    same = "--pretrain.batch 8 --finetune.batch 8 --noise.pairs 3 --noise.absolute 0.01 0.1 --noise.relative 0.1 0.3"
    read = "--monitors.microbatches 8 --monitors.sequences 16 --monitors.probes 4 --monitors.lanczos 8"
    read += " --monitors.noise 0.1"
    folder = tmp_path / "good"
    assert main(["--out", str(folder), *model.split(), *sizes.split(), *same.split(), *read.split()]) == 0
    assert "fine-tuning rate" in capsys.readouterr().out
    assert (folder / "transformer.png").is_file()


def test_keys_of_seeds_do_not_depend_on_their_number():
    root = jax.random.key(0)
    np.testing.assert_array_equal(jax.random.key_data(_keys(root, 1, 5))[:3], jax.random.key_data(_keys(root, 1, 3)))
