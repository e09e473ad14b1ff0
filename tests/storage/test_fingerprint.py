"""Fingerprints: the same for the same sweep made twice, others for whatever would change its numbers."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from linsim.dynamics.moving.ascent import SharpnessAware
from linsim.dynamics.moving.averages import ExponentialAverage
from linsim.dynamics.moving.parameters import Layers, LowRank, Masked
from linsim.phase import Phase, Term
from linsim.storage.fingerprint import differences, digest, fingerprint
from linsim.tasks import LinearTask
from tests.problems import aligned_problem, gaussian_problem
from tests.test_architecture import ROOT


def name_of(value):
    return digest(fingerprint({"value": value}))


MADE = {
    "cosine schedule": lambda: optax.cosine_decay_schedule(1.0, 300),
    "longer cosine schedule": lambda: optax.cosine_decay_schedule(1.0, 301),
    "linear schedule": lambda: optax.linear_schedule(1.0, 0.0, 300),
    "linear schedule that begins later": lambda: optax.linear_schedule(1.0, 0.0, 300, transition_begin=1),
    "steps": lambda: optax.piecewise_constant_schedule(1.0, {10: 0.1}),
    "later steps": lambda: optax.piecewise_constant_schedule(1.0, {11: 0.1}),
    "joined": lambda: optax.join_schedules([optax.constant_schedule(1.0), optax.constant_schedule(2.0)], [10]),
    "joined with others": lambda: optax.join_schedules(
        [optax.constant_schedule(1.0), optax.constant_schedule(3.0)], [10]
    ),
    "adam": lambda: optax.adam,
    "rmsprop": lambda: optax.rmsprop,
    "adamw": lambda: partial(optax.adamw, weight_decay=0.0),
    "adamw that decays": lambda: partial(optax.adamw, weight_decay=0.1),
    "adamw of another b1": lambda: partial(optax.adamw, 0.8, weight_decay=0.1),
    "doubling": lambda: lambda step: 2.0 * step,
    "tripling": lambda: lambda step: 3.0 * step,
    "small array": lambda: np.arange(3.0),
    "another small array": lambda: np.asarray([0.0, 1.0, 2.0 + 1e-15]),
    "matrix": lambda: np.zeros((40, 50)),
    "matrix with one other entry": lambda: np.where(np.arange(2000).reshape(40, 50) == 1000, 1e-300, 0.0),
    "matrix with that entry elsewhere": lambda: np.where(np.arange(2000).reshape(40, 50) == 1001, 1e-300, 0.0),
    "matrix of another shape": lambda: np.zeros((50, 40)),
    "matrix of another type": lambda: np.zeros((40, 50), np.float32),
    "none": lambda: None,
    "a problem": aligned_problem,
    "of other budgets": lambda: aligned_problem(budgets=(50, 400, 2001)),
    "of longer fine-tuning": lambda: aligned_problem(finetune_steps=301),
    "of another rate": lambda: aligned_problem(pretrain=Phase(0.01 + 1e-17, weight_decay=0.01 + 1e-15)),
    "with momentum": lambda: aligned_problem(finetune=Phase(0.01, momentum=0.0)),
    "of Nesterov": lambda: aligned_problem(finetune=Phase(0.01, momentum=0.0, nesterov=True)),
    "idealised": lambda: aligned_problem(idealised=True),
    "of another seed": lambda: replace(aligned_problem(), seed=1),
    "of more seeds": lambda: aligned_problem(seeds=3),
    "without shift": lambda: replace(
        aligned_problem(), transfer=gaussian_problem(dim=6).transfer, initial=GAUSSIAN.initial
    ),
}
GAUSSIAN = gaussian_problem(dim=6)


def test_what_is_made_twice_is_the_same():
    assert {label: name_of(make()) for label, make in MADE.items()} == {
        label: name_of(make()) for label, make in MADE.items()
    }


def test_no_two_different_values_are_the_same():
    names: dict[str, str] = {}
    for label, make in MADE.items():
        assert names.setdefault(name_of(make()), label) == label


class Decay:
    """A schedule with a state of its own."""

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, step):
        return self.factor**step

    def at(self, step):
        return self(step)


@dataclass(frozen=True)
class Told:
    """The same, whose fields are seen."""

    factor: float

    def __call__(self, step):
        return self.factor**step


def closing_over(value):
    return lambda step: value[step]


def task(middle):
    return LinearTask.create(np.array([2.0, middle, 1.0]))


PAIRS = {
    "names that code refers to": (lambda: lambda rate: optax.adam(rate), lambda: lambda rate: optax.rmsprop(rate)),
    "defaults": (lambda: lambda step, factor=1: factor, lambda: lambda step, factor=2: factor),
    "defaults by name": (lambda: lambda step, *, factor=1: factor, lambda: lambda step, *, factor=2: factor),
    "functions within": (lambda: lambda step: (lambda x: 2 * x)(step), lambda: lambda step: (lambda x: 3 * x)(step)),
    "objects that are called": (lambda: Decay(0.5), lambda: Decay(0.6)),
    "methods": (lambda: Decay(0.5).at, lambda: Decay(0.6).at),
    "arrays of jax": (lambda: jnp.zeros(2000), lambda: jnp.zeros(2000).at[1000].set(1.0)),
    "tasks closed over": (lambda: closing_over(task(1.5)), lambda: closing_over(task(1.5 + 1e-12))),
    "tasks in a list": (lambda: [task(1.5)], lambda: [task(1.5 + 1e-12)]),
    "arrays by name closed over": (
        lambda: closing_over({"rates": np.zeros(2000)}),
        lambda: closing_over({"rates": np.where(np.arange(2000) == 1000, 1.0, 0.0)}),
    ),
    "arrays of jax closed over": (
        lambda: closing_over(jnp.linspace(0, 1, 3)),
        lambda: closing_over(jnp.linspace(0, 1 + 1e-12, 3)),
    ),
}


@pytest.mark.parametrize("case", PAIRS)
def test_functions_are_told_apart_by_all_that_they_compute_with(case):
    first, second = PAIRS[case]
    assert name_of(first()) == name_of(first())
    assert name_of(first()) != name_of(second())


SCALE = 1.0


def helper(step):
    return SCALE * step


def through_helper(step):
    return helper(step)


def test_what_a_function_takes_from_its_module_counts(monkeypatch):
    before = name_of(through_helper)
    monkeypatch.setitem(globals(), "UNUSED", 1.0)
    assert name_of(through_helper) == before
    monkeypatch.setitem(globals(), "SCALE", 2.0)
    assert name_of(through_helper) != before


def test_the_next_process_has_the_same_names():
    # Where text is hashed otherwise, sets are in another order; and objects are elsewhere.
    check = (
        "from tests.storage.test_fingerprint import name_of\n"
        "class Plain: pass\n"
        "print(name_of([lambda x: x in {'a', 'b', 'c', 'd'}, Plain(), {'e', 'f', 'g', 'h'}]))\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "0"}, {**os.environ, "PYTHONHASHSEED": "1"}
    told = {
        subprocess.run([sys.executable, "-c", check], cwd=ROOT, env=env, check=True, capture_output=True).stdout
        for env in environment
    }
    assert len(told) == 1


def test_a_schedule_that_is_a_dataclass_is_told_apart():
    assert name_of(Told(0.5)) == name_of(Told(0.5)) != name_of(Told(0.6))


def test_nested_fields_are_named_by_their_path():
    told = fingerprint({"problem": aligned_problem(), "precision": "float64"})
    assert told["problem.finetune.learning_rate"] == "0.01"
    assert told["problem.finetune.momentum"] == "None"
    assert told["problem.budgets"] == "[50, 400, 2000]"
    assert told["precision"] == "float64"
    assert all(isinstance(value, str) for value in told.values())


def test_differences_name_the_fields_with_both_values():
    kept = fingerprint({"config": {"seed": 0, "rates": (0.1, 0.2), "old": 1}})
    now = fingerprint({"config": {"seed": 5, "rates": (0.1, 0.2), "new": 2}})
    assert differences(kept, now) == ["config.seed: 0, now 5", "config.old: 1, now absent", "config.new: absent, now 2"]
    assert differences(kept, kept) == []


def test_the_order_of_fields_makes_no_other_name():
    forth: Mapping[str, object] = {"a": 1, "b": 2}
    assert digest(fingerprint(forth)) == digest(fingerprint(dict(reversed(forth.items()))))


def test_a_function_that_calls_itself_is_told_once():
    def made(step):
        def schedule(count):
            return 1.0 if count is None else step * schedule(None)

        return schedule

    assert fingerprint({"schedule": made(1.0)}) == fingerprint({"schedule": made(1.0)})
    assert fingerprint({"schedule": made(1.0)}) != fingerprint({"schedule": made(2.0)})


class Average:
    """What averages of a user's own share."""

    def begin(self, parameters):
        return parameters

    def read(self, memory, parameters):
        return memory


@dataclass(frozen=True)
class Halving(Average):
    """One."""

    decay: float

    def update(self, memory, parameters, step):
        return 0.5 * memory + 0.5 * parameters


@dataclass(frozen=True)
class Thirding(Average):
    """Another with the same field."""

    decay: float

    def update(self, memory, parameters, step):
        return memory / 3 + 2 * parameters / 3


Edited = type("Halving", (Thirding,), {"__qualname__": "Halving", "__module__": __name__})


def with_term(name="pull", strength=0.1, factor=2.0):
    return Phase(0.1, terms=(Term(name, lambda weights, *_: factor * weights[0].sum(), strength),))


PHASES = {
    "a term": with_term,
    "of another name": lambda: with_term(name="push"),
    "of another strength": lambda: with_term(strength=0.2),
    "of another function": lambda: with_term(factor=3.0),
    "an average": lambda: Phase(0.1, averaging=ExponentialAverage(0.5)),
    "a slower average": lambda: Phase(0.1, averaging=ExponentialAverage(0.6)),
    "a user's average": lambda: Phase(0.1, averaging=Halving(0.5)),
    "another class with the same field": lambda: Phase(0.1, averaging=Thirding(0.5)),
    "a class of the same name with other methods": lambda: Phase(0.1, averaging=Edited(0.5)),
    "a mask": lambda: Phase(0.1, moves=Masked((np.eye(40), np.ones((40, 40))))),
    "another mask": lambda: Phase(0.1, moves=Masked((np.eye(40), np.eye(40)))),
    "a layer": lambda: Phase(0.1, moves=Layers((1,))),
    "another layer": lambda: Phase(0.1, moves=Layers((2,))),
    "a rank": lambda: Phase(0.1, moves=LowRank(1)),
    "orthonormal": lambda: Phase(0.1, moves=LowRank(1, orthonormal=True)),
    "uphill": lambda: Phase(0.1, gradient_at=SharpnessAware(0.1)),
    "later": lambda: Phase(0.1, gradient_at=SharpnessAware(0.1, start=5)),
}


def test_parts_of_a_phase_are_told_apart_by_all_that_they_are():
    names = [name_of(make()) for make in PHASES.values()]
    assert names == [name_of(make()) for make in PHASES.values()]
    assert len(set(names)) == len(PHASES)
    assert not any("0x" in text for make in PHASES.values() for text in fingerprint({"phase": make()}).values())
