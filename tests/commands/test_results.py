"""What is done with a result: computed again, written for other programs, drawn."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.figure import Figure

import linsim
from experiments.command import again, export
from experiments.command.made import Made
from experiments.experiment import Experiment
from figures import stages
from linsim.commands import cli
from linsim.errors import InvalidInput
from linsim.finding import Finding
from linsim.labels import texts
from linsim.storage import store
from linsim.storage.sources import sources

ROOT = Path(__file__).parent.parent.parent
STORED = ROOT / "figures/stored/transformer"


@dataclass(frozen=True)
class Config:
    """Of nearly nothing."""

    count: int = 3
    """How many."""
    name: str = "c"
    """Left at its default."""


def compute(config, report=None):
    return xr.Dataset({"square": ("seed", np.arange(config.count) ** 2.0), "known": ("seed", [True] * config.count)})


counting = Experiment("stages", "Count.", Config, compute, lambda _: Finding("Counted", "seen"), flags=cli.Drawing)


@pytest.fixture
def result(tmp_path, monkeypatch):
    """A result of an experiment that counts, in the place of another."""
    monkeypatch.setattr(again, "beside", lambda _: SimpleNamespace(Config=Config, main=counting.main))
    store.save(counting.run(Config(count=4)), tmp_path)
    return tmp_path


def test_again_computes_the_configuration_of_a_result_and_compares(result, tmp_path, capsys):
    out = tmp_path / "new"
    assert again.main([str(result), "--no-figure", "--out", str(out)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == f"linsim stages --count 4 --no-figure --out {out}"
    assert told[-1] == "The same as before, bit for bit: 2 variables."
    assert store.load(out).identical(store.load(result))


def test_again_with_another_flag_is_another_result(result, tmp_path, capsys):
    assert again.main([str(result), "--count", "2", "--no-figure", "--out", str(tmp_path / "new")]) == 0
    assert store.load(tmp_path / "new").sizes["seed"] == 2
    assert "same as before" not in capsys.readouterr().out


def test_again_goes_to_a_folder_of_its_own_unless_told(result, capsys):
    assert again.main([str(result), "--no-figure"]) == 0
    out = result.with_name(f"{result.name}_again")
    assert f"--out {out}\n" in capsys.readouterr().out
    assert (out / "data.zarr").is_dir()


def test_what_differs_is_told():
    first = xr.Dataset({"a": ("x", [1.0, np.nan, 4.0]), "b": ("x", [1, 2, 3]), "gone": 1.0})
    second = first.assign(a=("x", [1.0, np.nan, 4.4])).drop_vars("gone")
    assert again.compared(first, second).startswith(
        "1 of 3 variables differ, at most by 1.0e-01 of the largest value (a), not there any more: gone."
    )
    assert "by inf" in again.compared(first, first.assign(a=("x", [1.0, 2.0, 4.0])))


@pytest.mark.parametrize(
    ("attrs", "words", "said"),
    [
        (
            {"experiment": None},
            [],
            "allowed: one that tells its experiment; name that of an older one with --experiment",
        ),
        ({}, ["--experiment", "odd"], "experiment: got odd; allowed: one of checkpoint-pair, "),
        ({"config": None}, [], "allowed: one that tells its config"),
        ({"config": "{"}, [], "allowed: one that tells its config"),
        (
            {"config": '{"cuont": 3}'},
            [],
            "result: got cuont in {}; allowed: fields that --help shows as flags; did you",
        ),
    ],
)
def test_a_result_that_cannot_be_computed_again_is_one_line(result, capsys, attrs, words, said):
    told = store.load(result)
    told.attrs = {name: value for name, value in (told.attrs | attrs).items() if value is not None}
    store.save(told, result)
    assert again.main([str(result), *words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said.format(result) in error


@pytest.mark.parametrize("text", ["{", "[]", '{"finding": {}}'])
def test_verdicts_that_are_damaged_are_one_line(tmp_path, capsys, text):
    (tmp_path / "claims.json").write_text(text)
    assert again.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"result: got {tmp_path}; allowed: one that tells its ")


def test_a_result_of_an_older_version_is_computed_again_where_its_experiment_is_named(result, tmp_path):
    told = store.load(result)
    del told.attrs["experiment"]
    store.save(told, result)
    assert again.main([str(result), "--experiment", "stages", "--no-figure", "--out", str(tmp_path / "new")]) == 0


@pytest.fixture
def mixed(tmp_path):
    """A result with axes of several kinds."""
    dataset = xr.Dataset(
        {
            "loss": (("steps", "rate"), [[1.0, np.inf], [0.1, np.nan]], {"long_name": "loss", "units": "1"}),
            "diverged": (("steps", "rate"), [[False, True], [False, False]]),
            "lowest": ("rate", [10, 20]),
            "size": 3,
        },
        {"steps": [10, 20], "rate": [1e-3, 1e-2], "name": ("rate", texts(["small", "large"]))},
        {"config": json.dumps({"a": "ü"})},
    )
    store.save(dataset, tmp_path)
    return tmp_path


def test_export_writes_a_table_for_each_set_of_axes(mixed, capsys):
    assert export.main([str(mixed), "--csv"]) == 0
    assert capsys.readouterr().out == f"{mixed / 'csv'}\n"
    table = pd.read_csv(mixed / "csv/values_by_steps_and_rate.csv").set_index(["steps", "rate"])
    assert dict(table.loc[(20, 1e-3)]) == {"loss": 0.1, "diverged": False}
    assert len(table) == 4
    listed = {row["name"]: row for row in csv.DictReader((mixed / "csv/variables.csv").read_text().splitlines())}
    assert listed["loss"] == {
        "name": "loss",
        "table": "values_by_steps_and_rate.csv",
        "long_name": "loss",
        "units": "1",
    }
    assert listed["size"]["table"] == "scalars.csv"
    assert {row["table"] for row in listed.values()} - {""} == {
        path.name for path in (mixed / "csv").iterdir() if path.name != "variables.csv"
    }


def test_export_to_netcdf_is_the_same_result(mixed, tmp_path):
    assert export.main([str(mixed), "--netcdf", "--out", str(tmp_path / "elsewhere")]) == 0
    with xr.open_dataset(tmp_path / "elsewhere/data.nc") as told:
        assert told.load().equals(store.load(mixed))
        assert told.attrs == store.load(mixed).attrs


def test_what_cannot_be_exported_is_one_line(mixed, tmp_path, capsys):
    assert export.main([str(mixed)]) == 2
    assert capsys.readouterr().err == "export: got neither --csv nor --netcdf; allowed: one of them, or both\n"
    assert export.main([str(tmp_path / "none"), "--csv"]) == 2
    assert "a folder with a data.zarr inside" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert export.main([str(mixed), "--csv", "--out", str(tmp_path / "file")]) == 3
    error = capsys.readouterr().err
    assert error.startswith("not written: ")
    assert error.count("\n") == 1


def test_plot_draws_a_result_by_the_figure_of_its_experiment():
    dataset = store.load(STORED).assign_attrs(experiment="transformer")
    figure = linsim.plot(dataset)
    assert isinstance(figure, Figure)
    assert Finding.of(dataset).sentence[:30] in figure.get_suptitle()


def test_of_another_experiment_a_picture_does_not_say_that_it_is_old():
    dataset = xr.Dataset({"a": 1}, attrs={"experiment": "sweep", "config": "{}"})
    with pytest.raises(InvalidInput) as caught:
        stages.draw(dataset)
    assert "linsim again" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("odd", "result: got one of odd; allowed: results of an experiment that has a figure"),
        ("stages", "dataset: got no "),
        (None, "dataset: got no "),
    ],
)
def test_what_no_figure_draws_is_one_line(name, said):
    dataset = xr.Dataset({"a": 1}, attrs={} if name is None else {"experiment": name, "config": "{}"})
    with pytest.raises(InvalidInput) as caught:
        linsim.plot(dataset)
    assert str(caught.value).startswith(said)
    assert ("linsim again" in str(caught.value)) == (name == "stages")


def test_a_result_whose_source_is_no_longer_there_says_so():
    now = sources(["linsim.errors"])
    assert Made("claims", {}, now).lost == ""
    then = dict.fromkeys([*now, "gone", "linsim.losses", "linsim.tasks"], "of yesterday")
    said = "The source that made it is no longer there: linsim, linsim.errors, gone and 2 more changed since."
    assert Made("claims", {}, then).lost == said
    assert Made("claims", {}).lost == "The result does not tell which source made it."
