"""Claims about what is best at one compute, what over-training costs, and what inference is worth."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from linsim.claims.claim import Claim, PlainProblem, Variant
from linsim.claims.margins import equals, every
from linsim.claims.themes.scaling.sums import law_of, logistic, missing, tail
from linsim.testing.draws import decades, numbers
from linsim.theory.scaling.optimal import (
    allocation,
    clock_of_one_start,
    compute_optimal,
    exponents,
    overtrained,
)


def check_line(problem: PlainProblem, ratio: float | None = None, deep: bool = True) -> float:
    """The best whole number of modes at two computes, every mode integrated, against x* and the exponents."""
    law, size = law_of(problem), problem["size"]
    stated, told = exponents(law), compute_optimal(law)
    growth = 1 / (1 + (law.clock if deep else law.exponent)) if ratio is None else 1 / (2 + ratio)
    costs = told.clock * np.array([size, 4 * size]) ** (1 + law.clock)
    best = np.array([_best(problem, cost) for cost in costs])
    slopes = np.diff(best, axis=0)[0] / np.log(costs[1] / costs[0])
    x = np.exp(np.log(costs) - (1 + law.clock) * best[:, 0])
    # Corrections are of the order of 1/N at the smaller size: 0.1/N of slopes and 0.2/N of x* were seen at most.
    room = 0.3 / size
    return every(
        equals(slopes[0], growth, 1.0, scale=room),
        equals(slopes[1], stated.loss, 1.0, scale=room * max(law.gain, 1)),
        equals(x[1], told.clock, 1.0, scale=room * (1 + law.clock) * told.clock / 2),
    )


def check_price(problem: PlainProblem, power: float = 1.0) -> float:
    """Models of r times the data per parameter at one compute, every mode integrated, over the best."""
    law, size, ratio = law_of(problem), problem["size"], problem["ratio"]
    best, told = compute_optimal(law), overtrained(law, ratio)
    clock = best.clock * ratio ** ((1 + law.clock) / 2 * power)
    smaller = size * (best.clock / clock) ** (1 / (1 + law.clock))  # at the same N D
    count = round(smaller)
    sizes, clocks = np.array([size, count]), np.array([best.clock, clock])
    sums = sizes.astype(float) ** law.gain * _losses(problem, sizes, clocks * sizes**law.clock)
    losses = sums + (1 - missing(law.start, law.depth, clocks) ** 2) / (2 * sizes)  # as in the continuum
    measured = losses[1] / losses[0] * (smaller / size) ** -law.gain
    return every(equals(float(told.price), measured, 0.02), equals(float(told.clock), clock, 1e-9))


def check_inference(problem: PlainProblem, factor: float = 1.0) -> float:
    """Sizes and budgets of one cost N (D + q), with the stated one among them: none is better."""
    law = law_of(problem)
    cost = compute_optimal(law).clock * problem["size"] ** (1 + law.clock)
    serving = problem["share"] * compute_optimal(law).clock * problem["size"] ** law.clock
    told = allocation(law, cost, factor * serving)
    sizes = np.unique(np.round(np.geomspace(0.25, 1.6, 60) * told.size).astype(int))
    sizes = sizes[(sizes >= 2) & (cost / sizes > 1.02 * serving)]
    times = cost / sizes - serving
    left = missing(law.start, law.depth, times * sizes.astype(float) ** -law.clock)
    values = (
        _losses(problem, sizes, times) + sizes.astype(float) ** (-2 * law.exponent) * (1 - left**2) / 2
    )  # as in the continuum
    best = _vertex(np.log(sizes), np.log(values))[0]
    return equals(np.log(told.size), best, 1.0, scale=0.03 + 2.0 / problem["size"])


def check_one_start(problem: PlainProblem, logarithm: bool = True) -> float:
    """The best sizes at two computes where all modes begin at one strength."""
    a, size = problem["exponent"], problem["size"]
    start = size**-a * np.exp(-problem["way"])
    clock = float(clock_of_one_start(a, start, size)) if logarithm else a
    rise = size**a * problem["way"] / 4
    costs = size * rise * np.array([0.4, 2.5])
    best = []
    for cost in costs:
        sizes = np.unique(np.round(np.geomspace(0.5, 2.0, 80) * size * (cost / (size * rise)) ** 0.5).astype(int))
        sigma = np.arange(1, sizes[-1] + 1, dtype=float) ** -a
        odds = (sigma / start - 1) * np.exp(-np.minimum(4 * np.multiply.outer(cost / sizes, sigma), 700.0))
        left = np.cumsum((sigma * odds / (1 + odds)) ** 2, axis=1)[np.arange(len(sizes)), sizes - 1]
        beyond = np.array([tail(a, int(n)) for n in sizes])
        best.append(_vertex(np.log(sizes), np.log(left + beyond))[0])
    slope = (best[1] - best[0]) / np.log(costs[1] / costs[0])
    return equals(slope, 1 / (1 + clock), 1.0, scale=0.015)


def _losses(problem: PlainProblem, sizes: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Of sizes, each at a time of its own, every mode by itself."""
    a, depth = problem["exponent"], problem.get("depth", 2)
    sigma = np.arange(1, int(sizes.max()) + 1, dtype=float) ** -a
    if depth == 2:
        left = logistic(problem["start"], sigma, times)
    else:
        left = missing(problem["start"], depth, np.multiply.outer(times, sigma ** (2 - 2 / depth)))
    within = np.cumsum((sigma * left) ** 2, axis=1)[np.arange(len(sizes)), sizes - 1]
    beyond = tail(a, int(sizes.min())) - np.cumsum(np.append(0.0, sigma[int(sizes.min()) :] ** 2))
    return np.asarray(within + beyond[sizes - sizes.min()])


def _best(problem: PlainProblem, cost: float) -> tuple[float, float]:
    """log N and log L of the best model, by a curve through sizes around it."""
    law = law_of(problem)
    middle = (cost / compute_optimal(law).clock) ** (1 / (1 + law.clock))
    sizes = np.arange(int(0.85 * middle), int(1.2 * middle) + 2)
    return _vertex(np.log(sizes), np.log(_losses(problem, sizes, cost / sizes)))


def _vertex(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The least of a cubic through what is around the least value."""
    at = int(np.argmin(y))
    near = slice(max(at - 7, 0), at + 8)
    curve = np.polyfit(x[near] - x[at], y[near], 4)
    fine = np.linspace(x[near][0] - x[at], x[near][-1] - x[at], 2001)
    told = np.polyval(curve, fine)
    return float(x[at] + fine[np.argmin(told)]), float(told.min())


def _laws(
    least: int, most: int, depths: tuple[int, ...] = (2,), **more: st.SearchStrategy[float]
) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries(
        {
            "exponent": numbers(0.7, 1.6),
            "start": decades(1e-4, 1e-2),
            "depth": st.sampled_from(depths),
            "size": st.integers(least, most),
            **more,
        }
    )


CLAIMS = (
    Claim(
        id="compute-optimal-line",
        statement="Power laws at compute C = N D: N ~ C^(1/(1 + b)), L ~ C^(-(2 a - 1)/(1 + b)), b = a (2 - 2/L), on "
        "the line D = x* N^b, x* of least x^((2 a - 1)/(1 + b)) g(x), up to 1/N: D/N is constant iff b = 1",
        source="re-derived",
        equation="8.3",
        domain=_laws(40, 90, (2, 3)),
        check=check_line,
        variants=(
            Variant(
                name="more-data-per-parameter",
                changes={"ratio": 0.5},
                domain=st.fixed_dictionaries(
                    {
                        "exponent": numbers(0.7, 0.9),
                        "start": decades(1e-4, 1e-2),
                        "depth": st.just(2),
                        "size": st.integers(60, 90),
                    }
                ),
            ),
            Variant(name="depth-ignored", changes={"deep": False}, domain=_laws(40, 90, (3,))),
        ),
    ),
    Claim(
        id="one-start-for-all",
        statement="Power laws, two layers whose modes all begin at one s_0: N ~ C^(1/(1 + b)) with b = a (1 - 1/ln("
        "sigma_N/s_0)), within 0.015 from ln = 6 on",
        source="re-derived",
        equation="8.3",
        domain=st.fixed_dictionaries(
            {"exponent": numbers(0.7, 1.2), "way": numbers(6, 9), "size": st.integers(60, 120)}
        ),
        check=check_one_start,
        variants=(Variant(name="no-logarithm", changes={"logarithm": False}),),
    ),
    Claim(
        id="price-of-overtraining",
        statement="At one compute a model of r times the compute-optimal data per parameter has (x/x*)^((2 a - 1)/(1 "
        "+ b)) g(x)/g(x*) times its loss, x = x* r^((1 + b)/2)",
        source="re-derived",
        equation="8.4",
        domain=_laws(150, 300, ratio=numbers(1.5, 6.0)),
        check=check_price,
        variants=(Variant(name="by-the-ratio-itself", changes={"power": 2.0}),),
    ),
    Claim(
        id="inference-share",
        statement="At one cost N (D + q) the best model has D = x N^b with q/D = -(2 a - 1) g/(x g') - (1 + b), which "
        "grows as e^(4 L x): inference makes x a logarithm larger, no more",
        source="re-derived; cost as of Sardana et al. 2024",
        equation="8.4",
        domain=_laws(60, 160, share=numbers(0.05, 1.0)),
        check=check_inference,
        variants=(
            Variant(
                name="a-third-of-inference", changes={"factor": 1 / 3}, domain=_laws(100, 160, share=numbers(0.7, 1.0))
            ),
        ),
    ),
)
