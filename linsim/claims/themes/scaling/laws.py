"""Claims about L(N, D) of power laws: one curve for all sizes, its correction, and models without end."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every
from linsim.claims.themes.scaling.sums import law_of, logistic, summed, tail
from linsim.testing.draws import decades, numbers
from linsim.theory.scaling.laws import continuum, corrected, data_limit, loss


def check_law(problem: PlainProblem, clock: float = 1.0, correction: bool = True) -> float:
    """Modes integrated one by one, at the time that the clock says, against the sum, the curve and its correction."""
    law, size = law_of(problem), problem["size"]
    x = problem["rises"] * law.rise
    time = x * size ** (law.clock * clock)
    measured = summed(problem, size, time)
    stated = float(corrected(law, size, x * size**law.clock) if correction else size**-law.gain * continuum(law, x))
    # What is left of Euler and Maclaurin is (f'(1) - 2 a)/12 N^2, f' of what is missing, as steep as 2 L b x.
    slope = 2 * law.exponent + 4 * law.depth * law.clock * x
    room = slope / (6 * size**2) * size**-law.gain
    return every(
        equals(loss(law, [size], [time])[0, 0], measured, 1e-7), equals(stated, measured, 1.0, scale=room + 1e-9)
    )


def check_limit(problem: PlainProblem, power: float = 1.0) -> float:
    """A model of very many modes, each by the logistic curve, against K D^(-p)."""
    law = law_of(problem)
    time = law.rise * problem["learned"] ** law.exponent
    count = int(min(60 * time ** (1 / law.exponent), 4e5))  # beyond it modes are where they began
    sigma = np.arange(1, count + 1, dtype=float) ** -law.exponent
    left = np.sum((sigma * logistic(law.start, sigma, np.array([time]))[0]) ** 2)
    measured = float(left) + (1 - law.start) ** 2 * tail(law.exponent, count)
    limit = data_limit(law)
    # The first modes are a sum: where no more than a few are learned the continuum is off.
    return equals(limit.amplitude * time ** (-limit.exponent * power), measured, 0.01)


def _laws(depths: tuple[int, ...]) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries(
        {
            "exponent": numbers(0.6, 2.0),
            "start": decades(1e-5, 1e-2),
            "depth": st.sampled_from(depths),
            "size": st.integers(8, 200),
            "rises": numbers(0.6, 2.0),
        }
    )


def _learned(low: float, high: float) -> st.SearchStrategy[PlainProblem]:
    """Times by how many modes are half learned."""
    told = {"exponent": numbers(0.6, 1.5), "start": decades(1e-4, 1e-2), "learned": numbers(low, high)}
    return st.fixed_dictionaries(told)


_EXAMPLE: PlainProblem = {"exponent": 1.5, "start": 1e-3, "learned": 0.5}

CLAIMS = (
    Claim(
        id="size-data-law",
        statement="Power laws sigma_i = i^(-a), L >= 2 balanced layers of N modes that begin at one share of sigma_i: "
        "N^(2 a - 1) L(N, D) = g(x) - u(x) (2 - u(x))/(2 N) + O(N^(-2)), x = D N^(-b), b = a (2 - 2/L)",
        source="re-derived",
        equation="8.1",
        domain=_laws((2, 3, 4)),
        check=check_law,
        variants=(
            Variant(name="without-correction", changes={"correction": False}),
            Variant(name="data-per-parameter-to-a-half", changes={"clock": 0.5}),
        ),
    ),
    Claim(
        id="data-limited-law",
        statement="Models without end on power laws: L = K D^(-(2 a - 1)/b), K = (1/b) int z^(p - 1) (1 - u(z))^2 dz, "
        "once the strongest modes are learned, two layers",
        source="re-derived",
        equation="8.2",
        domain=_learned(6, 20),
        check=check_limit,
        variants=(Variant(name="twice-the-exponent", changes={"power": 2.0}),),
        beyond=Outside(assumption="several modes are learned", domain=_learned(0.2, 0.8), example=_EXAMPLE),
    ),
)
