"""What a prompt shows of a value: what matters, in under ten lines."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import linsim as ls
from linsim.claims.registry import CLAIMS
from linsim.errors import brief
from linsim.theory.prediction import Prediction

TASK = ls.LinearTask.create(ls.power_law(16))
TRANSFER = ls.shifted(TASK, ls.Rescale(range(5, 17), 4.0))
RICH = ls.Phase(
    1e-3, product_penalty=1.0, optimizer=partial(optax.adamw, weight_decay=0.1), schedule=optax.constant_schedule(1.0)
)
PROBLEM = ls.Problem(
    transfer=TRANSFER,
    initial=ls.stack_seeds([ls.identity((16,) * 40, tau=0.1)] * 3),
    pretrain=ls.Phase(0.005),
    finetune=RICH,
    budgets=np.unique(np.geomspace(20, 40_000, 60).astype(int)),
    finetune_steps=500,
    idealised=True,
)
NETWORK = ls.LinearNetwork(ls.identity((64, 32, 8), tau=2.0))
LOSS = ls.Predictive.of_module(NETWORK, ls.SQUARED_ERROR)


def watched():
    batches = [(jnp.ones((9, 64)), jnp.zeros((9, 8)))] * 8
    watch = ls.Watch(ls.Monitor(LOSS, ["gradient_square"]), batches, measure="gradient_square")
    for budget in (10, 20, 40):
        watch(budget, NETWORK)
    return watch


VALUES = {
    "task": lambda: TASK,
    "task with inputs of its own": lambda: ls.LinearTask.create(ls.power_law(3), input_covariance=np.eye(3) * 2),
    "transfer": lambda: TRANSFER,
    "shift": lambda: ls.Permute(range(1000, 0, -1)),
    "shift by a list": lambda: ls.ZeroModes(list(range(1, 1000))),
    "phase": lambda: RICH,
    "phase with all its parts": lambda: ls.Phase(
        1e-3,
        terms=(ls.Term("size", lambda *_: 0.0, 1.0), ls.Term("other_size", lambda *_: 0.0)),
        averaging=ls.ExponentialAverage(0.99),
        gradient_at=ls.SharpnessAware(0.05),
        moves=ls.Masked((np.ones((64, 64)), np.zeros((64, 64)))),
    ),
    "addition of low rank": lambda: ls.LowRank(2),
    "problem": lambda: PROBLEM,
    "network": lambda: NETWORK,
    "session": lambda: ls.Session.open(PROBLEM, ls.choose(PROBLEM, "dense").solver, np.float64),
    "solver": lambda: ls.choose(PROBLEM, "dense"),
    "loss": lambda: LOSS,
    "monitor": lambda: ls.Monitor(LOSS),
    "watch": watched,
    "record": lambda: watched().record,
    "record of nothing": lambda: ls.Record(),
    "inflection points": lambda: ls.locate(np.arange(1, 60), np.random.default_rng(0).random((59, 20, 9))),
    "prediction": lambda: Prediction(np.ones((60, 9, 5, 1)), *[np.ones((9, 5, 1))] * 5, "in closed form"),
    "alarm": lambda: ls.Alarm(window=3).watch(np.arange(1, 200), np.ones(199)),
    "claim": lambda: CLAIMS["misaligned-iff"],
    "verdict": lambda: ls.judge(CLAIMS["misaligned-iff"], examples=2, shrink=False),
}


@pytest.mark.parametrize("name", VALUES)
def test_it_is_under_ten_lines_and_600_characters(name):
    told = repr(VALUES[name]())
    assert len(told.splitlines()) < 10
    assert len(told) < 600
    assert " at 0x" not in told


def test_a_problem_says_what_is_trained_how_and_how_long():
    assert repr(PROBLEM).splitlines() == [
        "Problem(",
        "  widths 16 -> 16 -> ... -> 16, 3 seeds",
        "  pretrain: LinearTask(16 -> 16, strengths 2 ... 0.125, whitened)",
        "    by Phase(learning_rate=0.005), 60 budgets of 20 ... 40000 steps",
        "  finetune: LinearTask(16 -> 16, strengths 2 ... 0.5, whitened)",
        "    by Phase(learning_rate=0.001, product_penalty=1, optimizer=adamw(weight_decay=0.1), "
        "schedule=constant_schedule), 500 steps",
        "    from idealised checkpoints",
        ")",
    ]


def test_arrays_are_told_by_their_numbers_where_few_else_by_their_range():
    assert brief(np.array([2.0, 1.0])) == "[2, 1]"
    assert brief(np.array([[np.nan, 1.0], [3.0, np.nan]])) == "float64 (2, 2) from 1 to 3, 2 NaN"
    assert brief(np.full(9, np.nan)) == "float64 (9,), all NaN"
    assert brief(np.zeros((2, 0))) == "float64 (2, 0)"
    assert brief(np.arange(9) > 5) == "bool (9,), 3 true"
    assert brief(jnp.arange(10)) == "int64 (10,) from 0 to 9"
    assert brief(jax.random.key(0)) == "key<fry> ()"


def test_values_within_a_compiled_program_have_a_repr_too():
    said = []

    def rate(phase):
        said.append(repr(phase))
        return phase.learning_rate

    jax.jit(rate)(ls.Phase(jnp.ones(3)))
    assert said == ["Phase(learning_rate=float64 (3,))"]
