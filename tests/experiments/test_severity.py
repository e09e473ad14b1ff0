"""The three questions side by side: what is read of each result, what is concluded, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from experiments import data_distribution, objectives, optimizers, severity
from experiments.objectives.tasks import HARD, RELABELLED
from experiments.severity import Config, experiment, main
from experiments.severity.questions import EFFORT, RECIPE
from linsim.errors import InvalidInput
from linsim.finding import Finding
from linsim.storage import store
from linsim.sweeping.running import running
from tests.computed import computed
from tests.experiments import test_data_distribution, test_objectives, test_optimizers

ASKED = {"objectives": objectives, "optimizers": optimizers, "data_distribution": data_distribution}
CONFIGS = {
    "objectives": test_objectives.CONFIG,
    "optimizers": test_optimizers.ALONE,
    "data_distribution": test_data_distribution.ALONE,
}
# Margins that hardly are there yet, and modes that are weakened.
LONGER = (*test_objectives.CONFIG.times, 16.0, 32.0, 64.0)
HARMLESS = {
    "objectives": replace(CONFIGS["objectives"], factor=0.5, steps=40, first=5, level=0.9, times=LONGER),
    **{name: replace(CONFIGS[name], factor=0.5) for name in ("optimizers", "data_distribution")},
}
UNREACHED = HARMLESS | {"data_distribution": replace(CONFIGS["data_distribution"], level=1e-9)}
VERDICTS = {
    "each of the three": (CONFIGS, "seen"),
    "nothing does harm": (HARMLESS, "not seen"),
    "a level that no data reach": (UNREACHED, "cannot tell"),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Configurations -> the folders of their results, each computed once."""
    made = {}

    def folder(name, config):
        if (name, config) not in made:
            with running(recheck=4):
                result = computed(ASKED[name].experiment, config)
            made[name, config] = tmp_path_factory.mktemp(name)
            store.save(result, made[name, config])
        return made[name, config]

    return lambda configs: {name: folder(name, config) for name, config in configs.items()}


@pytest.mark.sampled(1)
@pytest.mark.parametrize("case", VERDICTS)
def test_every_verdict_has_results_that_lead_to_it(folders, case):
    configs, verdict = VERDICTS[case]
    result = experiment.run(Config(**folders(configs)))
    assert Finding.of(result).verdict == verdict, Finding.of(result).sentence
    assert "nan" not in experiment.tell(result)


def test_numbers_are_those_of_the_results(folders):
    places = folders(CONFIGS)
    told = experiment.run(Config(**places))
    by_name = dict(zip(zip(told["case"].values, told["name"].values, strict=True), told["harm"].values, strict=True))
    recipes = list(told["recipe"].values)

    muon = (
        store.load(places["optimizers"])
        .isel(setting=-1, seed=0)
        .sel(arm="pretrain", task_shift="head", optimizer="muon")
    )
    harm = by_name["shift of the head", "Muon"][:, 0]
    assert harm[recipes.index(RECIPE)] == float(muon["fixed_harm"]) > 10
    assert harm[recipes.index(EFFORT)] == float(muon["tuned_harm"])

    hard = store.load(places["objectives"]).isel(seed=0).sel(shift=RELABELLED, objective=HARD)
    harm = by_name[f"{RELABELLED}, fine-tuning loss", HARD][:, 0]
    short = hard["counted_finetune_harm"].sel(learning_rate=1 / 80)
    np.testing.assert_array_equal(harm, [float(short), float(hard["matched_finetune_harm"])])

    data = store.load(places["data_distribution"]).isel(data=0, seed=0)
    harm = by_name["coverage of the classes", "share seen 1"][:, 0]
    np.testing.assert_array_equal(harm, data["stopped_harm"].sel(recipe=["one time", "equal loss"]))


def test_a_result_that_is_not_to_be_trusted_is_not_made_better(folders, tmp_path):
    places = folders(CONFIGS)
    finding = Finding.of(result := store.load(places["optimizers"]))
    store.save(replace(finding, trust="DO NOT TRUST THIS RESULT; a test says so.").stored_in(result), tmp_path)
    told = Finding.of(experiment.run(Config(**places | {"optimizers": tmp_path})))
    assert told.trust == "DO NOT TRUST THIS RESULT; what it reads says so of itself: optimizers."


def flags(places, out):
    named = [word for name, place in places.items() for word in (f"--{name.replace('_', '-')}", str(place))]
    return [*named, "--out", str(out), "--no-figure"]


def test_folders_without_such_a_result_are_one_line(folders, tmp_path, capsys):
    places = folders(CONFIGS)
    with pytest.raises(InvalidInput, match="objectives: got .*; allowed: a folder with a result of objectives"):
        severity.run(Config(**places | {"objectives": places["optimizers"]}))
    assert main(flags(places | {"optimizers": tmp_path / "none"}, tmp_path / "out")) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_other_content_in_a_folder_is_another_result(folders, tmp_path, capsys):
    link, other = tmp_path / "optimizers", tmp_path / "other"
    link.symlink_to(folders(CONFIGS)["optimizers"])
    store.save(store.load(link).assign_attrs(told="otherwise"), other)
    given = flags(folders(CONFIGS) | {"optimizers": link}, tmp_path / "out")
    assert main(given) == 0
    assert main([*given, "--resume"]) == 0
    link.unlink()
    link.symlink_to(other)
    capsys.readouterr()
    assert main([*given, "--resume"]) == 2
    assert "it differs in config.optimizers: content " in capsys.readouterr().err
