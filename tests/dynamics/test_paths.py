"""Who takes the steps: what kernels are not given, and what happens where they fail, are slower, or cannot be."""

import json
import logging
from dataclasses import dataclass, replace

import jax
import numpy as np
import optax
import pytest

from linsim import Term, Transfer, bigram
from linsim.dynamics.kernels import host, paths, threads, trial
from linsim.dynamics.kernels.matrix_kernel import MatrixKernel
from linsim.dynamics.kernels.vectors import Registers
from linsim.dynamics.matrices.dense import Dense
from linsim.dynamics.modes.descent_modes import Modes
from linsim.dynamics.moving.averages import ExponentialAverage
from linsim.dynamics.training import Session
from linsim.phase import Phase
from linsim.sweeping.sweep import chart
from tests.problems import aligned_problem, gaussian_problem

there = pytest.mark.skipif(host.bits() is None, reason="kernels need a processor with AVX2")


@pytest.fixture(autouse=True)
def afresh(monkeypatch):
    """As in a process of its own."""
    monkeypatch.setattr(paths, "_failures", [])
    for known in (paths._of_machine, paths._slower):
        known.cache_clear()
    yield
    for known in (paths._of_machine, paths._slower):
        known.cache_clear()


@dataclass(frozen=True)
class Own(Dense):
    name: str = "own"


def told(problem, solver=None):
    return Session.open(problem, solver or Dense(), np.float64).stepped_by["finetune"]


@there
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"batch_size": 4}, "batch_size"),
        ({"optimizer": optax.adam}, "optimizer"),
        ({"schedule": optax.cosine_decay_schedule(1.0, 300)}, "schedule"),
        ({"averaging": ExponentialAverage(0.9)}, "averaging"),
        ({"terms": (Term("size", lambda weights, *_: weights[0].sum(), 0.1),)}, "terms"),
    ],
)
def test_xla_does_what_kernels_do_not_name(changes, why):
    assert told(gaussian_problem(finetune=Phase(0.01, **changes))) == f"XLA: kernels do not know {why}"


@there
def test_what_else_goes_to_xla_and_why(monkeypatch):
    problem = gaussian_problem()
    kernels = f"kernels, vectors of {host.bits()} bits"
    assert told(problem) == told(gaussian_problem(8)) == told(aligned_problem(3), Modes()) == kernels
    assert told(problem, Own()) == "XLA: there is no kernel for the solver own"
    assert told(gaussian_problem(1)) == told(aligned_problem(1), Modes()) == "XLA: kernels are for 2 to 8 layers"
    assert told(gaussian_problem(9)) == "XLA: kernels are for 2 to 8 layers"
    monkeypatch.setattr(paths, "LARGEST", 500)
    assert told(problem) == "XLA: the weights of a lane are more than the caches of a core hold"
    assert told(aligned_problem(2), Modes()) == kernels
    monkeypatch.undo()
    task = bigram(np.full((3, 3), 1 / 3), np.full(3, 1 / 3))
    other = replace(gaussian_problem(dim=3), transfer=Transfer(task, task))
    assert task.objective is not None and told(other) == "XLA: kernels know squared error alone"
    session = Session.open(problem, Dense(), np.float64)
    with jax.enable_x64(False):
        assert session.stepped_by["pretrain"] == "XLA: numbers of 64 bits are switched off in JAX"
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert told(problem) == "XLA: kernels are for CPUs"
    monkeypatch.setenv(paths.VARIABLE, "off")
    assert told(problem) == "XLA: LINSIM_KERNELS is off"


def losses(problem, solver):
    session = Session.open(problem, solver, np.float64)
    return np.asarray(session.pretrain().losses)


@there
@pytest.mark.parametrize("solver", [Dense(), Modes()], ids=lambda solver: solver.name)
def test_a_thread_that_fails_is_told_once_and_xla_goes_on(solver, monkeypatch, caplog):
    problem = aligned_problem(2, budgets=np.asarray([3, 9]))
    expected, tried = losses(problem, solver), []

    def failing(*given):
        tried.append(given)
        raise MemoryError("no room")

    monkeypatch.setattr(threads, "run", failing)
    with caplog.at_level(logging.WARNING, "linsim"):
        np.testing.assert_allclose(losses(problem, solver), expected, rtol=1e-12)  # nine stable steps, 1e-16 each
    assert [record.getMessage() for record in caplog.records] == [
        "kernels failed: MemoryError: no room; XLA takes all further steps"
    ]
    assert len(tried) == 1 and told(problem, solver) == "XLA: kernels failed: MemoryError: no room"


def test_an_error_of_a_thread_arrives(monkeypatch):
    monkeypatch.setattr(threads, "_cores", lambda: 2)

    class Failing:
        def run(self, *given):
            raise RuntimeError("broken")

    monkeypatch.setattr(threads, "_compiled", lambda kernel: (Failing(), 8))
    with pytest.raises(RuntimeError, match="broken"):
        threads.run(MatrixKernel(Registers("float64", 256, 16), (1, 1, 1)), [np.zeros(4)], 4, 1)


@pytest.mark.parametrize("why", ["processor", "compiler"])
def test_a_machine_without_vectors_or_compiler_is_told_once(why, monkeypatch, caplog):
    def missing():
        raise ImportError("No module named 'llvmlite'")

    monkeypatch.setattr(host, "bits", missing if why == "compiler" else lambda: None)
    monkeypatch.setattr(host, "ours", lambda: True)
    with caplog.at_level(logging.WARNING, "linsim"):
        found = {told(gaussian_problem()), told(gaussian_problem())}
    reason = {
        "processor": "kernels need vectors of 256 bits, which this processor has not",
        "compiler": "kernels need llvmlite: No module named 'llvmlite'",
    }[why]
    assert found == {f"XLA: {reason}"}
    assert [record.getMessage() for record in caplog.records] == [f"{reason}; XLA takes the steps, more slowly"]


def test_where_no_kernels_are_expected_nothing_is_said(monkeypatch, caplog):
    monkeypatch.setattr(host, "bits", lambda: None)
    monkeypatch.setattr(host, "ours", lambda: False)
    assert told(gaussian_problem()).startswith("XLA: ") and not caplog.records


@there
def test_kernels_that_are_slower_are_not_used(monkeypatch):
    found, kept = [], {}
    monkeypatch.setattr(trial, "tried", lambda *given: found.append(given) or 0.5)
    monkeypatch.setattr(trial, "kept", kept)
    words = "XLA: on this processor kernels are slower, at 0.5 of its speed"
    assert told(gaussian_problem()) == told(gaussian_problem(3)) == words
    paths._slower.cache_clear()
    assert told(gaussian_problem()) == words and len(found) == 1 and len(kept) == 1
    kept.update(dict.fromkeys(kept, 1.5))
    paths._slower.cache_clear()
    assert told(gaussian_problem()).startswith("kernels") and len(found) == 1


@there
@pytest.mark.parametrize("solver", ["modes", "dense"])
def test_a_trial_races_both(solver):
    assert 0.01 < trial.tried(solver, host.registers("float32", host.bits())) < 1000


@there
def test_a_result_says_who_took_its_steps():
    problem = aligned_problem(2, pretrain=Phase(0.01, schedule=optax.cosine_decay_schedule(1.0, 2000)))
    problem = replace(problem, budgets=np.asarray([5, 10]), finetune_steps=5)
    found = chart(problem, np.asarray([0.01]), np.asarray([0.1]), rechecked=0, predicted=False)
    assert json.loads(found.attrs["stepped_by"]) == {
        "pretrain": "XLA: kernels do not know schedule",
        "finetune": f"kernels, vectors of {host.bits()} bits",
    }
