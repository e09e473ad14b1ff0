"""What is best at one compute: against a search over whole sizes, and what over-training and inference come to."""

import numpy as np
import pytest

from linsim.errors import InvalidInput
from linsim.theory.scaling.laws import continuum, loss
from linsim.theory.scaling.optimal import (
    allocation,
    clock_of_one_start,
    compute_optimal,
    exponents,
    inference_share,
    overtrained,
)
from linsim.theory.scaling.power_law import PowerLaw


@pytest.mark.parametrize(("exponent", "depth"), [(0.75, 2), (1.0, 2), (1.5, 2), (0.75, 3)])
def test_no_whole_size_near_it_is_better_than_the_compute_optimal_one(exponent, depth):
    law = PowerLaw(exponent, depth=depth)
    best = compute_optimal(law)
    cost = best.clock * 150 ** (1 + law.clock)
    sizes = np.arange(130, 171)
    losses = np.array([loss(law, [size], [cost / size]).item() for size in sizes])
    assert abs(int(sizes[np.argmin(losses)]) - 150) <= 3  # half a mode of the correction, where the curve is flat
    near = best.clock * np.array([0.9, 1.0, 1.1])
    assert np.argmin(near ** (law.gain / (1 + law.clock)) * continuum(law, near)) == 1


def test_data_per_parameter_are_constant_where_the_clock_is_one():
    assert exponents(PowerLaw(1.0)).ratio == 0
    assert exponents(PowerLaw(0.75, depth=3)).ratio == pytest.approx(0)
    assert exponents(PowerLaw(1.5)).ratio == pytest.approx(0.2)
    assert sum(exponents(PowerLaw(1.3))[:2]) == pytest.approx(1)


def test_overtraining_is_dear_and_inference_pays_for_little_of_it():
    law = PowerLaw(1.0)
    best, told = compute_optimal(law), overtrained(law, [1.0, 5.0])
    assert told.price[0] == pytest.approx(1)
    assert told.price[1] == pytest.approx(5**0.5 * float(continuum(law, 5 * best.clock)) / best.scaled_loss)
    shares = inference_share(law, best.clock * np.array([1.0, 2.0, 3.0]))
    assert shares[0] == pytest.approx(0, abs=1e-9)
    assert shares[2] / shares[1] == pytest.approx(np.exp(2 * 4 * best.clock), rel=0.1)


def test_what_a_cost_is_spent_on_adds_up_and_is_best():
    law = PowerLaw(0.9)
    best = allocation(law, 5e3, inference=40.0)
    assert best.size * (best.time + 40) == pytest.approx(5e3)
    for size in (0.97 * best.size, 1.03 * best.size):
        other = size**-law.gain * continuum(law, (5e3 / size - 40) * size**-law.clock)
        assert other > best.loss


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: exponents(PowerLaw(1.0, depth=1)), "depth: got 1"),
        (lambda: inference_share(PowerLaw(1.0), 50.0), "clock: got 50.0"),
        (lambda: overtrained(PowerLaw(1.0), 0.0), "ratio: got 0.0"),
        (lambda: allocation(PowerLaw(1.0), 100.0, -1.0), "inference: got -1.0; allowed: a finite number >= 0"),
        (lambda: clock_of_one_start(1.0, 0.1, 20.0), "start: got 0.1; allowed: strengths a factor of e"),
    ],
)
def test_what_has_no_optimum_is_refused(call, told):
    with pytest.raises(InvalidInput) as refused:
        call()
    assert str(refused.value).startswith(told)
