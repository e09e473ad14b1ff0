"""Strengths of tasks: power laws without end, and what is measured on handwritten digits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linsim.errors import require
from linsim.theory.scaling.power_law import PowerLaw

from ..digits import load

DIGITS = "digits"
_PRESENT = 1e-3  # of the largest strength: pixels that are nearly always blank are none


class Spectrum(NamedTuple):
    """A task by its modes."""

    name: str
    strengths: Float[np.ndarray, " modes"]
    """sigma_i, decreasing; 0 beyond the rank."""
    exponent: float
    """a; of measured strengths the slope of all of them."""
    law: PowerLaw | None
    """Where it is a power law, of which modes go on beyond those that are simulated."""

    @property
    def rank(self) -> int:
        """Modes with a strength."""
        return int(np.count_nonzero(self.strengths))

    def beyond(self, sizes: np.ndarray) -> np.ndarray:
        """sum over i > N of sigma_i^2, without end where it is a law."""
        if self.law is not None:
            return self.law.beyond(sizes)
        squares = self.strengths**2
        return np.asarray(np.append(np.cumsum(squares[::-1])[::-1], 0.0)[sizes])


def power(exponent: float, modes: int, start: float, depth: int = 2) -> Spectrum:
    """sigma_i = i^-a."""
    law = PowerLaw(exponent, start, depth)
    return Spectrum(f"a = {exponent:g}", law.strengths(modes), exponent, law)


def digits(modes: int) -> Spectrum:
    """Singular values of the centred images over sqrt(n), largest 1: the task x = S^(1/2) z with whitened inputs z."""
    pixels, _ = load()
    found = np.linalg.svd(pixels - pixels.mean(axis=0), compute_uv=False)
    found = found[found > _PRESENT * found[0]] / found[0]
    kept = found[:modes]
    slope = -np.polyfit(np.log(np.arange(1, len(kept) + 1)), np.log(kept), 1)[0]
    return Spectrum(DIGITS, np.append(kept, np.zeros(modes - len(kept))), float(slope), None)


def require_ranks(spectra: list[Spectrum], sizes: tuple[int, ...]) -> None:
    """Raise `InvalidInput` for a size above the rank of a task."""
    for spectrum in spectra:
        allowed = f"sizes up to the rank of every task, {spectrum.rank} of {spectrum.name}"
        require(sizes[-1] <= spectrum.rank, "sizes", sizes[-1], allowed)
