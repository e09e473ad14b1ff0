"""The alarm against series whose growth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linsim.errors import InvalidInput
from linsim.monitoring.alarm import Alarm

BUDGETS = np.unique(np.geomspace(100, 100_000, 30).astype(int))


def test_an_exponential_rings_as_soon_as_it_can():
    alarm = Alarm(window=4, consecutive=2)
    watched = alarm.watch(BUDGETS, np.exp(BUDGETS / 50.0 / 1000))
    assert Alarm(window=4, consecutive=2).needs == 5
    rate_times_budget = BUDGETS / 50_000
    means = np.convolve(BUDGETS, np.ones(4) / 4, mode="valid")
    np.testing.assert_allclose(watched.growth[3:], means / 50_000, rtol=1e-9)  # exact up to the rounding of logarithms
    np.testing.assert_allclose(watched.lower[3:], watched.growth[3:], atol=1e-6)
    assert np.isnan(watched.growth[:3]).all()
    first = int(np.argmax(means / 50_000 > 1)) + 3
    assert rate_times_budget[first] > 1
    assert watched.first == first + 1  # the second in a row


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_a_power_law_grows_by_its_exponent(power):
    growth = Alarm().watch(BUDGETS, BUDGETS.astype(float) ** power).growth[4:]
    # Five budgets 27 % apart: the line through ln b over b differs from its tangent at second order of the spacing.
    np.testing.assert_allclose(growth, power, rtol=0.03)


@settings(max_examples=30)
@given(
    unit=st.floats(1e-6, 1e6),
    step=st.sampled_from([1, 7, 1000]),
    seed=st.integers(0, 2**32 - 1),
    size=st.floats(0, 0.3),
)
def test_units_of_the_value_and_of_the_step_do_not_matter(unit, step, seed, size):
    rng = np.random.default_rng(seed)
    values = BUDGETS**1.5 * np.exp(size * rng.standard_normal(len(BUDGETS)))
    errors = 0.1 * values * rng.uniform(size=len(BUDGETS))
    plain = Alarm().watch(BUDGETS, values, errors)
    scaled = Alarm().watch(BUDGETS * step, values * unit, errors * unit)
    np.testing.assert_allclose(scaled.growth, plain.growth, rtol=1e-8)
    np.testing.assert_allclose(scaled.lower, plain.lower, rtol=1e-7, atol=1e-9)


def test_the_bound_is_above_the_true_growth_as_rarely_as_it_says():
    rng = np.random.default_rng(0)
    budgets, tries, alarm = np.arange(1, 6) * 100, 4000, Alarm(window=5, confidence=0.9)
    for known in (False, True):
        noise = 0.2 * rng.standard_normal((tries, 5))
        values = np.exp(0.5 * budgets / 300 + noise)
        errors = 0.2 * values if known else np.zeros((tries, 5))
        above = np.mean([alarm.watch(budgets, v, e).lower[-1] > 0.5 for v, e in zip(values, errors, strict=True)])
        # Student's t is exact for scatter alone; errors that are known can only lower the bound. 4.5 binomial errors.
        expected = 0.1
        limit = 4.5 * np.sqrt(expected * (1 - expected) / tries)
        assert above < expected + limit
        assert known or above > expected - limit


def test_measurement_errors_silence_a_rise_they_could_explain():
    values = np.exp(BUDGETS / 2000.0)[:10]
    budgets = BUDGETS[:10]
    assert Alarm(growth=0.0).watch(budgets, values).rings.any()
    assert not Alarm(growth=0.0).watch(budgets, values, 2.0 * values).rings.any()


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_no_window_with_a_value_without_logarithm_exceeds(bad):
    values = BUDGETS.astype(float) ** 3
    values[10] = bad
    watched = Alarm().watch(BUDGETS, values)
    assert np.isnan(watched.growth[10:15]).all()
    assert not watched.exceeds[10:15].any()
    assert watched.exceeds[15:].all()
    assert watched.exceeds[4:10].all()


def test_a_run_is_counted_anew_after_an_interruption():
    values = np.where(np.arange(30) < 15, BUDGETS.astype(float) ** 3, BUDGETS[14] ** 3.0)
    watched = Alarm(window=3, consecutive=4).watch(BUDGETS, values)
    runs = np.flatnonzero(watched.exceeds)
    assert watched.first == runs[0] + 3
    assert not watched.rings[runs[-1] + 1 :].any()


def test_a_constant_and_a_falling_monitor_never_ring():
    for values in (np.full(30, 2.0), BUDGETS**-1.0):
        assert Alarm(growth=0.0).watch(BUDGETS, values).first is None


def test_budgets_and_values_may_be_lists_and_unsigned():
    steps, values = np.asarray([100, 200, 300, 400, 500]), np.exp(np.arange(5.0))
    alarm = Alarm(window=3, consecutive=1)
    expected = alarm.watch(steps, values).growth
    np.testing.assert_array_equal(alarm.watch(steps.tolist(), values.tolist(), [0.0] * 5).growth, expected)
    np.testing.assert_array_equal(alarm.watch(steps.astype(np.uint32), values).growth, expected)
    with pytest.raises(InvalidInput, match="strictly increasing"):
        alarm.watch(steps[::-1].astype(np.uint32), values)


def test_a_power_law_over_distant_checkpoints_is_no_exponential():
    steps = 4.0 ** np.arange(1, 10)
    watched = Alarm().watch(steps, steps**3)
    assert np.all(watched.growth[4:] > 3) and not watched.exceeds.any()


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: Alarm(window=2), "window: got 2; allowed: an integer >= 3"),
        (lambda: Alarm(confidence=1.0), "confidence: got 1.0; allowed: a finite number >= 0.5 and < 1"),
        (lambda: Alarm(growth=-1.0), "growth: got -1.0; allowed: a finite number >= 0"),
        (lambda: Alarm(consecutive=0), "consecutive: got 0; allowed: an integer >= 1"),
        (lambda: Alarm().watch(np.array([5]), np.ones(1)), "checkpoints: got 1; allowed: at least 2, and 7 for this"),
        (lambda: Alarm().watch(np.array([5, 5]), np.ones(2)), "budgets: got array([5., 5.]); allowed: strictly "),
        (lambda: Alarm().watch(np.array([5, 6]), np.ones(3)), "values: got 3 values; allowed: one for each of 2"),
        (lambda: Alarm().watch(np.array([5, 6]), np.ones(2), np.ones(3)), "errors: got shape (3,); allowed: one for"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(call, line):
    with pytest.raises(InvalidInput) as caught:
        call()
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)
