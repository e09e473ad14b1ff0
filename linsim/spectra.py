"""Spectra: the singular values sigma_1 >= sigma_2 >= ... of a task, largest first, and variances of inputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from linsim.errors import LARGEST, SMALLEST, listed, numbers, require, require_integer, require_number

Spectrum = Float[np.ndarray, " modes"]

MOST = 10**6
"""Modes of a spectrum: a matrix of as many columns has no room anywhere."""


def power_law(modes: int, scale: float = 2.0, exponent: float = 1.0) -> Spectrum:
    """sigma_i = scale * i^(-exponent) for i = 1..modes.

    Example:
      >>> ls.power_law(4).round(3)
      array([2.   , 1.   , 0.667, 0.5  ])
    """
    _check(modes, scale, "exponent", exponent)
    return scale * np.arange(1, modes + 1, dtype=np.float64) ** -exponent


def exponential(modes: int, scale: float = 2.0, rate: float = 0.5) -> Spectrum:
    """sigma_i = scale * exp(-rate (i - 1)) for i = 1..modes.

    Example:
      >>> ls.exponential(3, rate=np.log(2)).round(3)
      array([2. , 1. , 0.5])
    """
    _check(modes, scale, "rate", rate)
    return scale * np.exp(-rate * np.arange(modes, dtype=np.float64))


def flat_blocks(sizes: Sequence[int], levels: Sequence[float]) -> Spectrum:
    """sizes[0] modes of strength levels[0], then sizes[1] of levels[1], and so on.

    Example:
      >>> ls.flat_blocks(sizes=[2, 3], levels=[2.0, 0.5])
      array([2. , 2. , 0.5, 0.5, 0.5])
    """
    sizes, levels = listed("sizes", sizes, "a list of integers"), listed("levels", levels, "a list of numbers")
    require(len(sizes) == len(levels) > 0, "sizes", sizes, f"one size for each of the {len(levels)} levels")
    for size in sizes:
        require_integer("sizes", size, at_least=1, at_most=MOST)
    require(sum(sizes) <= MOST, "sizes", sizes, f"at most {MOST} modes together")
    return np.repeat(numbers("levels", levels, 1, sized=True), sizes)


def explicit(values: Sequence[float]) -> Spectrum:
    """The given strengths. A negative one is a mode whose singular vectors point opposite ways.

    Example:
      >>> ls.explicit([3, 1])
      array([3., 1.])
    """
    return numbers("values", values, 1, sized=True)


def power_covariance(basis: Float[np.ndarray, "d_in d_in"], exponent: float) -> Float[np.ndarray, "d_in d_in"]:
    """S = sum_i i^(-exponent) b_i b_i^T over the columns b_i of a basis; with a task's `right`, S commutes with it.

    Example:
      >>> np.diag(ls.power_covariance(np.eye(4), exponent=1.0)).round(3)
      array([1.   , 0.5  , 0.333, 0.25 ])
    """
    basis = numbers("basis", basis, 2, sized=True)
    require(basis.shape[0] == basis.shape[1], "basis", f"shape {basis.shape}", "a square matrix")
    require_number("exponent", exponent, at_least=0)
    variances = np.arange(1, len(basis) + 1, dtype=np.float64) ** -exponent
    product = (basis * variances) @ basis.T
    return 0.5 * (product + product.T)


def _check(modes: int, scale: float, name: str, value: float) -> None:
    require_integer("modes", modes, at_least=1, at_most=MOST)
    require_number("scale", scale, at_least=SMALLEST, at_most=LARGEST)
    require_number(name, value, at_least=0)
