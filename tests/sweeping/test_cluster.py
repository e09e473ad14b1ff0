"""Chunks on a cluster: the same bits whoever computes them, whoever dies, and one line on what cannot be helped."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import types
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import distributed
import numpy as np
import optax
import psutil
import pytest

import linsim.sweeping.plan
import linsim.sweeping.running
from linsim.errors import InvalidInput, RunFailed
from linsim.phase import Phase
from linsim.sweeping import cluster
from linsim.sweeping.cluster import allowed, computing, starting
from linsim.sweeping.plan import Box, Plan
from linsim.sweeping.running import ThisProcess, running
from linsim.sweeping.sweep import chart, sweep
from linsim.sweeping.work import Work
from tests.problems import aligned_problem

ROOT = Path(__file__).parent.parent.parent
ONE_DEVICE = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=1"  # the last one wins
RATES, STRENGTHS = np.geomspace(1e-3, 1e-2, 4), np.asarray([0.0, 0.25, 0.5])


@pytest.fixture(scope="module")
def crew():
    """One worker with one device, while this process has two; tests send for more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLA_FLAGS", ONE_DEVICE)
        with cluster.hands(None, 1) as hands:
            yield hands


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setitem(linsim.sweeping.plan.CHUNK_LANES, "cpu", 6)  # two cells


def falling(base):
    return lambda step: base ** (step / 300)


def charted(problem):
    return chart(problem, RATES, STRENGTHS, tolerance=None)


def swept():
    """In blocks of pre-training, with a schedule that is a closure and an optimiser of optax."""
    problem = aligned_problem(finetune=Phase(0.01, optimizer=partial(optax.sgd, momentum=0.5), schedule=falling(0.5)))
    axes = {"pretrain_weight_decay": [0.0, 0.005, 0.01, 0.015, 0.02], "learning_rate": [1e-3, 1e-2]}
    with running(memory=2**14):
        return sweep(problem, axes)


def same_bits(one, other):
    for name in one.data_vars:
        np.testing.assert_array_equal(one[name].values, other[name].values, err_msg=name)


class Fake(Work):
    """Nine chunks of work, which arrives in a worker as the result of a function."""

    def __init__(self, *arrival, block=1):
        self.__dict__.update(arrival=arrival, plan=Plan((1, 9), (1, 1), (1, block), 1))

    def __reduce__(self):
        return self.arrival

    @property
    def boxes(self):
        return self.plan.boxes()


def test_one_worker_two_and_this_process_give_the_same_bits(crew, small_chunks, monkeypatch):
    monkeypatch.setattr(linsim.sweeping.running, "SMALLEST_MEMORY", 1)
    problem = aligned_problem()
    charted_here, swept_here = charted(problem), swept()
    with running(hands=crew):
        same_bits(charted(problem), charted_here)
        crew.client.cluster.scale(2)  # which comes while chunks are under way, as workers do that wait in a queue
        same_bits(swept(), swept_here)
        crew.client.wait_for_workers(2, timeout=20)
        same_bits(charted(problem), charted_here)
    # Of each sweep a worker unpickled one work, or every chunk would pre-train and compile again.
    opened = crew.client.run(lambda: computing.opened.cache_info()[:2])
    assert len(opened) == 2
    assert all(misses <= 3 for _, misses in opened.values())
    assert sum(hits for hits, _ in opened.values()) > 20


def test_a_killed_worker_costs_no_data(crew, small_chunks):
    problem = aligned_problem()
    expected = charted(problem)
    pids, told = crew.client.run(os.getpid), []

    def watcher(done, total, lanes):
        told.append((done, total))
        if done == 1:
            os.kill(max(pids.values()), signal.SIGKILL)

    with running(hands=crew, watcher=watcher):
        same_bits(charted(problem), expected)
    assert [done for done, _ in told] == list(range(told[-1][1] + 1))
    assert max(pids.values()) not in crew.client.run(os.getpid).values()


def test_a_chunk_that_kills_its_workers_is_told_in_one_line(crew, monkeypatch):
    monkeypatch.setattr(crew.client.cluster.scheduler, "allowed_failures", 0)
    work = Fake(os._exit, (1,))
    with pytest.raises(RunFailed, match=r"^cluster: 1 workers died with a chunk under way.*--memory"):
        list(crew.compute(work, work.boxes[:1], None))


@pytest.mark.parametrize(
    ("make", "expected", "line"),
    [
        (lambda: InvalidInput("rate", -1.0, "> 0"), InvalidInput, r"rate: got -1\.0; allowed: > 0"),
        (lambda: RunFailed("disk full"), RunFailed, "worker: disk full"),
        (lambda: MemoryError(), RunFailed, "worker: MemoryError"),
        (lambda: ValueError("two\nlines"), RunFailed, "worker: ValueError: two"),
    ],
)
def test_what_goes_wrong_in_a_worker_is_told_in_one_line(crew, make, expected, line):
    def fail():
        raise make()

    work = Fake(fail, ())
    with pytest.raises(expected, match=f"^{line}$"):
        list(crew.compute(work, work.boxes, None))


def test_results_are_fetched_and_released_as_they_come(crew):
    class Big:
        def run(self, box):
            return {"values": np.zeros(1000)}

    work = Fake(Big, ())
    results = crew.compute(work, work.boxes, None)
    taken = [next(results)[0], next(results)[0]]
    held = crew.client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))
    assert held <= 1 + computing.AHEAD * 2 + 1  # the work, what is under way, and the chunk at hand
    taken += [box for box, _ in results]
    assert sorted(taken) == work.boxes


def test_a_worker_that_joins_with_other_versions_is_refused_its_first_chunk(crew, monkeypatch):
    needed = computing.versions()
    assert {"python", "linsim", "jax", "jaxlib", "numpy"} == set(needed)
    failure = computing.run_chunk(b"not read", Box((0,), (1,)), needed | {"jax": "0.0.1"})
    assert re.fullmatch(r"this worker has jax \S+; needed: jax 0\.0\.1", failure[0])
    monkeypatch.setattr(computing, "versions", lambda: needed | {"linsim": "9.9"})
    work = Fake(int, ())
    with pytest.raises(RunFailed, match=r"^tcp://\S+ has linsim \S+; needed: linsim 9\.9$"):
        list(computing.Cluster(distributed, crew.client).compute(work, work.boxes, None))


def test_neither_is_this_process():
    with cluster.hands(None, None) as hands:
        assert isinstance(hands, ThisProcess)


@pytest.mark.parametrize(
    ("scheduler", "workers", "line"),
    [
        (None, 0, "workers: got 0; allowed: an integer >= 1"),
        ("tcp://here:1", 2, "workers: got 2; allowed: none beside a scheduler"),
        ("", None, "scheduler: got ''; allowed: an address, tls://HOST:PORT"),
        ("no port", None, "scheduler: got no port; allowed: an address"),
        (
            "tcp://10.0.0.7:8786",
            None,
            "scheduler: got tcp://10.0.0.7:8786; allowed: tls://HOST:PORT beyond this machine",
        ),
        ("cluster.example:8786", None, "scheduler: got cluster.example:8786; allowed: tls://HOST:PORT beyond"),
        ("[2001:db8::1]:8786", None, "scheduler: got [2001:db8::1]:8786; allowed: tls://HOST:PORT beyond"),
        (
            "tcp://127.0.0.1.example:1",
            None,
            "scheduler: got tcp://127.0.0.1.example:1; allowed: tls://HOST:PORT beyond",
        ),
        ("tls://127.0.0.1:1", None, "scheduler: got tls://127.0.0.1:1; allowed: one that answers in 0.3 s"),
        ("localhost:1", None, "scheduler: got localhost:1; allowed: one that answers in 0.3 s"),
        ("[::1]:1", None, "scheduler: got [::1]:1; allowed: one that answers in 0.3 s"),
        ("tcp://127.0.0.1:1", None, "scheduler: got tcp://127.0.0.1:1; allowed: one that answers in 0.3 s"),
        ("nonsense://127.0.0.1:1", None, "scheduler: got nonsense://127.0.0.1:1; allowed: one that answers"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(scheduler, workers, line, monkeypatch):
    monkeypatch.setattr(starting, "ANSWER", 0.3)
    with pytest.raises(InvalidInput) as refused, cluster.hands(scheduler, workers):
        pass
    assert str(refused.value).startswith(line)
    assert "\n" not in str(refused.value)


def test_a_network_may_be_trusted(monkeypatch):
    monkeypatch.setattr(starting, "ANSWER", 0.3)
    with pytest.raises(InvalidInput, match="one that answers"), cluster.hands("tcp://nowhere.invalid:1", None, True):
        pass


SCRIPTS = {  # lines of a script: on which one, if any, work is asked for that worker processes would begin again
    "work()\n": 1,
    'if __name__ == "__main__":\n    work()\n': None,
    'if "__main__" == __name__ and True:\n    work()\n': None,
    "def main():\n    work()\n\nmain()\n": 4,
    "for _ in range(1):\n    work()\n": 2,
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_without_main_guard_is_told_what_it_lacks(script, tmp_path, monkeypatch):
    file = tmp_path / "script.py"
    file.write_text(script)
    main = types.ModuleType("__main__")
    main.__file__, main.work = str(file), lambda: allowed.require_guard("workers", 2)
    monkeypatch.setitem(sys.modules, "__main__", main)
    with pytest.raises(InvalidInput) if (line := SCRIPTS[script]) else nullcontext() as refused:
        exec(compile(script, file, "exec"), vars(main))
    if line:
        told = f'work that stands under `if __name__ == "__main__":`, and line {line} of script.py does not'
        assert str(refused.value) == f"workers: got 2; allowed: {told}"


@pytest.mark.parametrize(("scheduler", "workers"), [("tcp://localhost:1", None), (None, 1)])
def test_dask_is_an_extra(scheduler, workers, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InvalidInput, match=r"pip install 'linsim\[cluster\]'"), cluster.hands(scheduler, workers):
        pass


def test_a_scheduler_without_workers_or_with_other_ones_is_refused(crew, monkeypatch):
    monkeypatch.setattr(starting, "ANSWER", 0.3)
    with distributed.LocalCluster(
        n_workers=0, processes=False, protocol="tcp", dashboard_address="127.0.0.1:0"
    ) as empty:
        address = empty.scheduler_address
        with pytest.raises(InvalidInput, match="one with workers: none came in 0.3 s"), cluster.hands(address, None):
            pass
    monkeypatch.setattr(computing, "versions", lambda: {"linsim": "9.9"})
    address = crew.client.scheduler.address
    with pytest.raises(InvalidInput, match=r"tcp\S* has linsim \S+; needed: linsim 9"), cluster.hands(address, None):
        pass


def test_workers_go_on_with_their_block_and_help_when_none_is_left():
    work = Fake(block=4)
    waiting = computing._Waiting(work, work.boxes)
    taken = [(worker, waiting.take(worker).start[1]) for worker in "abaabacab"]
    assert taken == [("a", 0), ("b", 4), ("a", 1), ("a", 2), ("b", 5), ("a", 3), ("c", 8), ("a", 6), ("b", 7)]
    assert not waiting


def test_a_lost_scheduler_is_told_in_one_line_after_what_was_finished(tmp_path):
    file = tmp_path / "scheduler.json"
    common = ["--scheduler-file", str(file), "--dashboard-address", "127.0.0.1:0"]
    scheduler = begun("-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", *common)
    worker = begun("-m", "distributed.cli.dask_worker", "--nthreads", "2", "--no-nanny", *common)

    class Slow:
        def run(self, box):
            time.sleep(0.1)
            return {"values": np.zeros(1)}

    try:
        while not file.exists() or not file.read_text():
            time.sleep(0.05)
        work = Fake(Slow, ())
        with cluster.hands(json.loads(file.read_text())["address"], None) as hands:
            results = hands.compute(work, work.boxes, None)
            assert next(results)[0] in work.boxes
            scheduler.kill()
            with pytest.raises(RunFailed, match=r"^cluster: the scheduler was lost \(.*\)$"):
                list(results)
    finally:
        for process in (worker, scheduler):
            process.kill()
            process.communicate()


def test_an_interrupt_ends_client_and_workers_at_once_and_quietly():
    client = begun("-c", SLEEPERS, start_new_session=True)
    try:
        assert client.stdout.readline() == "asleep\n"
        os.killpg(client.pid, signal.SIGINT)  # as a terminal does: to the workers, too
        out, errors = client.communicate(timeout=20)
        assert (out, errors) == ("interrupted\n", "")
        for _ in range(100):  # the system takes a moment to bury them
            if not any(alive_in(each, client.pid) for each in psutil.process_iter()):
                return
            time.sleep(0.1)
        pytest.fail("worker processes outlive their client")
    finally:
        client.kill()


def begun(*command, **options):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *command], cwd=ROOT, **pipes, **options)


def alive_in(process, group):
    try:
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


SLEEPERS = """
import signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # where the tests run in the background, it is ignored
from linsim.sweeping import cluster
from linsim.sweeping.cluster import allowed, computing, starting
from linsim.sweeping.plan import Plan

class Sleeper:
    plan = Plan((1, 9), (1, 1), (1, 1), 1)
    def run(self, box):
        print("asleep", flush=True)
        time.sleep(60)

if __name__ == "__main__":
    try:
        with cluster.hands(None, 1) as hands:
            next(hands.compute(Sleeper(), Sleeper.plan.boxes(), None))
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""
