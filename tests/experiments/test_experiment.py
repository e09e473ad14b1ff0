"""What an experiment is: a result with its configuration and its finding, computed, kept, drawn and told in one way."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from experiments import digits, overtraining_chart, watch
from experiments.experiment import Experiment
from linsim.commands import cli
from linsim.errors import InvalidInput, require_integer
from linsim.finding import Finding
from linsim.storage import store


@dataclass(frozen=True)
class Config:
    """Of nearly nothing."""

    count: int = 3
    """How many."""
    place: Path = Path("here")
    """Where."""
    precision: Literal["float32", "float64"] = "float32"
    """Of the ones."""


def compute(config, report=None):
    require_integer("count", config.count, at_least=1)
    return xr.Dataset({"ones": ("seed", np.asarray(jnp.ones(config.count)))})


def find(dataset):
    total = float(dataset["ones"].sum())
    return Finding(f"There are {total:g}", "seen", {"total": total}, ("A detail.",), "" if total < 5 else "DO NOT")


def table(dataset):
    return ["a | b", *(f"{one:g}" for one in dataset["ones"].values)]


plain = Experiment("counting", "Count.", Config, compute, find, flags=cli.Drawing)


def test_a_result_carries_its_configuration_and_what_was_found():
    result = plain.run(Config(count=2))
    assert json.loads(result.attrs["config"]) == {"count": 2, "place": "here", "precision": "float32"}
    assert Finding.of(result) == Finding("There are 2", "seen", {"total": 2.0}, ("A detail.",))
    assert Finding.of(plain.found(result * 2)).numbers == {"total": 4.0}


@pytest.mark.parametrize(("asked", "computed"), [("float64", "float64"), ("float32", "float32"), (None, "float32")])
def test_the_experiment_owns_the_precision(asked, computed):
    for setting in (True, False):
        with jax.enable_x64(setting):
            result = Experiment("counting", "", Config, compute, find, precision=asked).run(Config())
            assert jax.config.jax_enable_x64 == setting
        assert result["ones"].dtype == computed


def test_a_terminal_is_told_the_sentence_the_table_the_details_and_whether_to_trust_it():
    whole = Experiment("counting", "", Config, compute, find, table, claims=("one", "two"))
    told = whole.tell(whole.run(Config(count=5)).assign_attrs(solver_reason="by hand"))
    assert told.splitlines() == [
        *("There are 5.", "DO NOT", "a | b", *"11111", "A detail."),
        "The claims behind it: python -m experiments.claims --only one two",
        "by hand",
    ]
    assert plain.tell(plain.run(Config())) == "There are 3.\nA detail."
    short = whole.tell(whole.run(Config(count=5)), most=4).splitlines()
    assert short == ["There are 5.", "DO NOT", "a | b", "... and 7 more lines, with --verbose"]


def test_of_many_reasons_for_a_solver_the_first_are_told():
    reasons = "\n".join(f"{seed}: dense, off by {seed}e-01" for seed in range(9))
    told = plain.tell(plain.run(Config()).assign_attrs(solver_reason=reasons)).splitlines()
    assert told[-5:-1] == reasons.splitlines()[:4]
    assert "5 more" in told[-1]


def test_the_command_keeps_and_tells_what_the_function_returns(tmp_path, capsys):
    assert plain.main(["--count", "4", "--no-figure", "--out", str(tmp_path / "new")]) == 0
    told = capsys.readouterr().out
    assert told.startswith("There are 4.\nA detail.\n")
    assert str(tmp_path / "new" / "data.zarr") in told
    assert store.load(tmp_path / "new").identical(plain.run(Config(count=4)))
    assert plain.main(["--count", "0", "--no-figure", "--out", str(tmp_path / "bad")]) == 2
    assert capsys.readouterr().err == "count: got 0; allowed: an integer >= 1\n"
    assert not (tmp_path / "bad").exists()


def test_a_result_whose_own_check_fails_is_kept_and_ends_with_status_4(tmp_path, capsys):
    assert plain.main(["--count", "6", "--no-figure", "--out", str(tmp_path)]) == 4
    assert "DO NOT" in capsys.readouterr().out
    assert float(store.load(tmp_path)["ones"].sum()) == 6


def flags_of(experiment, capsys):
    with pytest.raises(SystemExit):
        experiment.main(["--help"])
    told = capsys.readouterr().out
    return {flag for flag in ("--out", "--figure", "--resume", "--memory", "--workers", "--recheck") if flag in told}


def test_flags_are_there_where_they_do_something(capsys):
    both = {"--out", "--figure"}
    assert flags_of(plain, capsys) == both
    assert flags_of(overtraining_chart.experiment, capsys) == both | {"--resume", "--memory", "--workers", "--recheck"}
    assert flags_of(digits.experiment, capsys) == flags_of(overtraining_chart.experiment, capsys)
    assert flags_of(watch, capsys) == both | {"--resume"}
    assert plain.main(["--workers", "2"]) == 2
    assert "--workers" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [(["--memory", "2"], "memory: got 2; allowed: a size from 1MB on"), (["--recheck", "-1"], "recheck: got -1")],
)
def test_a_flag_outside_its_domain_is_refused_before_any_work(tmp_path, capsys, flags, said):
    assert overtraining_chart.main([*flags, "--out", str(tmp_path / "new")]) == 2
    assert capsys.readouterr().err.startswith(said)
    assert not (tmp_path / "new").exists()


def test_a_result_without_a_finding_is_refused_in_one_line():
    with pytest.raises(InvalidInput, match="dataset: got no attribute finding; allowed: a result of an experiment"):
        plain.tell(compute(Config()))
