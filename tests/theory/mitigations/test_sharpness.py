"""SAM: steps from starts that it traps, and minibatches with label noise in matrices."""

import numpy as np
import pytest

from linsim.errors import InvalidInput
from linsim.theory.mitigations.sharpness import sharpness_threshold, trapping_start


def settled(start, strengths, radius, steps=15_000, rate=1e-3):
    """Weights of aligned balanced modes after SAM on all data, each in both layers."""
    w = np.full(len(strengths), start)
    for _ in range(steps):
        slope = 2 * (w * w - strengths) * w
        away = w + radius * slope / np.sqrt(2 * np.sum(slope**2))
        w = w - rate * 2 * (away * away - strengths) * away
    return w


@pytest.mark.parametrize("modes", [1, 3])
def test_equal_modes_are_trapped_below_one_start(modes):
    told = trapping_start(np.ones(modes), 0.1)
    assert told.least == pytest.approx(told.most) == pytest.approx(0.1 / np.sqrt(2 * modes))
    assert np.max(settled(0.99 * told.least, np.ones(modes), 0.1) ** 2) < 1e-3
    assert np.min(settled(1.01 * told.most, np.ones(modes), 0.1) ** 2) > 0.99


def test_of_other_spectra_the_start_is_between_the_bounds():
    strengths = np.array([4.0, 2.0, 1.0, 0.5])
    told = trapping_start(strengths, 0.1)
    # Bisected: from 0.4016 of the radius on the weakest is learned, alone; shares are 0.077 to 0.614.
    assert told.least < 0.0400 < 0.0403 < told.most
    assert np.max(settled(0.0400, strengths, 0.1) ** 2) < 1e-3
    np.testing.assert_allclose(settled(0.0403, strengths, 0.1) ** 2, [0, 0, 0, 0.5], atol=1e-3)


def test_with_a_large_radius_a_trapped_mode_is_not_at_0():
    assert settled(0.5, np.ones(1), 2.0)[0] == pytest.approx(np.sqrt(2) - 1, abs=1e-6)


def trained(strengths, radius, noise, batch, rate, steps, runs=6, size=8):
    """Mean strengths over the second half of SAM on minibatches, from the task itself in hidden bases at random."""
    rng, modes = np.random.default_rng(0), len(strengths)
    target = np.diag(np.pad(strengths, (0, size - modes)))
    basis = np.linalg.qr(rng.normal(size=(runs, size, size)))[0]
    first = basis @ (np.sqrt(target) + 0.01 * rng.normal(size=(runs, size, size)))
    second, total = np.sqrt(target) @ basis.swapaxes(1, 2), 0.0

    def slopes(second, first):
        hidden = first @ inputs
        residuals = 2 * (second @ hidden - labels) / batch
        return residuals @ hidden.swapaxes(1, 2), second.swapaxes(1, 2) @ residuals @ inputs.swapaxes(1, 2)

    for step in range(steps):
        inputs = rng.normal(size=(runs, size, batch))
        labels = target @ inputs + noise * rng.normal(size=(runs, size, batch))
        outer, inner = slopes(second, first)
        scale = radius / np.sqrt(np.sum(outer**2, (1, 2)) + np.sum(inner**2, (1, 2)))[:, None, None]
        outer, inner = slopes(second + scale * outer, first + scale * inner)
        second, first = second - rate * outer, first - rate * inner
        if step >= steps // 2:
            total = total + np.mean(np.diagonal(second @ first, axis1=1, axis2=2), axis=0)
    return total[:modes] / (steps - steps // 2)


def test_label_noise_lowers_all_modes_by_one_threshold():
    strengths, radius, noise, batch, rate = np.array([3.0, 2.0, 1.0, 0.5]), 0.3, 1.0, 4, 0.002
    stated = sharpness_threshold(strengths, radius, noise, batch, (8, 8), price=2 * rate * noise**2 * 8 / batch)
    found = trained(strengths, radius, noise, batch, rate, 8_000)
    # Of first order in rho / sqrt N = 0.12: a tenth of the threshold of 0.126, and what 6 runs scatter, 0.003 each.
    np.testing.assert_allclose(found, stated, atol=0.025)
    assert found[0] > stated[0] and found[-1] < stated[-1]


def test_modes_below_the_threshold_are_lost_together():
    kept = sharpness_threshold([3.0, 2.0, 1.0, 0.1], 0.3, 1.0, 4, (8, 8))
    pull = 0.15 * 2 / np.sqrt(kept.sum())
    np.testing.assert_allclose(kept, np.maximum(np.array([3.0, 2.0, 1.0, 0.1]) - pull, 0), rtol=1e-12)
    assert not sharpness_threshold([0.5, 0.5], 3.0, 1.0, 4, (8, 8)).any()
    np.testing.assert_array_equal(sharpness_threshold([1.0, 0.5], 0.0, 1.0, 4, (8, 8), price=0.2), [0.9, 0.4])


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: trapping_start([0.0], 0.1), "strengths: got"),
        (lambda: trapping_start([1.0], 0.0), "radius: got"),
        (lambda: sharpness_threshold([1.0], 0.1, -1.0, 4, (8, 8)), "label_noise: got"),
        (lambda: sharpness_threshold([1.0], 0.1, 1.0, 0, (8, 8)), "batch_size: got"),
        (lambda: sharpness_threshold([1.0], 0.1, 1.0, 4, (8, 0)), "sides: got"),
    ],
)
def test_what_has_no_such_start_or_threshold_is_refused(unchecked, call, told):
    with pytest.raises(InvalidInput) as refused:
        call()
    assert str(refused.value).startswith(told)
