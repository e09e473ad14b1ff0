"""Where an amplified tail turns the loss: a power of where it begins only if fine-tuning lasts as that power."""

import numpy as np
import pytest

from linsim.theory.scaling.power_law import PowerLaw
from linsim.theory.scaling.tails import tuned_tail

FIRST = np.array([8, 16, 32, 64, 128])
LAW = PowerLaw(1.0)


def turned(times):
    """D*/n0 and harm of models of 4 n0 modes, T of each n0 its own."""
    told = []
    for first, time in zip(FIRST, times, strict=True):
        flow = np.geomspace(0.3, 240.0 * first, 600)
        loss = tuned_tail(LAW, [4 * first], flow, int(first), 4.0, float(time)).pretrain[:, 0]
        at = int(np.argmin(loss))
        told.append((flow[at] / first, loss[-1] / loss[at] - 1))
    return np.array(told).T


def test_the_budget_of_the_turn_is_a_power_of_the_first_mode_where_fine_tuning_lasts_as_that():
    ratio, harm = turned(FIRST / 2)
    assert ratio == pytest.approx(0.43, abs=0.1)
    assert abs(ratio[-1] / ratio[-2] - 1) < 0.02  # what is left is 1/n0
    assert (harm > 2).all()


def test_at_one_fine_tuning_time_the_turn_is_later_and_harm_vanishes():
    ratio, harm = turned(np.full(5, 4.0))
    assert (np.diff(ratio) > 0).all()
    assert ratio[-1] > 20 * ratio[0]
    assert harm[0] > 2
    assert harm[-1] < 0.01
