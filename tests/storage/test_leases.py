"""Runs that end early: what is kept, who may go on, and that nothing but the same run does."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import linsim.sweeping.computing
from experiments.overtraining_chart import main
from linsim.errors import InvalidInput
from linsim.storage import store
from linsim.storage.fingerprint import fingerprint
from linsim.storage.leases import lease
from linsim.storage.places import UNFINISHED
from linsim.sweeping.plan import Plan
from linsim.sweeping.work import Work
from tests.sweeping.chunked import flip

SMALL = ["--dim", "3", "--pretrain.steps", "500", "--pretrain.budgets", "6", "--finetune.steps", "20"]
SMALL += ["--finetune.rates", "3", "--finetune.strengths", "2", "--no-figure"]
SMALL += ["--pretrain.tolerance", "None"]
OF, VERSIONS = fingerprint({"config": {"seed": 0, "rates": [0.1, 0.2]}, "memory": None}), {"jax": "1"}


def cut_to_cells(patch):
    patch.setattr(linsim.sweeping.computing, "cut", lambda shape, *_: Plan(shape, (shape[0], 1, 1, 1), shape, 3))


@pytest.fixture(autouse=True)
def cuts(monkeypatch):
    cut_to_cells(monkeypatch)


@pytest.fixture
def ran(monkeypatch):
    """How many chunks were computed, and what happens before a certain one."""
    run, count, before = Work.run, [0], {}

    def noted(self, box, report=None):
        before.get(count[0], lambda: None)()
        count[0] += 1
        return run(self, box, report)

    monkeypatch.setattr(Work, "run", noted)
    return count, before


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    with pytest.MonkeyPatch.context() as patch:
        cut_to_cells(patch)
        assert main([*SMALL, "--out", str(out)]) == 0
    return out


def same_bits(one, other):
    one, other = store.load(one), store.load(other)
    assert set(one.variables) == set(other.variables)
    assert all(one[name].values.tobytes() == other[name].values.tobytes() for name in one.variables)
    assert one.attrs == other.attrs


@pytest.mark.sampled(1)
@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_exits_3_and_its_command_goes_on(tmp_path, capsys, ran, undisturbed, ended_by):
    out, (count, before) = tmp_path / "it's new", ran
    before[4] = lambda: signal.raise_signal(ended_by)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # where the tests run in the background, it is ignored
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    assert main([*SMALL, "--out", str(out)]) == 3
    assert handlers == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    command = "run not completed: interrupted; finished chunks are kept, go on with: python -m experiments."
    assert captured.err.startswith(command)
    assert count[0] == 4
    assert [entry.name for entry in out.iterdir()] == [UNFINISHED]
    # The shell reads the command as this run did.
    told = subprocess.run(
        [f"printf '%s\\n' {captured.err.split('go on with: ')[1]}"],
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    words = told.stdout.splitlines()
    before.clear()
    assert words[:3] == ["python", "-m", "experiments.overtraining_chart"]
    assert main(words[3:]) == 0
    assert count[0] == 6
    same_bits(out, undisturbed)
    assert [entry.name for entry in out.iterdir()] == ["data.zarr"]


def test_a_run_that_is_stopped_before_its_first_chunk_leaves_nothing(tmp_path, capsys, ran):
    ran[1][0] = lambda: signal.raise_signal(signal.SIGTERM)
    assert main([*SMALL, "--out", str(tmp_path / "out")]) == 3
    assert "interrupted; nothing was kept" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A folder with three of six chunks; to be copied."""
    out, run = tmp_path_factory.mktemp("stopped") / "out", Work.run
    count = [0]

    def until(self, box, report=None):
        count[0] += 1
        if count[0] > 3:
            raise KeyboardInterrupt
        return run(self, box, report)

    with pytest.MonkeyPatch.context() as patch:
        cut_to_cells(patch)
        patch.setattr(Work, "run", until)
        assert main([*SMALL, "--out", str(out)]) == 3
    return out


@pytest.fixture
def begun(stopped, tmp_path):
    return shutil.copytree(stopped, tmp_path / "out")


def test_a_run_begun_is_in_the_way_unless_one_says_what_to_do_with_it(begun, capsys, ran):
    assert main([*SMALL, "--out", str(begun)]) == 2
    assert "or --overwrite; --resume goes on with the unfinished run in it" in capsys.readouterr().err
    assert main([*SMALL, "--out", str(begun), "--resume", "--overwrite"]) == 2
    assert "resume: got True; allowed: --resume or --overwrite, one of them" in capsys.readouterr().err
    assert main([*SMALL, "--out", str(begun), "--overwrite"]) == 0
    assert ran[0][0] == 6


DIFFERENT = [
    (["--seed", "4"], "it differs in config.seed: 0, now 4\n"),
    (["--finetune.steps", "21"], "config.finetune.steps: 20, now 21\n"),
    (["--precision", "float32", "--depth", "3"], "config.precision: float64, now float32; config.depth: 2, now 3\n"),
    (["--memory", "2MB"], "memory: None, now 2097152\n"),
]


@pytest.mark.parametrize(("flags", "said"), DIFFERENT, ids=[" ".join(flags) for flags, _ in DIFFERENT])
def test_another_configuration_is_refused_with_the_fields_that_differ(begun, capsys, ran, flags, said):
    before = sorted(begun.rglob("*"))
    assert main([*SMALL, "--out", str(begun), "--resume", *flags]) == 2
    assert capsys.readouterr().err.endswith(said)
    assert sorted(begun.rglob("*")) == before
    assert ran[0][0] == 0


def test_how_many_lanes_are_computed_again_is_no_other_configuration(begun, undisturbed, ran):
    assert main([*SMALL, "--out", str(begun), "--resume", "--recheck", "3"]) == 0
    resumed, whole = store.load(begun), store.load(undisturbed)
    assert all(resumed[name].values.tobytes() == whole[name].values.tobytes() for name in whole.variables)


def test_another_version_is_refused(begun, capsys, monkeypatch):
    monkeypatch.setattr("experiments.identity.deciding", lambda: {"linsim": "9", "jax": "9"})
    assert main([*SMALL, "--out", str(begun), "--resume"]) == 2
    assert "now 9" in capsys.readouterr().err


def test_a_complete_result_is_not_computed_again_and_still_refuses_others(undisturbed, tmp_path, capsys, ran):
    out = shutil.copytree(undisturbed, tmp_path / "out")
    assert main([*SMALL, "--out", str(out), "--resume"]) == 0
    assert "complete before" in capsys.readouterr().out
    assert main([*SMALL, "--out", str(out), "--resume", "--seed", "4"]) == 2
    assert "it differs in config.seed: 0, now 4" in capsys.readouterr().err
    assert ran[0][0] == 0
    same_bits(out, undisturbed)


def test_resuming_where_nothing_was_begun_begins(tmp_path, undisturbed):
    assert main([*SMALL, "--out", str(tmp_path / "out"), "--resume"]) == 0
    same_bits(tmp_path / "out", undisturbed)


@pytest.mark.parametrize("name", ["pretrain_loss_after", "finetune_loss_after", "initial_weights_1"])
def test_a_damaged_complete_result_is_not_believed_on_resume(undisturbed, tmp_path, capsys, name):
    out = shutil.copytree(undisturbed, tmp_path / "out")
    flip(max(path for path in (out / "data.zarr" / name / "c").rglob("*") if path.is_file()))
    if main([*SMALL, "--out", str(out), "--resume"]) == 0:  # computed again
        same_bits(out, undisturbed)
    else:
        assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("content", ["", "{", "[]", "[" * 100_000], ids=["empty", "half", "no fields", "deep"])
def test_a_damaged_description_of_the_run_is_one_line(begun, capsys, content):
    (begun / ".unfinished" / "run.json").write_text(content)
    assert main([*SMALL, "--out", str(begun), "--resume"]) == 2
    assert "run.json; allowed: a readable file" in capsys.readouterr().err


def test_a_kill_before_the_finished_chunks_are_removed_costs_nothing(tmp_path, monkeypatch, undisturbed):
    out = tmp_path / "out"
    saved = store.save

    def killed(*given):
        saved(*given)
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "save", killed)
    assert main([*SMALL, "--out", str(out)]) == 3
    monkeypatch.setattr(store, "save", saved)
    assert {entry.name for entry in out.iterdir()} == {"data.zarr", ".unfinished"}
    assert main([*SMALL, "--out", str(out), "--resume"]) == 0
    same_bits(out, undisturbed)
    assert [entry.name for entry in out.iterdir()] == ["data.zarr"]


@pytest.mark.thorough("by test_a_kill_before_the_finished_chunks_are_removed_costs_nothing")
def test_a_kill_while_the_finished_chunks_are_removed_costs_nothing(tmp_path, monkeypatch, undisturbed):
    out, remove = tmp_path / "out", shutil.rmtree

    def half(path, *rest, **more):
        """The part that the order of directory entries may put first."""
        if Path(path).name == UNFINISHED:
            for inner in Path(path).glob("*/zarr.json"):
                inner.unlink()
        else:
            remove(path, *rest, **more)

    monkeypatch.setattr("linsim.storage.places.shutil.rmtree", half)
    assert main([*SMALL, "--out", str(out)]) == 0
    monkeypatch.undo()
    assert main([*SMALL, "--out", str(out), "--resume"]) == 0
    same_bits(out, undisturbed)


def test_a_second_run_on_a_folder_is_refused_in_one_line(tmp_path):
    with lease(tmp_path / "out", OF, VERSIONS):
        for flags in ({"resume": True}, {"overwrite": True}):
            with (
                pytest.raises(InvalidInput, match="out: got .*no other run is writing to at the moment"),
                lease(tmp_path / "out", OF, VERSIONS, **flags),
            ):
                pass
        assert (tmp_path / "out" / ".unfinished" / "run.json").exists()
    with lease(tmp_path / "out", OF, VERSIONS) as leased:
        assert not leased.complete
    assert not (tmp_path / "out").exists()


def test_another_process_is_refused_too(tmp_path):
    script = (
        "import sys, pathlib\nfrom linsim.storage.leases import lease\nfrom linsim.errors import InvalidInput\n"
        "try:\n    with lease(pathlib.Path(sys.argv[1]), {}, {}, resume=True): print('mine')\n"
        "except InvalidInput as error:\n    print(error)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with lease(tmp_path, OF, VERSIONS):
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told == f"out: got {tmp_path}; allowed: a folder that no other run is writing to at the moment\n"


def test_a_second_run_takes_nothing_from_one_that_is_saving(tmp_path):
    with lease(tmp_path, OF, VERSIONS):
        half = tmp_path / ".data.zarr.partial" / "half"
        half.parent.mkdir()
        half.write_text("")
        with pytest.raises(InvalidInput, match="no other run"), lease(tmp_path, OF, VERSIONS, resume=True):
            pass
        assert half.exists()


def test_of_many_runs_at_once_one_has_the_folder(tmp_path):
    had, waiting, done = [], threading.Barrier(8), threading.Event()

    def contend():
        waiting.wait()
        try:
            with lease(tmp_path, OF, VERSIONS, resume=True):
                had.append(True)
                done.wait(10)
        except InvalidInput:
            had.append(False)
        if len(had) == 8:
            done.set()

    threads = [threading.Thread(target=contend) for _ in range(8)]
    for thread in threads:
        thread.start()
    while len(had) < 8 and any(thread.is_alive() for thread in threads):
        done.wait(0.01)
    done.set()
    for thread in threads:
        thread.join()
    assert sum(had) == 1


def told(of):
    """As the result in a folder tells."""
    return lambda _: of


KEPT = {"config.seed": "0", "config.folder.a": "1", "config.folder.b": "2"}


@pytest.mark.parametrize(
    ("now", "complete", "earlier"),
    [(KEPT, True, False), (KEPT | {"config.folder.c": "3"}, False, True)],
    ids=["the same", "more"],
)
def test_what_may_grow_goes_on_with_what_is_there(tmp_path, now, complete, earlier):
    with lease(tmp_path, now, {}, resume=True, grows="config.folder.", result=told(KEPT)) as leased:
        assert (leased.complete, leased.earlier) == (complete, earlier)
        (leased.chunks / "0123456789abcdef.json").parent.mkdir(exist_ok=True)
        (leased.chunks / "0123456789abcdef.json").write_text("{}")
    if not complete:  # and once more, as after a kill, with one more
        more = now | {"config.folder.d": "4"}
        with lease(tmp_path, more, {}, resume=True, grows="config.folder.", result=told(KEPT)) as leased:
            assert (leased.complete, leased.earlier) == (False, True)
            assert json.loads((leased.chunks / "run.json").read_text()) == more


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (KEPT | {"config.folder.b": "3"}, "config.folder.b: 2, now 3"),
        ({name: KEPT[name] for name in ("config.seed", "config.folder.a")}, "config.folder.b: 2, now absent"),
        (KEPT | {"config.folder.c": "3", "config.seed": "1"}, "config.seed: 0, now 1"),
        (dict.fromkeys((*KEPT, "x"), "9"), "config.folder.b: 2, now 9; and 1 more"),
    ],
    ids=["replaced", "gone", "another seed", "all"],
)
def test_what_grows_must_be_the_same_as_far_as_it_was(tmp_path, now, said):
    with (
        pytest.raises(InvalidInput, match=f"{said}$"),
        lease(tmp_path, now, {}, resume=True, grows="config.folder.", result=told(KEPT)),
    ):
        pass


def test_a_folder_that_holds_something_else_keeps_it(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with lease(tmp_path, OF, VERSIONS, resume=True) as leased:
        assert json.loads((leased.chunks / "run.json").read_text()) == {**OF, **VERSIONS}
    assert os.listdir(tmp_path) == ["notes.txt"]
