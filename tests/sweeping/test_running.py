"""How sweeps run: memory, hands, and what people are told on the way."""

import math
from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linsim.sweeping.computing
from linsim.dynamics import programs
from linsim.dynamics.matrices.dense import Dense
from linsim.dynamics.runs import Lanes
from linsim.dynamics.training import Session
from linsim.errors import InvalidInput
from linsim.phase import Phase
from linsim.progress.bar import Bar
from linsim.sweeping import running
from linsim.sweeping.plan import COPIES, Plan
from linsim.sweeping.running import Hands, ThisProcess, Watcher, current
from linsim.sweeping.sweep import sweep
from linsim.sweeping.work import Work, source_of
from tests.problems import aligned_problem, gaussian_problem

free_memory = getattr(running.free_memory, "__wrapped__", running.free_memory)  # of devices that are made up
AXES = {"learning_rate": [1e-3, 4e-3, 1e-2]}
PROBLEM = aligned_problem(budgets=(5, 40), finetune_steps=30)


def test_changes_last_as_long_as_their_context_and_nest():
    usual = current()
    with running.running(memory=2**21):
        with running.running(recheck=3):
            assert (current().memory, current().recheck) == (2**21, 3)
        assert (current().memory, current().recheck) == (2**21, None)
    with pytest.raises(KeyError), running.running(memory=2**21):
        raise KeyError
    assert current() is usual


@pytest.mark.parametrize("memory", [0, 2**20 - 1, -5])
def test_too_little_memory_is_one_line(memory):
    with (
        pytest.raises(InvalidInput, match="memory: got .*; allowed: an integer >= 1048576"),
        running.running(memory=memory),
    ):
        pass


def test_a_sweep_whose_lanes_do_not_fit_is_one_line():
    problem = gaussian_problem(dim=100, seeds=1, budgets=np.asarray([1]), finetune_steps=1)
    with (
        running.running(memory=2**20),
        pytest.raises(InvalidInput, match=r"memory: got 1048576; allowed: at least 4160000 bytes here"),
    ):
        sweep(problem, AXES, solver="dense")


def test_less_memory_makes_more_chunks(monkeypatch):
    cuts, cut = [], linsim.sweeping.computing.cut
    monkeypatch.setattr(linsim.sweeping.computing, "cut", lambda *given: cuts.append(cut(*given)) or cuts[-1])
    axes = {"learning_rate": np.geomspace(1e-3, 1e-2, 40).tolist(), "momentum": np.linspace(0, 0.5, 40).tolist()}
    for memory in (2**20, 2**30):
        with running.running(memory=memory, recheck=0):
            sweep(replace(PROBLEM, finetune_steps=1), axes)
    small, large = (len(each.boxes()) for each in cuts)
    assert (small, large) == (math.ceil(40 / (2048 // 2 // 2 // 40)), 1)


def test_free_memory_is_a_power_of_two_and_a_quarter_at_most(monkeypatch):
    monkeypatch.setattr(running.room.psutil, "virtual_memory", lambda: SimpleNamespace(available=100 * 2**30))
    on_cpu = jax.devices("cpu")[:2]
    assert free_memory(on_cpu[:1]) == 16 * 2**30
    assert free_memory(on_cpu) == 8 * 2**30
    monkeypatch.setattr(running.room.psutil, "virtual_memory", lambda: SimpleNamespace(available=99))
    assert free_memory(on_cpu) == running.SMALLEST_MEMORY
    full, empty = (
        SimpleNamespace(platform="gpu", memory_stats=lambda used=used: {"bytes_limit": 2**36, "bytes_in_use": used})
        for used in (2**36 - 2**33, 0)
    )
    assert free_memory([empty, full]) == 2**31


def test_a_device_that_tells_nothing_of_its_memory_is_taken_for_the_hosts(monkeypatch):
    monkeypatch.setattr(running.room.psutil, "virtual_memory", lambda: SimpleNamespace(available=2**34))
    assert free_memory([SimpleNamespace(platform="tpu", memory_stats=lambda: None)]) == 2**32


FULL = Phase(0.01, product_penalty=0.1, weight_penalty=0.1, weight_decay=0.1, momentum=0.5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_memory_of_a_lane_is_no_more_than_the_plan_says(dtype):
    lanes, problem = 8, gaussian_problem(dim=64, seeds=1, finetune=FULL)
    session = Session.open(problem, Dense(), dtype)
    phase, states = problem.finetune.as_dtype(dtype), jax.tree.map(lambda leaf: leaf[None], session.encoded.initial)
    first = jnp.zeros(lanes, jnp.int32)
    given = Lanes(first, first, {"learning_rate": jnp.full(lanes, 0.01, dtype)})
    carry = jax.eval_shape(lambda: programs.branch(session.solver, states, phase, session._keys(1), given))
    lowered = programs.tuned.lower(
        session.solver, carry, session.encoded.finetune, phase, given, np.int32(30), session._keys(1)
    )
    used = lowered.compile().memory_analysis()
    held = used.argument_size_in_bytes + used.output_size_in_bytes + used.temp_size_in_bytes - used.alias_size_in_bytes
    # Arguments besides the carry, the task above all, are there once; a plan that asks for twice as much wastes half.
    assert 0.5 * COPIES < held / (lanes * session.state_bytes) < COPIES


def test_hands_may_give_chunks_in_any_order_and_watchers_are_told(monkeypatch):
    monkeypatch.setattr(linsim.sweeping.computing, "cut", lambda shape, *_: Plan(shape, (2, 1, 2), (2, 3, 2), 2))
    told, steps = [], []

    class Backwards:
        def compute(self, work, boxes, report):
            return ((box, work.run(box)) for box in reversed(list(boxes)))

    assert isinstance(Backwards(), Hands)
    assert isinstance(ThisProcess(), Hands)
    assert isinstance(Bar("x").chunks, Watcher)
    forth = sweep(PROBLEM, AXES, rechecked=0)
    with running.running(hands=Backwards(), watcher=lambda *given: told.append(given), recheck=0):
        back = sweep(PROBLEM, AXES, report=lambda *given: steps.append(given))
    assert told == [(0, 3, 0), (1, 3, 4), (2, 3, 8), (3, 3, 12)]
    total = 2 * 40 + 12 * 30
    assert [step for step in steps if step[0] > 0] == [(80 + 120 * done, total) for done in (1, 2, 3)]
    for name in forth.data_vars:
        np.testing.assert_array_equal(forth[name], back[name])


def test_work_is_not_opened_where_the_source_is_another():
    state = {"solver": Dense(), "source": dict(source_of(Dense()))}
    Work.__new__(Work).__setstate__({**state})
    state["source"] |= {"linsim.dynamics.matrices.dense": "of yesterday"}
    with pytest.raises(InvalidInput, match=r"workers: got other source of linsim\.dynamics\.matrices\.dense; allowed"):
        Work.__new__(Work).__setstate__(state)
