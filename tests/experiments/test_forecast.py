"""The forecast as a command: what it writes, the example's answers, and every verdict."""

import json

import numpy as np
import pytest

import linsim as ls
from experiments.forecast import Config, experiment, main
from experiments.forecast.example import TABLE, rows
from linsim.finding import Finding


def written(folder, name="runs.csv", keep=lambda run: True):
    """The example's table with some of its runs."""
    head, *lines = TABLE.read_text().splitlines()
    path = folder / name
    path.write_text("\n".join([head, *(line for line in lines if keep(line.split(",")[0]))]) + "\n")
    return path


HARMLESS = TABLE.with_name("no_such_file.csv")
VERDICTS = {
    "the example has a tail that is wanted stronger": (Config(), "seen"),
    "runs whose tail is wanted weaker": (Config(table=HARMLESS), "not seen"),
    "nothing but budgets is published": (Config(example="published"), "cannot tell"),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_every_verdict_has_a_configuration(name, tmp_path):
    config, verdict = VERDICTS[name]
    if config.table == HARMLESS:
        config = Config(table=written(tmp_path, keep=lambda run: run == "tail x 0.7"))
    found = Finding.of(experiment.run(config))
    assert found.verdict == verdict
    assert len(found.sentence) <= 160


def test_the_command_writes_the_contract_and_python_says_the_same(tmp_path, capsys):
    path, out = written(tmp_path), tmp_path / "out"
    assert main(["--table", str(path), "--out", str(out)]) == 0
    assert (out / "data.zarr").is_dir() and (out / "forecast.png").is_file()
    told = json.loads((out / "forecast.json").read_text())
    assert [each.as_json() for each in ls.forecast(path)] == told
    assert all(list(each) == ["run", "probability", "turn", "verdict", "reason"] for each in told)
    assert {each["verdict"] for each in told} <= {"harm", "no_harm", "cannot_tell"}
    assert main(["--table", str(path), "--out", str(out), "--overwrite"]) == 0
    capsys.readouterr()


def test_columns_have_flags(tmp_path, capsys):
    path = tmp_path / "named.csv"
    path.write_text("tokens,val\n1,3\n2,2\n4,1.5\n")
    flags = ["--columns.budget", "tokens", "--columns.base-loss", "val", "--no-figure"]
    assert main(["--table", str(path), *flags, "--out", str(tmp_path / "out")]) == 0
    assert main(["--table", str(path), "--out", str(tmp_path / "other")]) == 2
    assert "row 1, column budget: got columns tokens, val" in capsys.readouterr().err


def test_bad_tables_are_one_line_and_leave_nothing(tmp_path, capsys):
    path = tmp_path / "bad.csv"
    path.write_text("budget,base_loss\n1,3\n2,0\n4,1\n")
    assert main(["--table", str(path), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and told.startswith("row 3, column base_loss: got 0.0")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--columns.budget", "steps"], "columns: got budget steps; allowed: names of columns beside --table alone"),
        (["--table", str(TABLE), "--example", "published"], "example: got published; allowed: no example beside"),
    ],
)
def test_what_would_be_ignored_is_refused(flags, told, refused):
    assert told in refused(main, flags)


@pytest.mark.thorough("tests/forecasting/test_simulation.py")
def test_verdicts_of_the_example_are_what_came():
    """Losses at 2, 4 and 8 times the largest budget, which the table does not have."""
    last, later = {}, {}
    for rowset, found in ((rows(), last), (rows(ahead=True), later)):
        for run, rate, budget, *losses in rowset:
            found.setdefault((run, rate), {})[budget] = float(losses[2])
    for told in ls.forecast(TABLE):
        name, _, rate = told.run.partition(", rate ")
        ends = last[name, float(rate)]
        now = ends[max(ends)]
        ahead = [later[name, float(rate)][round(max(ends) * each)] for each in (2, 4, 8)]
        if told.verdict == "harm":
            assert max(ahead) > 1.02 * now
        if told.verdict == "no_harm":
            assert max(ahead) < 1.02 * now


def test_what_is_published_is_not_enough():
    result = experiment.run(Config(example="published"))
    assert str(result["verdict"].values[0]) == "cannot_tell"
    assert "base_loss" in str(result["reason"].values[0])
    assert result["budget"].values.tolist() == [2.3e12, 2.5e12, 3e12]
    assert np.isinf(result["turn_high"].values).all()
