"""Mean held-out loss of fine-tuning on a sample, against descent and against the formula for one mode."""

import numpy as np
import pytest

from linsim.theory.held_out import late_time, mean_heldout


def test_the_last_tuned_time_is_that_of_the_formula_for_one_mode():
    near = late_time(np.array([1.0]), np.array([1.02]), 3e-4, 1.0)
    # First order: gap and noise are 0.02 of the strength.
    assert near == pytest.approx(np.log(1 + 0.02**2 / 3e-4) / (4 * 1.02), rel=0.03)


def test_the_last_tuned_time_is_resolved_however_large_the_rates():
    strengths = np.array([1.0]), np.array([1.02])
    assert late_time(*strengths, 3e-4, 6000.0) == pytest.approx(late_time(*strengths, 3e-4, 1.0), rel=0.03)


def test_the_mean_held_out_loss_is_the_response_of_descent_to_every_entry_of_the_sample():
    pretrain, finetune, rate, steps, small = np.array([1.0, 0.3, 0.6]), np.array([0.4, 0.9, 0.6]), 1e-3, 400, 1e-4
    entries = np.concatenate([small * np.eye(9).reshape(9, 3, 3), np.zeros((1, 3, 3))])
    layer = np.broadcast_to(np.diag(np.sqrt(pretrain)), entries.shape)
    first, second = layer, layer
    for _ in range(steps):
        pull = 2 * rate * (second @ first - np.diag(finetune) - entries)
        first, second = first - np.swapaxes(second, 1, 2) @ pull, second - pull @ np.swapaxes(first, 1, 2)
    ends = second @ first
    times = np.linspace(0, rate * steps, 800)
    still, noisy = (mean_heldout(pretrain, finetune, variance, times)[-1] for variance in (0.0, 1.0))
    # Descent lags by 2 eta sigma = 0.002 of its time.
    assert np.sum((ends[-1] - np.diag(finetune)) ** 2) == pytest.approx(still, rel=0.01)
    assert np.sum(((ends[:-1] - ends[-1]) / small) ** 2) == pytest.approx(noisy - still, rel=0.01)
