"""Anchors of fine-tuning: replay against a penalty by descent, and the Fisher information of drawn layers."""

import numpy as np
import pytest

from linsim.errors import InvalidInput
from linsim.theory.mitigations.anchors import elastic_limits, replay_penalty


def test_replay_and_the_penalty_take_the_same_steps():
    rng, share, rate = np.random.default_rng(0), 0.3, 2e-3
    layers = rng.normal(size=(2, 4, 4)) / 2
    checkpoint, after = layers[1] @ layers[0], rng.normal(size=(4, 4))
    ways = []
    for replay in (True, False):
        first, second = layers
        for _ in range(300):
            product = second @ first
            penalty = float(replay_penalty(share))
            if replay:
                pull = (1 - share) * (product - after) + share * (product - checkpoint)
            else:
                pull = (1 - share) * ((product - after) + penalty * (product - checkpoint))
            first, second = first - 2 * rate * second.T @ pull, second - 2 * rate * pull @ first.T
        ways.append(second @ first)
    np.testing.assert_allclose(*ways, rtol=1e-9)


def test_information_of_drawn_layers_is_apart_as_stated_however_wide():
    strengths = np.array([2.0, 1.0, 1.0, 0.5])
    for hidden in (8, 64, 256):
        limits, rng = elastic_limits(strengths, 2.0, hidden), np.random.default_rng(0)
        found = []
        for _ in range(12_000 // hidden):
            basis = np.linalg.qr(rng.normal(size=(hidden, hidden)))[0]
            found.append(np.sum((basis[:, :4] * np.sqrt(strengths)) ** 2, axis=1))
        # Some percent of 12,000 draws.
        assert np.std(found) / np.mean(found) == pytest.approx(limits.spread, rel=0.08)
        assert 2 * np.mean(found) == pytest.approx(limits.weight, rel=1e-9)
    assert limits.spread == pytest.approx(np.sqrt(2 * np.sum(strengths**2)) / strengths.sum(), rel=0.02)


def test_equal_modes_in_all_units_are_the_weight_penalty():
    assert elastic_limits(np.ones(6), 3.0, 6) == (0.75, 3.0, 0.0)


@pytest.mark.parametrize(
    "call",
    [
        lambda: replay_penalty(1.0),
        lambda: replay_penalty(-0.1),
        lambda: elastic_limits([0.0, 0.0], 1.0, 2),
        lambda: elastic_limits([1.0, 1.0], 1.0, 1),
        lambda: elastic_limits([1.0], -1.0, 1),
    ],
)
def test_numbers_outside_their_domains_are_refused(call):
    with pytest.raises(InvalidInput):
        call()
