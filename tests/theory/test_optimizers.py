"""Closed forms of Muon, of the floor of signs and of any order, against steps and search in NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linsim.errors import InvalidInput
from linsim.theory.optimizers.muon import muon_flow, muon_times, sign_floor
from linsim.theory.optimizers.order import ORDERS, any_order, at_loss

strengths = st.lists(st.floats(0.05, 3), min_size=1, max_size=6).map(np.asarray)
shares = st.floats(0.0, 1.0)


def stepped(start, target, time, steps=2000):
    """Two equal weights of a mode by signs of their gradient."""
    weight = np.sqrt(start)
    for _ in range(steps):
        weight = weight - time / steps * np.sign(weight * (weight**2 - target))
    return weight


@pytest.mark.parametrize(
    ("start", "target", "time"),
    [(0.01, 2.0, 0.5), (0.01, 0.25, 0.9), (1.0, 4.0, 0.3), (1.0, 0.0, 0.4), (2.0, 1.0, 3.0)],
)
def test_muon_follows_signs(start, target, time):
    # A weight that is done steps over its place by at most a step.
    assert abs(float(muon_flow(start, target, time)) ** 0.5 - abs(stepped(start, target, time))) <= 2 * time / 2000


def test_muon_begins_and_ends_where_it_should_and_an_absent_mode_stays():
    target = np.array([4.0, 0.25])
    np.testing.assert_array_equal(muon_flow(0.25, target, 0.0), [0.25, 0.25])
    np.testing.assert_allclose(muon_flow(0.01, target, 50.0), target, rtol=1e-15)
    assert float(muon_flow(0.0, 1.0, 3.0)) == 0
    assert muon_flow(0.01, target, np.array([0.1, 0.2])[:, None]).shape == (2, 2)


@given(st.floats(0.05, 5), st.floats(5, 20), st.sampled_from([0.5, 0.99, 1.01, 1.5]))
def test_a_learned_mode_is_worse_beyond_the_stated_times_whatever_its_target(sigma, factor, share):
    told = muon_times(sigma)
    for other, time in ((0.0, float(told.absent)), (1e-12 * sigma, float(told.beginning))):
        learned, begun = (float(muon_flow(s, factor * sigma, share * time)) for s in (sigma, other))
        assert ((learned - sigma) ** 2 > (begun - sigma) ** 2) == (share > 1)


def test_the_floor_is_what_signs_settle_at():
    sigma, rate = 0.7, 0.01
    weight = np.sqrt(sigma) - rate * (2 + (np.arange(1000) + 0.5) / 1000)
    losses = []
    for _ in range(20):
        weight = weight - rate * np.sign(weight**2 - sigma)
        losses.append(np.mean((weight**2 - sigma) ** 2))
    # To relative order eta^2 / sigma.
    assert np.mean(losses[-2:]) == pytest.approx(float(sign_floor(sigma, rate)), rel=1e-3)


@given(strengths, shares)
def test_every_order_is_at_the_loss_that_is_asked_for(sigma, share):
    loss = share * float(np.sum(sigma**2))
    for order in ORDERS:
        found = at_loss(sigma, loss, order)
        assert np.sum((sigma - found) ** 2) == pytest.approx(loss, rel=1e-9, abs=1e-12)
        assert np.all((found >= -1e-12) & (found <= sigma + 1e-12))


@given(strengths, shares, st.integers(0, 99))
def test_no_place_at_that_loss_has_a_smaller_trace_than_the_soft_threshold(sigma, share, seed):
    anywhere = sigma * np.random.default_rng(seed).uniform(0, 1, len(sigma))
    loss = float(np.sum((sigma - anywhere) ** 2))
    soft, natural, muon = (at_loss(sigma, loss, order).sum() for order in ORDERS)
    assert soft <= min(anywhere.sum(), natural, muon) + 1e-9 * sigma.sum()
    assert natural <= muon + 1e-9 * sigma.sum()


def tuned(start, goal, time):
    return goal * start / (start + (goal - start) * np.exp(-4 * goal * time))


def test_the_best_of_any_order_is_found_by_search():
    sigma, goal, time = np.array([2.0, 1.0, 0.5]), np.array([1.0, 4.0, 0.6]), 0.2
    told = any_order(sigma, goal, time)
    grid = sigma * np.linspace(0, 1, 200_001)[:, None]
    least = np.min((tuned(np.maximum(grid, 1e-300), goal, time) - sigma) ** 2, axis=0).sum()
    assert float(told.bound) == pytest.approx(least, abs=1e-8)
    assert float(told.last) == pytest.approx(np.sum((tuned(sigma, goal, time) - sigma) ** 2), rel=1e-12)


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: muon_flow(-1.0, 1.0, 1.0), "start"),
        (lambda: muon_flow(1.0, 1.0, -1.0), "time"),
        (lambda: muon_flow([1.0, 2.0], [1.0, 2.0, 3.0], 1.0), "start and target and time"),
        (lambda: muon_times(-1.0), "strength"),
        (lambda: sign_floor(1.0, 0.0), "learning_rate"),
        (lambda: any_order([-1.0], [1.0], 1.0), "pretrain"),
        (lambda: at_loss(np.array([1.0]), 2.0, "muon"), "loss"),
        (lambda: at_loss(np.array([0.0]), 0.0, "muon"), "strengths"),
        (lambda: at_loss(np.array([1.0]), 0.5, "adam"), "order"),
    ],
)
def test_what_is_outside_the_domain_is_refused(unchecked, call, field):
    with pytest.raises(InvalidInput, match=f"^{field}: got .*; allowed: "):
        call()
