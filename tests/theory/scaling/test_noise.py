"""A price on what is learned, and amplified tails: against sums over many times, and the closed forms of one mode."""

import numpy as np
import pytest

from linsim.errors import InvalidInput
from linsim.theory.prices import turning_time
from linsim.theory.scaling.noise import brittleness, loss_under_noise, turning_constant, useful_size
from linsim.theory.scaling.power_law import PowerLaw
from linsim.theory.scaling.tails import tuned_tail
from linsim.theory.stages import tuned


def curve(exponent, size, price, times, start=1e-3):
    sigma = np.arange(1, size + 1) ** -exponent
    learned = sigma / (1 + (1 / start - 1) * np.exp(-4 * np.minimum(np.outer(times, sigma), 150)))
    rest = sum(np.arange(size + 1, 10**6) ** (-2 * exponent)) + (10**6 - 0.5) ** (1 - 2 * exponent) / (2 * exponent - 1)
    return np.sum((sigma - learned) ** 2 + price * learned, axis=1) + rest


@pytest.mark.parametrize(("exponent", "size"), [(1.0, 7), (1.0, 70), (1.5, 30)])
def test_where_noise_turns_is_where_a_sum_over_many_times_does(exponent, size):
    times, price = np.geomspace(1, 1e4, 3000), 0.05
    told, losses = brittleness(PowerLaw(exponent), [size], price), curve(exponent, size, price, times)
    np.testing.assert_allclose(loss_under_noise(PowerLaw(exponent), [size], times, price)[:, 0], losses, rtol=1e-7)
    assert told.time.item() == pytest.approx(times[np.argmin(losses)], rel=5e-3)  # of the steps of time
    assert told.harm.item() == pytest.approx(losses[-1] / losses.min() - 1, rel=1e-3, abs=1e-6)


def test_large_models_turn_at_one_flow_time_and_a_single_mode_at_its_own():
    law, price = PowerLaw(1.0), 0.01
    told = brittleness(law, [1, 400, 1600], price)
    np.testing.assert_allclose(told.time[1:] * price, turning_constant(law), rtol=0.01)
    assert told.time[0] == pytest.approx(float(turning_time(1.0, 1e-3, price)), rel=1e-3)
    assert told.excess[0] == pytest.approx(price**2 / 4, rel=1e-3)
    assert useful_size(law, price) == pytest.approx(100)


def test_the_constant_is_elementary_at_an_exponent_of_one():
    for start in (1e-2, 1e-3, 1e-5):
        exact = (np.log(1 / start) - 1 + start) / (4 * (1 - start))
        assert turning_constant(PowerLaw(1.0, start)) == pytest.approx(exact, rel=1e-7)


@pytest.mark.parametrize("penalty", [0.0, 1.5])
def test_tuned_tails_are_sums_of_tuned_modes(penalty):
    law, size, first, factor, time = PowerLaw(1.2), 40, 6, 3.0, 2.0
    sigma = law.strengths(size)
    goal = np.where(np.arange(1, size + 1) >= first, factor, 1.0) * sigma
    for budget in (2.0, 30.0):
        begun = sigma * (1 - law.missing(budget * sigma))
        reached = np.asarray(tuned(begun, goal, penalty, time))
        told = tuned_tail(law, [size], [budget], first, factor, time, penalty)
        beyond = float(law.beyond(np.array([size]))[0])
        assert told.pretrain.item() == pytest.approx(np.sum((reached - sigma) ** 2) + beyond, rel=1e-12)
        assert told.finetune.item() == pytest.approx(np.sum((reached - goal) ** 2) + factor**2 * beyond, rel=1e-12)


def test_models_below_the_tail_are_wanted_what_they_cannot_learn():
    law = PowerLaw(1.0)
    told = tuned_tail(law, [3], [1e4], 6, 2.0, 5.0)
    between = np.sum(law.strengths(5)[3:] ** 2)
    assert told.pretrain.item() == pytest.approx(float(law.beyond(3)))
    assert told.finetune.item() == pytest.approx(between + 4 * float(law.beyond(5)))


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: loss_under_noise(PowerLaw(1.0), [3], [1.0], -0.1), "price: got -0.1"),
        (lambda: turning_constant(PowerLaw(1.0, depth=3)), "depth: got 3; allowed: an integer >= 2 and <= 2"),
        (lambda: brittleness(PowerLaw(1.0), [3], 1.0), "price: got 1.0"),
        (lambda: useful_size(PowerLaw(1.0), 0.0), "price: got 0.0"),
        (lambda: tuned_tail(PowerLaw(1.0), [3], [1.0], 0, 2.0, 1.0), "first: got 0"),
    ],
)
def test_what_has_no_turn_is_refused(call, told):
    with pytest.raises(InvalidInput) as refused:
        call()
    assert str(refused.value).startswith(told)
