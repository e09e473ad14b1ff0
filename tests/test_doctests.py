"""The examples in docstrings are run, and every public function has one."""

import doctest
import importlib
import inspect
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linsim
import linsim as ls

GIVEN = {"ls": ls, "np": np, "jax": jax, "jnp": jnp}
"""What an example may take for granted, beside the names of its own room."""

SHOWN_ELSEWHERE = {
    "load": "needs a result on disk: docs/how-to/results.md loads what its command wrote",
}
"""Public functions without an example, and why."""

LIBRARY = Path(linsim.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(LIBRARY.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in LIBRARY.rglob("*.py")
    if ">>> " in path.read_text()
)
FINDER, FLAGS = doctest.DocTestFinder(recurse=False), doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def examples(value, name, names):
    """The example of a docstring, if it has one; a list, since a docstring is one test to doctest."""
    found = FINDER.find(value, name, module=False, globs={**names, **GIVEN})
    return [test for test in found if test.examples]


def examples_in(module):
    """Of its own docstring, of what is defined there, and of the methods of classes."""
    names = vars(module)
    yield from examples(module, module.__name__, names)
    for name, value in list(names.items()):
        if getattr(value, "__module__", None) == module.__name__ and (inspect.isclass(value) or callable(value)):
            yield from examples(value, f"{module.__name__}.{name}", names)
            for inner, method in vars(value).items() if inspect.isclass(value) else ():
                method = getattr(method, "fget", None) or getattr(method, "__func__", method)
                if inspect.isroutine(method):
                    yield from examples(method, f"{module.__name__}.{name}.{inner}", names)


@pytest.mark.parametrize("name", MODULES)
def test_examples_say_what_happens(name):
    runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
    for test in examples_in(importlib.import_module(name)):
        said = []
        runner.run(test, out=said.append)
        assert runner.summarize(verbose=False).failed == 0, "".join(said)


FUNCTIONS = [name for name in dir(ls) if inspect.isroutine(getattr(ls, name))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_public_function_has_an_example(name):
    assert bool(examples(getattr(ls, name), name, {})) != (name in SHOWN_ELSEWHERE)


def test_functions_shown_elsewhere_are_public():
    assert set(SHOWN_ELSEWHERE) <= set(FUNCTIONS)
