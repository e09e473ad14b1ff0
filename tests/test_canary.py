"""The ground the numbers stand on: no release of JAX that computes wrong results, no pair that does not import."""

import importlib
from importlib.metadata import version

import jax
import jax.numpy as jnp
import numpy as np
import pytest

# jaxlib 0.10.2 reads wrong rows in a compiled, batched matrix-vector product that is squared and summed (jax issue
# 39103). It does so on CPU, for these widths, from 16,385 rows in float64 and from 32,769 rows in float32.
WIDTHS = [("float64", 3), ("float64", 5), ("float64", 6), ("float64", 7), ("float32", 3)]
ROWS = [16_385, 32_769, 40_000]


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize(("dtype", "width"), WIDTHS)
def test_batched_sum_of_squares_equals_numpy(dtype: str, width: int, rows: int) -> None:
    # Whole numbers of at most 3: the sums stay below 7 (7 * 3 * 3)^2 = 27,783 < 2^24, so every operation is exact in
    # float32 as in float64, in any order, and the tolerance is zero.
    draw = np.random.default_rng(seed=0)
    matrix = draw.integers(-3, 4, size=(width, width)).astype(np.float64)
    x = draw.integers(-3, 4, size=(rows, width)).astype(np.float64)

    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        M = jnp.asarray(matrix, dtype=dtype)
        squares = jax.jit(jax.vmap(lambda r: jnp.sum((M @ r) ** 2)))(jnp.asarray(x, dtype=dtype))

    np.testing.assert_array_equal(np.asarray(squares), np.sum((x @ matrix.T) ** 2, axis=1))


@pytest.mark.parametrize("package", ["jax", "jaxlib"])
def test_release_with_wrong_numbers_is_not_installed(package: str) -> None:
    assert version(package) != "0.10.2"


def test_flax_nnx_imports_with_the_installed_jax() -> None:
    # It does not for every pair: flax 0.12.8 fails from jax 0.11.1 on, and 0.12.9 from 0.11.2 on.
    assert importlib.import_module("flax.nnx").Module
