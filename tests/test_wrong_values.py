"""Every public name, each argument, a pool of wrong values: a refusal in one line, or a result that may stand."""

from dataclasses import FrozenInstanceError
from operator import attrgetter

import jax
import numpy as np
import pytest

import linsim as ls
from benchmarks.fuzz.calls import Call, calls
from benchmarks.fuzz.wrong import VALUES, fault
from linsim.commands.cli import complete
from linsim.errors import InvalidInput, RunFailed

CALLS = list(calls())
SHARES = 8  # of the pool, which an argument of a slow call is given one of


def pool(call, argument):
    """Values for an argument; those of slow calls share them out."""
    place = [*call.sound].index(argument)
    return [label for number, label in enumerate(VALUES) if not call.slow or number % SHARES == place % SHARES]


def test_no_public_name_is_skipped(capsys):
    walked = {call.name.partition(".")[0] for call in CALLS}
    assert walked == set(ls.__all__)
    with capsys.disabled():
        print(f" {len(walked)} public names walked, none skipped", end="")


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_wrong_values_are_refused_in_one_line_or_give_what_the_docstring_names(call, unchecked):
    if call.name not in ("load", "plot"):  # of a folder that is not there
        call()
    for argument in call.sound:
        for label in pool(call, argument):
            told = fault(call, **{argument: VALUES[label]()})
            assert told is None, f"{call.name}({argument}={label}): {told}"


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: x, None),
        (lambda x: np.nan, "NaN, which"),
        (lambda x: {"a": [np.inf]}, "infinite, which"),
        (lambda x: 1 / 0, "ZeroDivisionError"),
        (lambda x: np.log(np.zeros(1)), "RuntimeWarning"),
        (lambda x: (_ for _ in ()).throw(InvalidInput("x", 1, "2")), None),
        (lambda x: (_ for _ in ()).throw(RunFailed("two\nlines")), "several lines"),
    ],
)
def test_what_may_not_stand_is_seen(function, expected):
    told = fault(Call("power_law", function, {"x": 0}), x=1)
    assert (told is None) if expected is None else told.startswith(expected)


def test_what_else_is_raised_is_what_the_page_on_results_names():
    task = ls.LinearTask.create(np.array([1.0]))
    with pytest.raises(TypeError, match="unexpected keyword argument 'speed'"):
        ls.Phase(0.1, speed=2)
    with pytest.raises(TypeError, match="missing"):
        ls.Phase()
    with pytest.raises(AttributeError, match="sweeep"):
        attrgetter("sweeep")(ls)
    with pytest.raises(FrozenInstanceError):
        task.loss = None


@pytest.mark.parametrize(
    "error", [OSError("disk"), MemoryError(), jax.errors.JaxRuntimeError("out"), KeyboardInterrupt()]
)
def test_the_machines_own_refusals_end_a_command_with_status_3_and_one_line(error, capsys):
    def work(made):
        raise error

    assert complete(work) == 3
    assert capsys.readouterr().err.count("\n") == 1


def swept(size, precision):
    task = ls.LinearTask.create(np.array([size, size]))
    phase, weights = ls.Phase(0.1), ls.stack_seeds([ls.identity((2, 2, 2), 1.0)])
    problem = ls.Problem(ls.Transfer(task, task), weights, phase, phase, budgets=np.array([1]), finetune_steps=1)
    return ls.sweep(problem, {"learning_rate": [0.1]}, precision=precision)


SIZES = [(1e-30, "float32"), (1e30, "float32"), (1e-75, "float64"), (1e75, "float64")]


@pytest.mark.parametrize(("size", "precision"), SIZES)
def test_what_would_underflow_or_overflow_on_the_way_is_refused_with_its_size(size, precision):
    with pytest.raises(InvalidInput, match="of size 1e[-+]75|of losses of 2e[-+]60"):
        swept(size, precision)
