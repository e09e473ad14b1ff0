"""Benchmarks run; what they time is nobody's test."""

import jax.numpy as jnp
import numpy as np

from benchmarks.monitor_costs import Perceptron, ratios
from linsim.monitoring.measuring import MEASURES


def test_every_measure_is_priced_in_gradient_steps():
    found = ratios(Perceptron(3, 4, 2), (jnp.ones((8, 3)), jnp.zeros(8, int)), rounds=2)
    assert set(found) == {"gradient step", *MEASURES}
    np.testing.assert_array_equal(found["gradient step"], 1.0)
    assert all(ratio.shape == (2,) and np.all(ratio > 0) for ratio in found.values())
