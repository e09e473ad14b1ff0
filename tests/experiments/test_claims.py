"""The claims command: its table, its file, its exit statuses."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest

from experiments.claims import main
from linsim.claims import campaign, registry
from linsim.claims.campaign import sources
from linsim.claims.claim import Variant, plain_from_json
from linsim.claims.registry import CLAIMS
from linsim.finding import Finding

ROOT = Path(__file__).parent.parent.parent
CLAIM = CLAIMS["critical-rate-times-steps"]
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
    registered(check=lambda problem, **wrong: -1.0 if wrong or problem["steps"] < 300 else 1.0)


def fails(problem, **_):
    return 305.0 - problem["steps"]


def test_a_run_prints_a_table_and_writes_the_same_as_data(tmp_path, capsys):
    assert main([*SMALL, "--seed", "3", "--out", str(tmp_path / "new")]) == 0
    shown = capsys.readouterr().out
    for column in ("claim", "statement", "examples", "worst margin", "status", "outside"):
        assert column in shown.splitlines()[2]
    for told in (
        CLAIM.id,
        "A misaligned mode learned in full",
        "holds",
        "not: steps are small",
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
    assert claim["worst_margin"] > 0
    assert data["config"] == {"examples": 10, "only": [CLAIM.id], "seed": 3}
    assert {"linsim", "jax", "hypothesis"} <= data["versions"].keys()
    assert set(claim["variants"]) == {wrong.name for wrong in CLAIM.variants}


def test_counterexamples_in_the_file_can_be_run_again(tmp_path):
    assert main([*SMALL, "--out", str(tmp_path)]) == 0
    (claim,) = read(tmp_path)["claims"]
    outside = claim["outside"]
    failed = [(claim["variants"][wrong.name], wrong.changes) for wrong in CLAIM.variants]
    for trial, changes in [*failed, (outside["kept"], {}), (outside["found"], {})]:
        case = trial["counterexample"]
        assert trial["status"] == "refuted"
        assert CLAIM.check(plain_from_json(case["problem"]), **changes) == case["margin"] <= 0
    assert plain_from_json(outside["kept"]["counterexample"]["problem"]) == CLAIM.beyond.example


def test_the_same_seed_writes_the_same_claims_and_another_one_others(tmp_path):
    flags = ["--only", "saturation", "--examples", "10"]
    for name, seed in (("first", "3"), ("second", "3"), ("third", "4")):
        assert main([*flags, "--seed", seed, "--out", str(tmp_path / name)]) == 0
    assert read(tmp_path / "first")["claims"] == read(tmp_path / "second")["claims"]
    assert read(tmp_path / "first")["claims"] != read(tmp_path / "third")["claims"]


@pytest.mark.thorough("with --only, by test_a_run_prints_a_table_and_writes_the_same_as_data")
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
    assert claim["counterexample"]["problem"]["steps"] == 305
    shown = capsys.readouterr().out
    assert f"{CLAIM.id}: refuted, margin 0 at" in shown
    assert "0 of 1 claims hold" in shown


def test_a_variant_that_survives_and_an_example_that_holds_exit_1(tmp_path, capsys, registered):
    registered(check=lambda problem, **_: 1.0)
    assert main([*SMALL, "--out", str(tmp_path)]) == 1
    assert read(tmp_path)["finding"]["verdict"] == "not seen"
    shown = capsys.readouterr().out
    assert "wrong variant rate-of-the-half-loss was not refuted in 30 examples" in shown
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
            ["--only", "critical-rate-times-step"],
            "only: got critical-rate-times-step; allowed: did you mean critical-rate-times-steps",
        ),
        (["--only", "xyz"], f"only: got xyz; allowed: one of {', '.join(CLAIMS)}"),
        (["--examples", "0"], "examples: got 0; allowed: an integer >= 1"),
        (["--examples", "many"], "examples: got many; allowed: an integer"),
        (["--seed", "-1"], "seed: got -1; allowed: an integer >= 0"),
        (["--processes", "0"], "processes: got 0; allowed: an integer >= 1"),
        (["--processes", "2", "3"], "processes: got 2 3; allowed: one number, or none"),
        (["--processes", "many"], "processes: got many; allowed: integers"),
        (["--resume", "--overwrite"], "resume: got True; allowed: --resume or --overwrite, one of them"),
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


def three(monkeypatch, check):
    """Three claims in the place of all, quick to judge but for what a check does with the second one."""
    parts = {"beyond": None, "variants": (Variant(name="never", changes={"holds": -1.0}),)}
    names = "first", "second", "third"
    claims = {name: replace(CLAIM, id=name, check=partial(check, name), **parts) for name in names}
    monkeypatch.setattr(registry, "CLAIMS", claims)


def sound(name, problem, holds=1.0):
    return -1.0 if name == "third" and problem["steps"] > 350 else holds


def outcome(folder):
    return {name: told for name, told in read(folder).items() if name not in ("versions", "git_revision", "device")}


@pytest.fixture
def undisturbed(tmp_path, monkeypatch):
    three(monkeypatch, sound)
    assert main(["--examples", "20", "--out", str(tmp_path / "undisturbed")]) == 1
    return outcome(tmp_path / "undisturbed")


@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_exits_3_and_its_command_goes_on(tmp_path, capsys, monkeypatch, undisturbed, ended_by):
    out, tried = str(tmp_path / "new"), []
    signal.signal(signal.SIGINT, signal.default_int_handler)  # where the tests run in the background, it is ignored

    def stopping(name, problem, holds=1.0):
        tried.append(name)
        if name == "second":
            signal.raise_signal(ended_by)
        return sound(name, problem, holds)

    three(monkeypatch, stopping)
    capsys.readouterr()
    assert main(["--examples", "20", "--out", out, "--overwrite"]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    begun = "run not completed: interrupted; finished claims are kept, go on with: python -m "
    assert captured.err == f"{begun}experiments.claims --examples 20 --out {out} --resume\n"
    assert [path.name for path in Path(out).iterdir()] == [".unfinished"]
    assert main(["--examples", "20", "--out", out]) == 2
    assert "--resume goes on with the unfinished run in it" in capsys.readouterr().err

    def noting(name, problem, holds=1.0):
        tried.append(name)
        return sound(name, problem, holds)

    tried.clear()
    three(monkeypatch, noting)
    assert main(["--examples", "20", "--out", out, "--resume"]) == 1
    assert set(tried) == {"second", "third"}
    assert outcome(tmp_path / "new") == undisturbed
    assert [path.name for path in Path(out).iterdir()] == ["claims.json"]


KILLED = """
import sys
from pathlib import Path
from pytest import MonkeyPatch
from experiments.claims import main
from tests.experiments.test_claims import sound, three
def killed(name, problem, holds=1.0):
    if name == "third" and problem["steps"] > 350:
        Path(sys.argv[1], "reached").touch()
        sys.stdin.read()
    return sound(name, problem, holds)
three(MonkeyPatch(), killed)
main(["--examples", "20", "--out", sys.argv[1]])
"""


def test_nothing_finished_is_lost_by_a_kill_and_nobody_else_writes_meanwhile(tmp_path, capsys, undisturbed):
    out = tmp_path / "new"
    run = subprocess.Popen([sys.executable, "-c", KILLED, str(out)], cwd=ROOT, stdin=subprocess.PIPE)
    while not (out / "reached").exists():
        assert run.poll() is None
        time.sleep(0.05)
    capsys.readouterr()
    again = ["--examples", "20", "--out", str(out), "--resume"]
    assert main(again) == 2
    assert "allowed: a folder that no other run is writing to at the moment" in capsys.readouterr().err
    run.kill()
    run.communicate()
    kept = [json.loads(path.read_text())["value"] for path in out.glob(".unfinished/*.json") if path.stem != "run"]
    assert sorted(claim["id"] for claim in kept) == ["first", "second"]
    assert main(again) == 1
    assert outcome(out) == undisturbed
    assert [claim["status"] for claim in undisturbed["claims"]] == ["holds", "holds", "refuted"]
    assert undisturbed["claims"][2]["counterexample"]["problem"]["steps"] == 351
    assert "third: refuted, margin -1 at " in capsys.readouterr().out


@pytest.mark.parametrize("finished", [False, True])
def test_only_the_same_run_goes_on(tmp_path, capsys, monkeypatch, finished):
    def stopping(name, problem, holds=1.0):
        if name == "second" and not finished:
            raise KeyboardInterrupt
        return sound(name, problem, holds)

    three(monkeypatch, stopping)
    out = ["--out", str(tmp_path / "new")]
    assert main(["--examples", "20", *out]) == (1 if finished else 3)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    assert main(["--examples", "21", *out, "--resume"]) == 2
    assert "it differs in config.examples: 20, now 21" in capsys.readouterr().err
    told = {
        name: text[::-1] if name.endswith("themes/pretraining/learning.py") else text
        for name, text in sources().items()
    }
    monkeypatch.setattr(campaign, "sources", lambda: told)
    assert main(["--examples", "20", *out, "--resume"]) == 2
    error = capsys.readouterr().err
    assert "it differs in source.linsim/claims/themes/pretraining/learning.py: " in error
    assert error.count("\n") == 1
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*.json")}


def test_a_run_that_is_complete_is_told_again_without_trying(tmp_path, capsys, monkeypatch, undisturbed):
    monkeypatch.setattr(campaign, "judge", None)
    capsys.readouterr()
    out = tmp_path / "undisturbed"
    assert main(["--examples", "20", "--out", str(out), "--resume"]) == 1
    assert f"complete before, saved in {out / 'claims.json'}" in capsys.readouterr().out
    assert outcome(out) == undisturbed


@pytest.mark.thorough("by test_a_verdict_depends_neither_on_the_process_nor_on_what_is_loaded")
def test_verdicts_do_not_depend_on_the_number_of_processes(tmp_path):
    # A claim that holds, and with few examples one whose variants are not refuted.
    flags = ["--examples", "3", "--seed", "4", "--only", "label-noise-fisher", "logistic-mode", "noise-orders"]
    found = [main([*flags, "--out", str(tmp_path / number), "--processes", number]) for number in ("1", "2")]
    assert found[0] == found[1]
    assert outcome(tmp_path / "1") == outcome(tmp_path / "2")


PROCESSES = """
import sys, time
from linsim.claims.campaign import _pool
if __name__ == "__main__":
    with _pool(2) as pool:
        sleeping = [pool.submit(time.sleep, 600) for _ in range(3)]
        print(*pool._processes, flush=True)
        sys.stdin.readline()
        raise KeyboardInterrupt
"""


@pytest.mark.sampled(1)
@pytest.mark.parametrize("killed", [False, True])
def test_no_process_outlives_the_run(tmp_path, killed):
    script = tmp_path / "processes.py"  # a file, which spawned processes import
    script.write_text(PROCESSES)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    run = subprocess.Popen([sys.executable, str(script)], env=environment, text=True, **pipes)
    numbers = [int(number) for number in run.stdout.readline().split()]
    assert len(numbers) == 2
    assert all(psutil.pid_exists(number) for number in numbers)
    if killed:
        run.kill()
    run.communicate("\n", timeout=60)
    psutil.wait_procs([psutil.Process(number) for number in numbers if psutil.pid_exists(number)], timeout=20)
    assert not any(psutil.pid_exists(number) for number in numbers)


def test_help_names_every_flag_and_what_the_exit_statuses_mean():
    environment = {**os.environ, "COLUMNS": "200"}
    command = [sys.executable, "-m", "experiments.claims", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=environment)
    for told in ("--out", "--overwrite", "--examples", "--only", "--seed", "Exit status 0 when every claim holds"):
        assert told in done.stdout
    assert "--figure" not in done.stdout
