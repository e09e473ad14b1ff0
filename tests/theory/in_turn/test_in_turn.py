"""Tasks in turn in closed form: forgetting by descent, reversal by numerical integration."""

import itertools

import numpy as np
import pytest
from scipy.integrate import quad

from linsim.errors import InvalidInput
from linsim.theory.in_turn.heads import head_forgetting
from linsim.theory.in_turn.reversal import reversal_time


@pytest.mark.parametrize("head", ["fresh", "copied"])
@pytest.mark.parametrize("overlap", [0.2, 1.0])
def test_forgetting_is_that_of_descent(head, overlap):
    one, two = 1.5, 0.8
    layer, old = np.sqrt(one) * np.array([1.0, 0.0]), np.sqrt(one)
    new = old if head == "copied" else 0.0
    second = two * np.array([overlap, np.sqrt(1 - overlap**2)])
    for _ in range(60_000):
        back = 2 * (new * layer - second)
        layer, new = layer - 1e-3 * new * back, new - 1e-3 * (back @ layer)
    forgot = np.sum((old * layer - [one, 0]) ** 2)
    np.testing.assert_allclose(head_forgetting(one, two, overlap, head), forgot, rtol=5e-3, atol=1e-3)


def test_a_fresh_head_forgets_nothing_of_an_unlike_task_and_most_of_one_hardly_alike():
    told = head_forgetting(1.0, 2.0, np.linspace(0, 1, 11))
    assert told[0] == 0
    assert np.all(np.diff(told[1:]) < 0)
    assert told[1] > told[-1] > 0


@pytest.mark.parametrize("balance", [1e-6, 0.01, -0.5, 30.0])
@pytest.mark.parametrize("left", [0.9, 0.5, 0.01])
def test_reversal_takes_the_integral_of_the_mode_equation(balance, left):
    sigma = 1.7

    def slowness(s):
        return 1 / (2 * (sigma + s) * np.sqrt(balance**2 + 4 * s**2))

    pieces = [-(1 - left) * sigma, -abs(balance) / 2, 0.0, abs(balance) / 2, 1e-3, 0.1, sigma]
    pieces = sorted({min(max(piece, -(1 - left) * sigma), sigma) for piece in pieces})
    whole = sum(quad(slowness, low, high, limit=200)[0] for low, high in itertools.pairwise(pieces))
    np.testing.assert_allclose(reversal_time(sigma, balance, left), whole, rtol=1e-6)


def test_balanced_layers_are_never_reversed():
    assert reversal_time(1.0, 0.0) == np.inf
    np.testing.assert_allclose(reversal_time(2.0, 1e-8), np.log(2 * np.sqrt(2) * 2 / 1e-8) / 4, rtol=1e-7)


@pytest.mark.parametrize(
    "call",
    [
        lambda: head_forgetting(0.0, 1.0, 0.5),
        lambda: head_forgetting(1.0, 1.0, 1.5),
        lambda: head_forgetting(1.0, 1.0, 0.5, "warm"),
        lambda: reversal_time(-1.0, 0.1),
        lambda: reversal_time(1.0, 0.1, 1.0),
    ],
)
def test_numbers_outside_their_domains_are_refused(call):
    with pytest.raises(InvalidInput):
        call()
