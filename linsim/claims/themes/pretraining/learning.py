"""Claims about what is learned, and when: section 1 of the theory, and the modes that are never learned."""

from __future__ import annotations

import jax
import numpy as np
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every
from linsim.claims.themes.simulation import task_of, turned
from linsim.dynamics.in_turn import train
from linsim.dynamics.modes.mode_flow import mode_flow
from linsim.phase import Phase
from linsim.testing.draws import decades, numbers

_ZERO = st.just(0.0)
_TINY = decades(1e-6, 1e-3)
_mode_flow = jax.jit(mode_flow)


def check_logistic_mode(problem: PlainProblem, rate: float = 4.0) -> float:
    """Integrate the flow of two 2 x 2 layers and compare both modes with the logistic curve of the stated rate."""
    sigma, start, time = np.asarray(problem["strengths"]), problem["start"], problem["time"]
    common, half = np.hypot(problem["balance"] / 2, start), problem["balance"] / 2
    second = np.diag(np.full(2, np.sqrt(common + half)))  # p^2 and q^2 with p q = start, p^2 - q^2 = balance
    first = np.diag(np.full(2, start / np.sqrt(common + half))) @ turned(2, problem["turn"])

    def flow(_: float, layers: np.ndarray) -> np.ndarray:
        inner, outer = layers.reshape(2, 2, 2)
        residual = outer @ inner - np.diag(sigma)
        return np.stack([-2 * outer.T @ residual, -2 * residual @ inner.T]).ravel()

    layers = np.stack([first, second]).ravel()
    inner, outer = solve_ivp(flow, (0, time), layers, "DOP853", rtol=1e-10, atol=1e-14).y[:, -1].reshape(2, 2, 2)
    stated = sigma / (1 + (sigma / start - 1) * np.exp(-rate * sigma * time))
    # An error of 1e-10 of a small mode stays that small, relative to it, until it is learned and then shrinks.
    found = equals(np.diag(outer @ inner), stated, tolerance=1e-6, scale=float(sigma.max()))
    return every(found, equals(np.diag(outer @ inner), _mode_flow(start, sigma, 1.0, time), 1e-6, float(sigma.max())))


def check_zero_mode(problem: PlainProblem) -> float:
    """Descend from a checkpoint of two modes, with the penalty towards it, and see whether the second one moved."""
    sigma, rate, penalty = problem["strengths"], problem["rate"], problem["penalty"]
    learned, small = np.sqrt(problem["learned"]), problem["inner"]
    inner, outer = np.diag([learned, small]), np.diag([learned, problem["outer"]])
    checkpoint = outer @ inner
    target = np.diag(sigma) @ turned(2, problem["turn"])
    for _ in range(problem["steps"]):
        product = outer @ inner
        gradient = 2 * (product - target) + 2 * penalty * (product - checkpoint)
        inner, outer = inner - rate * outer.T @ gradient, outer - rate * gradient @ inner.T
    phase, start = (
        Phase(rate, product_penalty=penalty),
        (np.diag([learned, small]), np.diag([learned, problem["outer"]])),
    )
    ours = train(start, task_of(target), phase, problem["steps"], points=[problem["steps"]]).weights
    # Nothing but products with an exact zero: no rounding to allow for, yet the scale is that of the target.
    zero = equals((outer @ inner)[1, 1], checkpoint[1, 1], tolerance=1e-12, scale=sigma[1])
    return every(zero, equals(ours[1] @ ours[0], outer @ inner, tolerance=1e-10, scale=3.0))


def _logistic(balance: st.SearchStrategy[float], turn: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries(
        {
            "strengths": st.tuples(numbers(0.2, 3), numbers(0.2, 3)),
            "start": decades(1e-6, 0.1),
            "time": numbers(0.1, 5),
            "balance": balance,
            "turn": turn,
        }
    )


def _checkpoint(
    inner: st.SearchStrategy[float] = _ZERO,
    outer: st.SearchStrategy[float] = _ZERO,
    turn: st.SearchStrategy[float] = _ZERO,
) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries(
        {
            "strengths": st.tuples(numbers(0.2, 3), numbers(0.2, 3)),
            "learned": numbers(0, 3),
            "inner": inner,
            "outer": outer,
            "rate": decades(1e-3, 2e-2),
            "steps": st.integers(1, 300),
            "penalty": numbers(0, 2),
            "turn": turn,
        }
    )


CLAIMS = (
    Claim(
        id="logistic-mode",
        statement="Two aligned balanced layers: s(t) = sigma / (1 + (sigma/s0 - 1) exp(-4 sigma t)) in every mode",
        source="Saxe et al. 2014",
        equation="1.1",
        domain=_logistic(_ZERO, _ZERO),
        check=check_logistic_mode,
        variants=(
            Variant(name="rate-of-the-half-loss", changes={"rate": 2.0}),
            Variant(name="not-aligned", domain=_logistic(_ZERO, numbers(10, 80))),
        ),
        beyond=Outside(
            assumption="layers are balanced",
            domain=_logistic(numbers(0.1, 2), _ZERO),
            example={"strengths": (1.0, 1.0), "start": 0.01, "time": 1.0, "balance": 1.0, "turn": 0.0},
        ),
    ),
    Claim(
        id="zero-mode-stays-zero",
        statement="A mode that is exactly 0 in both layers stays 0 under descent, where tasks share singular vectors",
        source="as restated in Feng et al. 2026",
        equation="3.3",
        domain=_checkpoint(),
        check=check_zero_mode,
        variants=(
            Variant(name="tiny-instead-of-zero", domain=_checkpoint(inner=_TINY, outer=_TINY)),
            Variant(name="zero-in-one-layer-only", domain=_checkpoint(outer=numbers(0.1, 1))),
        ),
        beyond=Outside(
            assumption="the fine-tuning task shares the singular vectors",
            domain=_checkpoint(turn=numbers(5, 85)),
            example={
                "strengths": (1.0, 1.0),
                "learned": 1.0,
                "inner": 0.0,
                "outer": 0.0,
                "rate": 0.01,
                "steps": 300,
                "penalty": 0.0,
                "turn": 30.0,
            },
        ),
    ),
)
