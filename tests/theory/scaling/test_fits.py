"""Fits of scaling laws: what they were made of is found again, and what is not there is not told."""

import numpy as np
import pytest

from linsim.errors import InvalidInput
from linsim.theory.scaling.fits import FORMS, Fit, Table, explained, fit, refit, resampled, turn_of

SIZES, TIMES = (each.ravel() for each in np.meshgrid(2.0 ** np.arange(2, 8), 2.0 ** np.arange(0, 10)))
CAPACITY = np.array([0.3, 1.2, 0.2, 0.9, -9.0, -1.0, -8.0])


def made(form, amplitudes, inner):
    law = Fit(form, np.array(amplitudes), np.array(inner), 0.0)
    return law, Table(SIZES, TIMES, law.predict(SIZES, TIMES))


def capacity(inner, sizes, times):
    """By its definition, without logarithms."""
    alpha, beta, gamma, delta, c, d, e = inner
    noise = np.exp(c) * (times * sizes) ** gamma + np.exp(d) * times**delta + np.exp(e)
    return sizes**alpha * np.log2(1 + times**beta / noise)


def test_laws_are_what_they_are_called():
    law, _ = made("chinchilla", [0.1, 2.0, 3.0], [0.5, 0.8])
    np.testing.assert_allclose(law.predict(8.0, 5.0), 0.1 + 2 * 8**-0.5 + 3 * 5**-0.8)
    for form, read in (
        ("capacity", lambda told: 5 - 0.1 * told),
        ("capacity-exponential", lambda told: np.exp(5 - 0.1 * told)),
    ):
        law, table = made(form, [5.0, 0.1], CAPACITY)
        np.testing.assert_allclose(table.losses, read(capacity(CAPACITY, SIZES, TIMES)), rtol=1e-10)


@pytest.mark.parametrize(
    ("form", "amplitudes", "inner"),
    [
        ("chinchilla", [0.1, 2.0, 3.0], [0.5, 0.8]),
        ("capacity", [5.0, 0.1], CAPACITY),
        ("capacity-exponential", [1.0, 0.1], CAPACITY),
    ],
)
def test_a_law_is_found_again_from_near_it_and_from_drawn_starts(form, amplitudes, inner):
    law, table = made(form, amplitudes, inner)
    assert refit(table, form, np.asarray(inner) + 0.05).error < 1e-4
    found = fit(table, form, starts=6)
    assert [each.error for each in found] == sorted(each.error for each in found)
    if form == "chinchilla":
        np.testing.assert_allclose([*found[0].amplitudes, *found[0].inner], [*amplitudes, *inner], rtol=1e-4)
    assert explained(law.predict, table) == pytest.approx(1)
    assert min(each.error for each in resampled(table, law, 3)) < 1e-3


def test_turns_are_told_where_a_law_has_them_and_rises_count():
    times = np.geomspace(1, 500, 400)
    assert np.isnan(turn_of(lambda size, when: 1 / when, 10.0, times))
    assert turn_of(lambda size, when: np.log(when / 40) ** 2 + 1, 10.0, times) == pytest.approx(40, rel=0.02)
    assert np.isnan(turn_of(lambda size, when: 1 + 1e-5 * when, 10.0, times))


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda table: fit(table.kept(slice(5)), FORMS[0]), "table: got [5, 5, 5]; allowed: columns of one length, 12"),
        (lambda table: fit(table._replace(losses=-table.losses), FORMS[0]), "table.losses: got"),
        (lambda table: fit(table, "hope"), "form: got hope"),
        (lambda table: fit(table, FORMS[0], starts=0), "starts: got 0"),
        (lambda table: fit(None, FORMS[0]), "table: got None"),
    ],
)
def test_what_cannot_be_fitted_is_refused(call, told, unchecked):
    _, table = made("chinchilla", [0.1, 2.0, 3.0], [0.5, 0.8])
    with pytest.raises(InvalidInput) as refused:
        call(table)
    assert str(refused.value).startswith(told)
