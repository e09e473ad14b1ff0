"""The ground the numbers stand on: no release of JAX that computes wrong results, no pair that does not import."""

import importlib
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pytest

from tests.users import as_users

# jaxlib 0.10.2 reads wrong rows in a compiled, batched matrix-vector product that is squared and summed (jax issue
# 39103). It does so on CPU, for these widths, from 16,385 rows in float64 and from 32,769 rows in float32.
WIDTHS = [("float64", 3), ("float64", 5), ("float64", 6), ("float64", 7), ("float32", 3)]
ROWS = [16_385, 32_769, 40_000]


@pytest.fixture(scope="module")
def sums(tmp_path_factory):
    """The sums that JAX computes, in a process that compiles as a user's does."""
    folder = tmp_path_factory.mktemp("canary")
    cases = {f"{dtype} {width} {rows}": drawn(width, rows) for dtype, width in WIDTHS for rows in ROWS}
    given = {
        f"{name} {part}": array for name, arrays in cases.items() for part, array in zip("Mx", arrays, strict=True)
    }
    np.savez(folder / "given.npz", **given)
    subprocess.run([sys.executable, "-c", COMPUTE], cwd=folder, env=as_users(), check=True)
    return np.load(folder / "sums.npz")


COMPUTE = """
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_enable_x64", True)
given, sums = np.load("given.npz"), {}
for name in sorted({key[:-2] for key in given}):
    M, x = (jnp.asarray(given[f"{name} {part}"], name.split()[0]) for part in "Mx")
    sums[name] = jax.jit(jax.vmap(lambda r: jnp.sum((M @ r) ** 2)))(x)
np.savez("sums.npz", **sums)
"""


def drawn(width, rows):
    """A matrix and rows of whole numbers of at most 3.

    The sums stay below 7 (7 * 3 * 3)^2 = 27,783 < 2^24, so every operation is exact in float32 as in float64, in any
    order, and the tolerance is zero.
    """
    draw = np.random.default_rng(seed=0)
    return draw.integers(-3, 4, size=(width, width)), draw.integers(-3, 4, size=(rows, width))


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize(("dtype", "width"), WIDTHS)
def test_batched_sum_of_squares_equals_numpy(sums, dtype, width, rows):
    matrix, x = drawn(width, rows)
    np.testing.assert_array_equal(sums[f"{dtype} {width} {rows}"], np.sum((x @ matrix.T) ** 2, axis=1))


@pytest.mark.parametrize("package", ["jax", "jaxlib"])
def test_release_with_wrong_numbers_is_not_installed(package: str) -> None:
    assert version(package) != "0.10.2"


def test_flax_nnx_imports_with_the_installed_jax() -> None:
    # It does not for every pair: flax 0.12.8 fails from jax 0.11.1 on, and 0.12.9 from 0.11.2 on.
    assert importlib.import_module("flax.nnx").Module
