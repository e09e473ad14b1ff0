"""The table of optax that the pages show is current: walked here, and stepped where most is at risk."""

import json

import jax
import numpy as np
import optax
import pytest

from docs.writers import ROOT, optimisers
from linsim import InvalidInput, Phase
from linsim.dynamics.moving.trial import validate_phase
from tests.problems import gaussian_problem

AT_RISK = ("contrib.sam", "contrib.schedule_free_adamw", "partition")
"""Weights to evaluate are others, or the memory has several parts; the command that keeps the table steps all."""


@pytest.mark.filterwarnings("ignore:.*(deprecated|required in optax)")  # of what optax will drop
def test_every_function_of_optax_is_right_or_refused_in_one_line_as_the_table_says():
    kept = json.loads((ROOT / optimisers.KEPT).read_text())
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):  # as of users
        walked = [optimisers.row(name, factory, name in AT_RISK) for name, factory in optimisers.factories()]
    names = [row.name for row in walked]
    assert set(AT_RISK) <= set(names) and len(names) > 100
    if kept["optax"] == optax.__version__:
        assert names == list(kept["rows"]), "it is made by python -m docs.writers.optimisers"
    for row in walked:
        told = kept["rows"].get(row.name, [row.verdict])[0]
        assert row.verdict == (told if row.name in AT_RISK else told.partition(",")[0]), row
        assert told != "wrong" and "\n" not in row.said, row
        assert row.verdict != "refused" or row.said.startswith("pretrain.optimizer: got "), row


def test_weights_that_are_evaluated_wrongly_are_seen_by_the_walk(monkeypatch):
    monkeypatch.setattr(optimisers.descent, "evaluated", lambda memory, moving: moving)
    name = "contrib.schedule_free_adamw"
    assert optimisers.row(name, dict(optimisers.factories())[name]).verdict == "wrong"


def private(rate):
    noisy = optax.contrib.differentially_private_aggregate(1.0, 0.1, jax.random.key(0))
    return optax.chain(noisy, optax.sgd(rate))


@pytest.mark.parametrize(
    ("optimizer", "said"),
    [
        (private, "gradients of single examples"),
        (optax.lbfgs, "TypeError"),
    ],
)
def test_what_needs_more_than_the_gradient_is_refused(optimizer, said):
    problem = gaussian_problem(2, dim=3, seeds=1)
    with pytest.raises(InvalidInput, match=said) as caught:
        validate_phase("pretrain", Phase(np.float64(0.1), optimizer=optimizer), problem)
    assert str(caught.value).startswith("pretrain.optimizer: ") and "\n" not in str(caught.value)
