"""Long work called from Python: the bar when it is asked for, and in a notebook by itself."""

import builtins
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import strategies as st

import linsim as ls
from linsim.progress import bar
from tests.problems import aligned_problem

PROBLEM = aligned_problem(budgets=(5, 40), finetune_steps=30)
RATES, STRENGTHS = np.array([1e-3, 1e-2]), np.array([0.0, 1.0])
CLAIM = ls.Claim(
    id="no-square-is-negative",
    statement="A square is not negative",
    source="re-derived",
    equation="1.1",
    domain=st.fixed_dictionaries({"x": st.floats(0.1, 1.0)}),
    check=lambda problem, sign=1: sign * problem["x"] ** 2,
    variants=[ls.Variant(name="every-square-is", changes={"sign": -1})],
)

WORK = {
    "a sweep": lambda **how: ls.sweep(PROBLEM, {"learning_rate": RATES}, rechecked=0, **how),
    "a chart": lambda **how: ls.chart(PROBLEM, RATES, STRENGTHS, predicted=False, rechecked=0, tolerance=None, **how),
    "a claim": lambda **how: ls.judge(CLAIM, examples=5, **how),
}


@pytest.fixture
def bars(monkeypatch):
    """Bars that were begun, and what each was told."""
    begun = []

    class Kept(bar.Bar):
        def __init__(self, doing):
            super().__init__(doing)
            self.told, self.of_chunks = [], []
            begun.append(self)

        def __call__(self, done, total):
            self.told.append((done, total))

        def chunks(self, done, total, lanes):
            self.of_chunks.append((done, total))

    monkeypatch.setattr(bar, "Bar", Kept)
    return begun


@pytest.mark.parametrize("name", WORK)
def test_a_bar_is_shown_when_it_is_asked_for_and_goes_to_the_end(name, bars):
    heard = []
    WORK[name](progress=True, report=lambda *told: heard.append(told))
    (shown,) = bars
    assert shown.told == heard
    done, total = zip(*heard, strict=True)
    assert done[-1] == total[-1] == total[0] > 0
    assert list(done) == sorted(done)
    assert name == "a claim" or shown.of_chunks[-1] == (1, 1)


@pytest.mark.parametrize("name", WORK)
def test_a_notebook_shows_it_unless_somebody_listens_or_it_is_not_wanted(name, bars, monkeypatch):
    WORK[name]()
    assert not bars
    monkeypatch.setattr(builtins, "get_ipython", lambda: SimpleNamespace(kernel=object()), raising=False)
    WORK[name](progress=False)
    WORK[name](report=lambda *_: None)
    assert not bars
    WORK[name]()
    assert len(bars) == 1


def test_whoever_watches_chunks_already_goes_on_doing_so(bars):
    heard = []
    with ls.running(watcher=lambda *told: heard.append(told)):
        WORK["a sweep"](progress=True)
    assert heard
    assert not bars[0].of_chunks
