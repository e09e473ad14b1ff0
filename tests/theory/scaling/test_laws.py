"""L(N, D) of power laws: against integrated modes, the continuum and its correction, and what is refused."""

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp

from linsim.errors import InvalidInput
from linsim.theory.scaling.laws import continuum, corrected, data_limit, loss
from linsim.theory.scaling.power_law import PowerLaw


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_what_is_missing_of_a_mode_is_where_its_layers_take_it(depth):
    law = PowerLaw(1.0, start=1e-3, depth=depth)
    weight = np.full(depth, 1e-3 ** (1 / depth))

    def velocity(_, layers):
        product = np.prod(layers)
        return np.array([2 * (1 - product) * np.prod(np.delete(layers, at)) for at in range(depth)])

    times = np.linspace(0, 1.2 * law.learned, 9)
    told = solve_ivp(velocity, (0, times[-1]), weight, "DOP853", times, rtol=1e-12, atol=1e-14).y
    np.testing.assert_allclose(law.missing(times), 1 - np.prod(told, axis=0), atol=1e-9)
    assert law.missing(law.rise) == pytest.approx(0.5, abs=0.02)  # of steps of the log-odds


def test_the_loss_of_two_layers_is_a_sum_of_logistic_curves():
    law, size, time = PowerLaw(0.8, start=0.01), 9, 5.0
    sigma = np.arange(1, size + 1) ** -0.8
    left = 1 - 1 / (1 + 99 * np.exp(-4 * sigma * time))
    rest = sum(i**-1.6 for i in range(size + 1, 200_000)) + 199_999.5**-0.6 / 0.6
    assert loss(law, [size], [time]).item() == pytest.approx(np.sum((sigma * left) ** 2) + rest, rel=1e-9)


def test_sums_are_the_continuum_but_for_a_correction_that_falls_as_one_over_n():
    law, sizes = PowerLaw(1.0), np.array([4, 16, 64, 256])
    scaled = sizes * np.diag(loss(law, sizes, 1.5 * sizes))
    np.testing.assert_allclose(scaled, [1.0402, 1.0744, 1.0851, 1.0880], atol=1e-4)
    apart = sizes * (continuum(law, 1.5) - scaled)
    assert np.all(np.abs(apart - apart[-1]) < 0.1 * apart[-1] * np.array([3, 1, 1, 1]))
    left = scaled - sizes * corrected(law, sizes, 1.5 * sizes)
    np.testing.assert_allclose(left[1:] / left[:-1], 1 / 16, rtol=0.2)


def test_integrals_are_those_of_an_adaptive_rule():
    law = PowerLaw(0.75)
    expected = quad(lambda x: x ** (-1 / 3) * law.missing(x) ** 2, 0, law.learned, points=[0.1, 1, 1.7, 3], limit=200)[
        0
    ]
    assert law.integral(2 / 3, "missing") == pytest.approx(expected, rel=1e-6)
    assert law.integral(1.0, "learning") == pytest.approx(1 - 1e-3, rel=1e-6)  # all of a mode but its start
    limit = data_limit(law)
    assert (limit.amplitude, limit.exponent) == (pytest.approx(expected / 0.75, rel=1e-6), pytest.approx(2 / 3))


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: PowerLaw(0.5), "exponent: got 0.5; allowed: a finite number > 0.5"),
        (lambda: PowerLaw(1.0, start=0.7), "start: got 0.7"),
        (lambda: PowerLaw(1.0, depth=0), "depth: got 0"),
        (lambda: loss(PowerLaw(1.0), [2.5], [1.0]), "sizes: got 2.5; allowed: whole numbers"),
        (lambda: loss(PowerLaw(1.0), [2], [-1.0]), "times: got -1.0"),
        (lambda: continuum(PowerLaw(1.0, depth=1), 1.0), "depth: got 1; allowed: an integer >= 2"),
        (lambda: PowerLaw(1.0).integral(1.0, "all"), "of: got all; allowed: missing or learning"),
    ],
)
def test_what_is_no_power_law_is_refused(call, told):
    with pytest.raises(InvalidInput) as refused:
        call()
    assert str(refused.value).startswith(told)
