"""Claims about flat minima: which factorisations of a map have the least trace and top eigenvalue (theory 2.6, 2.7)."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import numpy as np
from hypothesis import strategies as st
from scipy.linalg import expm
from scipy.optimize import minimize

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every, exceeds
from linsim.claims.themes.sensitivity.hessians import ROUNDING, balanced, hessian, product
from linsim.measures.curvature import top_curvature, trace_of_curvature
from linsim.testing.draws import decades, numbers, seeds, values

_trace_of_curvature = jax.jit(trace_of_curvature)


def check_least_trace(problem: PlainProblem, mean: str = "arithmetic", factor: float = 1.0) -> float:
    """Search all factorisations of P for the least trace of the Hessian, and compare it with that of balanced layers.

    Or, of two layers, with 4 sqrt(d_in d_out) ||P||_*, the geometric mean of both sides for the arithmetic one.
    """
    widths, strengths = problem["widths"], np.asarray(problem["strengths"])
    weights, rng = balanced(problem["seed"], widths, strengths), np.random.default_rng(problem["seed"])
    shape = (len(widths) - 2, widths[1], widths[1])  # of as many units in every hidden layer

    def log_trace(flat: Any) -> float:
        return float(np.log(_trace_of_minimum(_regauged(weights, flat.reshape(shape)))))

    start = np.eye(widths[1]) + 0.2 * rng.standard_normal(shape)
    found = np.exp(minimize(log_trace, start.ravel(), options={"gtol": 1e-5}).fun)
    stated = float(_trace_of_curvature(tuple(weights)))
    if mean == "geometric":
        stated = 4 * np.sqrt(widths[0] * widths[-1]) * float(strengths.sum())
    # A slope of 1e-5 is 1e-10 above the minimum, where its curvature is of order 1.
    return equals(found, factor * stated, tolerance=1e-6)


def check_least_top(problem: PlainProblem, depth: int = 0, sharpest: bool = False) -> float:
    """Compare the top eigenvalue at random factorisations of P with 2 L sigma_1^(2-2/L), that of balanced ones."""
    widths, strengths = problem["widths"], np.asarray(problem["strengths"])
    rng = np.random.default_rng(problem["seed"])
    flattest = balanced(problem["seed"], widths, strengths)
    gauges = [expm(problem["size"] * rng.standard_normal((side, side))) for side in widths[1:-1]]
    target = product(flattest)
    weights = _regauged(flattest, gauges)
    weights[-1] = problem["share"] * weights[-1]
    stated = float(top_curvature(strengths, depth or len(widths) - 1))
    top = float(np.linalg.eigvalsh(hessian(weights, target))[-1])
    least = float(np.linalg.eigvalsh(hessian(flattest, target))[-1])
    sides = (stated, top) if sharpest else (top, stated)
    return every(equals(least, stated, tolerance=ROUNDING), exceeds(*sides, rounding=ROUNDING))


def _trace_of_minimum(weights: Any) -> float:
    """2 sum_l ||W_L ... W_{l+1}||^2 ||W_{l-1} ... W_1||^2."""
    inputs, outputs = np.eye(weights[0].shape[1]), np.eye(weights[-1].shape[0])
    before = [product([inputs, *weights[:layer]]) for layer in range(len(weights))]
    after = [product([*weights[layer + 1 :], outputs]) for layer in range(len(weights))]
    return float(2 * sum(np.sum(a**2) * np.sum(b**2) for a, b in zip(before, after, strict=True)))


def _regauged(weights: Any, gauges: Any) -> list[Any]:
    """W_l <- G_l W_l G_{l-1}^(-1), of the same product."""
    moved = list(weights)
    for layer, gauge in enumerate(gauges):
        moved[layer], moved[layer + 1] = gauge @ moved[layer], moved[layer + 1] @ np.linalg.inv(gauge)
    return moved


def _factorised(*widths: tuple[int, ...], **further: st.SearchStrategy[Any]) -> st.SearchStrategy[PlainProblem]:
    """A strength for each unit of the narrowest layer."""

    def of(chosen: tuple[int, ...]) -> st.SearchStrategy[PlainProblem]:
        drawn = {"widths": st.just(chosen), "strengths": values(numbers(0.2, 3), min(chosen)), "seed": seeds()}
        return st.fixed_dictionaries({**drawn, **further})

    return st.sampled_from(widths).flatmap(of)


_SQUARE, _RECTANGULAR, _DEEP = (2, 2, 2), (4, 2, 2), (2, 2, 2, 2)
_GAUGES = decades(1e-3, 1)

CLAIMS = (
    Claim(
        id="balanced-has-least-trace",
        statement="Two layers with d_in = d_out: of all factorisations of P = A the balanced ones have the least tr H",
        source="re-derived",
        equation="2.6",
        domain=_factorised(_SQUARE, (8, 2, 8), (3, 3, 3)),
        check=check_least_trace,
        variants=(
            Variant(name="half-loss", changes={"factor": 0.5}),
            Variant(name="sides-that-differ", domain=_factorised(_RECTANGULAR, (2, 2, 3))),
        ),
        beyond=Outside(
            assumption="two layers, of modes that may differ",
            domain=_factorised(_DEEP),
            example={"widths": _DEEP, "strengths": (1.0, 2.0), "seed": 0},
        ),
    ),
    Claim(
        id="least-trace",
        statement="Of all two-layer factorisations of P = A, any d_in and d_out, the least tr H is "
        "4 sqrt(d_in d_out) sum s_i",
        source="re-derived",
        equation="2.6",
        domain=_factorised(_SQUARE, _RECTANGULAR, (2, 2, 3), (1, 1, 8), (3, 3, 8)),
        check=partial(check_least_trace, mean="geometric"),
        variants=(
            Variant(name="the-trace-of-balanced-layers", changes={"mean": "arithmetic"}),
            Variant(name="half-loss", changes={"factor": 0.5}),
        ),
    ),
    Claim(
        id="balanced-has-least-top-eigenvalue",
        statement="At every depth and width, no factorisation of P = A has a smaller top eigenvalue of H than the "
        "balanced ones, 2 L sigma_1^(2-2/L)",
        source="re-derived",
        equation="2.6",
        domain=_factorised(
            *(_SQUARE, _RECTANGULAR, (2, 3, 3, 2), (1, 2, 8), (4, 5, 3)), size=_GAUGES, share=st.just(1.0)
        ),
        check=check_least_top,
        variants=(
            Variant(name="two-layers-at-any-depth", changes={"depth": 2}),
            Variant(name="balanced-is-sharpest", changes={"sharpest": True}),
        ),
        beyond=Outside(
            assumption="P = A, at a minimum",
            domain=_factorised(_SQUARE, _RECTANGULAR, (2, 3, 3, 2), size=_GAUGES, share=numbers(0.4, 0.9)),
            example={"widths": _SQUARE, "strengths": (1.0, 1.0), "seed": 0, "size": 0.001, "share": 0.5},
        ),
    ),
)
