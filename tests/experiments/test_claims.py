"""The claims command: its table, its file, its exit statuses."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.claims import main
from linsim.claims import registry
from linsim.claims.claim import Variant, plain_from_json
from linsim.claims.registry import CLAIMS
from linsim.finding import Finding

ROOT = Path(__file__).parent.parent.parent
CLAIM = CLAIMS["zero-mode-stays-zero"]
SMALL = ["--only", CLAIM.id, "--examples", "10"]


def read(folder):
    return json.loads((folder / "claims.json").read_text(encoding="utf-8"))


@pytest.fixture
def registered(monkeypatch):
    """Put another claim in the place of the one that is tried."""
    return lambda **changes: monkeypatch.setitem(registry.CLAIMS, CLAIM.id, replace(CLAIM, **changes))


@pytest.fixture
def quick(registered):
    """The same claim with a check that only looks."""
    registered(check=lambda problem: -1.0 if problem["inner"] + problem["outer"] + problem["turn"] > 0 else 1.0)


def fails(problem, **_):
    return 5.0 - problem["steps"]


def test_a_run_prints_a_table_and_writes_the_same_as_data(tmp_path, capsys):
    assert main([*SMALL, "--seed", "3", "--out", str(tmp_path / "new")]) == 0
    shown = capsys.readouterr().out
    for column in ("claim", "statement", "examples", "worst margin", "status", "outside"):
        assert column in shown.splitlines()[2]
    for told in (
        CLAIM.id,
        "A mode that is exactly 0",
        "holds",
        "not: the fine-tuning task shares the singular vectors",
    ):
        assert told in shown
    assert shown.startswith("1 of 1 claims hold; 2 of 2 wrong variants are refuted.")
    assert str(tmp_path / "new" / "claims.json") in shown
    data = read(tmp_path / "new")
    found = Finding.from_json(json.dumps(data["finding"]))
    assert (found.verdict, found.details) == ("seen", ())
    assert found.numbers == {"claims": 1, "held": 1, "sound": 1, "variants": 2, "refuted": 2}
    (claim,) = data["claims"]
    assert {name: claim[name] for name in ("id", "statement", "source", "equation", "status", "sound")} == {
        "id": CLAIM.id,
        "statement": CLAIM.statement,
        "source": CLAIM.source,
        "equation": CLAIM.equation,
        "status": "holds",
        "sound": True,
    }
    assert claim["examples_tried"] == 10
    assert claim["worst_margin"] > 0.99
    assert data["config"] == {"examples": 10, "only": [CLAIM.id], "seed": 3}
    assert {"linsim", "jax", "hypothesis"} <= data["versions"].keys()
    assert set(claim["variants"]) == {wrong.name for wrong in CLAIM.variants}


def test_counterexamples_in_the_file_can_be_run_again(tmp_path):
    assert main([*SMALL, "--out", str(tmp_path)]) == 0
    (claim,) = read(tmp_path)["claims"]
    outside = claim["outside"]
    failed = [claim["variants"]["tiny-instead-of-zero"], outside["kept"], outside["found"]]
    for trial in failed:
        case = trial["counterexample"]
        assert trial["status"] == "refuted"
        assert CLAIM.check(plain_from_json(case["problem"])) == case["margin"] <= 0
    assert plain_from_json(outside["kept"]["counterexample"]["problem"]) == CLAIM.beyond.example


def test_the_same_seed_writes_the_same_claims_and_another_one_others(tmp_path):
    flags = ["--only", "logistic-mode", "--examples", "10"]
    for name, seed in (("first", "3"), ("second", "3"), ("third", "4")):
        assert main([*flags, "--seed", seed, "--out", str(tmp_path / name)]) == 0
    assert read(tmp_path / "first")["claims"] == read(tmp_path / "second")["claims"]
    assert read(tmp_path / "first")["claims"] != read(tmp_path / "third")["claims"]


@pytest.mark.usefixtures("quick")
def test_every_claim_is_tried_unless_some_are_named(tmp_path, monkeypatch):
    quick = CLAIMS[CLAIM.id]
    first, second, third = (replace(quick, id=name) for name in ("first", "second", "third"))
    monkeypatch.setattr(registry, "CLAIMS", {claim.id: claim for claim in (first, second, third)})
    for flags, tried in (([], ["first", "second", "third"]), (["--only", "third", "first"], ["first", "third"])):
        assert main(["--examples", "2", "--out", str(tmp_path), "--overwrite", *flags]) == 0
        assert [claim["id"] for claim in read(tmp_path)["claims"]] == tried


def test_a_refuted_claim_is_written_and_exits_1(tmp_path, capsys, registered):
    registered(check=fails, variants=(Variant(name="still-wrong", changes={"anything": 1}),))
    assert main([*SMALL, "--out", str(tmp_path)]) == 1
    (claim,) = read(tmp_path)["claims"]
    assert claim["status"] == "refuted"
    assert claim["counterexample"]["problem"]["steps"] == 5
    shown = capsys.readouterr().out
    assert f"{CLAIM.id}: refuted, margin 0 at" in shown
    assert "0 of 1 claims hold" in shown


def test_a_variant_that_survives_and_an_example_that_holds_exit_1(tmp_path, capsys, registered):
    registered(check=lambda problem, **_: 1.0)
    assert main([*SMALL, "--out", str(tmp_path)]) == 1
    assert read(tmp_path)["finding"]["verdict"] == "not seen"
    shown = capsys.readouterr().out
    assert "wrong variant tiny-instead-of-zero was not refuted in 30 examples" in shown
    assert "the kept example outside the domain is no counterexample" in shown
    assert read(tmp_path)["claims"][0]["outside"]["kept"]["status"] == "holds"


def test_a_check_that_raises_or_gives_nan_is_told_and_the_file_stays_readable(tmp_path, capsys, registered):
    def broken(problem, **_):
        raise ZeroDivisionError("by zero")

    registered(check=broken)
    assert main([*SMALL, "--out", str(tmp_path)]) == 1
    assert "error, ZeroDivisionError: by zero" in capsys.readouterr().out
    registered(check=lambda problem, **_: float("nan"))
    assert main([*SMALL, "--out", str(tmp_path), "--overwrite"]) == 1
    (claim,) = read(tmp_path)["claims"]
    assert (claim["status"], claim["worst_margin"]) == ("refuted", "-inf")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ["--only", "zero-mode-stay-zero"],
            "only: got zero-mode-stay-zero; allowed: did you mean zero-mode-stays-zero",
        ),
        (["--only", "xyz"], f"only: got xyz; allowed: one of {', '.join(CLAIMS)}"),
        (["--examples", "0"], "examples: got 0; allowed: an integer >= 1"),
        (["--examples", "many"], "--examples"),
        (["--seed", "-1"], "seed: got -1; allowed: an integer >= 0"),
        (["--no-figure"], "--no-figure"),
        (["--out", "a\0b"], "out: got"),
    ],
)
def test_a_bad_argument_is_one_line_and_exit_status_2(tmp_path, capsys, flags, said):
    assert main(["--examples", "1", "--out", str(tmp_path / "out"), *flags]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert said in captured.err
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("quick")
def test_an_existing_result_is_not_overwritten_unasked(tmp_path, capsys):
    out = ["--out", str(tmp_path)]
    assert main([*SMALL, *out]) == 0
    assert main([*SMALL, *out, "--seed", "5"]) == 2
    assert "allowed: a folder that is new or empty, or --overwrite" in capsys.readouterr().err
    assert read(tmp_path)["config"]["seed"] == 0
    assert main([*SMALL, *out, "--seed", "5", "--overwrite"]) == 0
    assert read(tmp_path)["config"]["seed"] == 5


def test_an_interrupted_run_exits_3_and_leaves_nothing(tmp_path, capsys, registered):
    def stop(problem, **_):
        raise KeyboardInterrupt

    registered(check=stop)
    assert main([*SMALL, "--out", str(tmp_path / "out")]) == 3
    assert capsys.readouterr().err == "run not completed: interrupted; nothing was kept\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_keeps_the_old_file_and_nothing_half_written(tmp_path, capsys, monkeypatch, error):
    assert main([*SMALL, "--out", str(tmp_path)]) == 0
    before = (tmp_path / "claims.json").read_text()

    def full(*_):
        raise error

    monkeypatch.setattr("linsim.storage.store.os.replace", full)
    assert main([*SMALL, "--seed", "9", "--out", str(tmp_path), "--overwrite"]) == 3
    assert "run not completed: " in capsys.readouterr().err
    assert (tmp_path / "claims.json").read_text() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["claims.json"]


def test_without_hypothesis_one_line_tells_what_to_install_and_the_rest_works(tmp_path):
    script = (
        "import sys\nsys.modules['hypothesis'] = None\nimport linsim.commands.cli\n"
        "from experiments.claims import main\nsys.exit(main(['--out', sys.argv[1]]))"
    )
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", script, str(out)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    expected = "claims are tried with hypothesis, which is not installed: pip install 'linsim[test]'"
    assert done.stderr == f"run not completed: {expected}; nothing was kept\n"
    assert not out.exists()


def test_help_names_every_flag_and_what_the_exit_statuses_mean():
    environment = {**os.environ, "COLUMNS": "200"}
    command = [sys.executable, "-m", "experiments.claims", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=environment)
    for told in ("--out", "--overwrite", "--examples", "--only", "--seed", "Exit status 0 when every claim holds"):
        assert told in done.stdout
    assert "--figure" not in done.stdout
