"""Standard errors against the scatter of what they are errors of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linsim.measures.estimates import from_samples


@pytest.mark.parametrize("sizes", [(1, 1), (32, 32, 32), (32, 2), (100, 1), (1000, 10, 10, 10)])
def test_the_error_of_a_mean_of_means_is_right_on_average(sizes):
    # Means of n numbers each have variance 1/n; the mean over all numbers has variance 1/sum(n).
    sizes, repeats = np.asarray(sizes, np.float64), 4000
    draws = np.random.default_rng(0).standard_normal((repeats, len(sizes))) / np.sqrt(sizes)
    estimates = [from_samples(row, sizes) for row in draws]
    squares = np.asarray([estimate.error**2 for estimate in estimates]) * sizes.sum()
    # Chi-squared with few degrees of freedom, times at most a few: 4.5 errors of the mean square.
    assert abs(squares.mean() - 1) < 4.5 * squares.std() / np.sqrt(repeats)


def test_equal_weights_are_none_and_both_are_the_textbook_formula():
    samples = np.random.default_rng(0).standard_normal(7)
    plain, weighted = from_samples(samples), from_samples(samples, np.full(7, 3.0))
    np.testing.assert_allclose(plain, weighted, rtol=1e-13)
    np.testing.assert_allclose(plain, (samples.mean(), samples.std(ddof=1) / np.sqrt(7)), rtol=1e-13)


def test_a_single_sample_has_no_error_and_traced_arrays_are_taken():
    assert np.isnan(from_samples(np.ones(1)).error)
    traced = jax.jit(from_samples)(jnp.arange(3.0))
    np.testing.assert_allclose(traced, (1.0, 1 / np.sqrt(3)), rtol=1e-13)
