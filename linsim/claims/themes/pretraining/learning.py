"""Claims about what is learned, and when: section 1 of the theory, and the modes that are never learned."""

from __future__ import annotations

import jax
import numpy as np
from hypothesis import strategies as st

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every
from linsim.claims.themes.simulation import flowed, product, rotation, task_of, turned, two_layers
from linsim.dynamics.in_turn import train
from linsim.dynamics.modes.mode_flow import mode_flow
from linsim.phase import Phase
from linsim.testing.draws import decades, numbers, seeds, sized, values

_ZERO = st.just(0.0)
_TINY = decades(1e-6, 1e-3)
_SIGNED = st.one_of(numbers(0.2, 3), numbers(-3, -0.2))
_mode_flow = jax.jit(mode_flow)


def check_logistic_mode(problem: PlainProblem, rate: float = 4.0) -> float:
    """Integrate two layers in random bases and compare their modes with the logistic curve of the stated rate."""
    sigma, start, time = np.asarray(problem["strengths"]), np.asarray(problem["starts"]), problem["time"]
    left, middle, right = (rotation(problem["basis"] + shift, len(sigma)) for shift in range(3))
    axes = right @ turned(len(sigma), problem["turn"])
    layers = two_layers(left, start, axes, problem["balance"], middle)
    modes = np.diag(left.T @ product(flowed(layers, (left * sigma) @ right.T, time)) @ right)
    stated = sigma / (1 + (sigma / start - 1) * np.exp(-rate * sigma * time))
    # An error of 1e-10 of a small mode stays that small, relative to it, until it is learned and then shrinks.
    scale = float(max(np.abs(sigma).max(), start.max()))
    return every(equals(modes, stated, 1e-6, scale), equals(modes, _mode_flow(start, sigma, 1.0, time), 1e-6, scale))


def check_zero_mode(problem: PlainProblem) -> float:
    """Descend from a checkpoint, with the penalty towards it, and see whether the last mode moved."""
    sigma, rate, penalty = problem["strengths"], problem["rate"], problem["penalty"]
    learned = np.sqrt(problem["learned"])
    begun = np.diag([*learned, problem["inner"]]), np.diag([*learned, problem["outer"]])
    (inner, outer), checkpoint = begun, begun[1] @ begun[0]
    target = np.diag(sigma) @ turned(len(sigma), problem["turn"])
    for _ in range(problem["steps"]):
        product = outer @ inner
        gradient = 2 * (product - target) + 2 * penalty * (product - checkpoint)
        inner, outer = inner - rate * outer.T @ gradient, outer - rate * gradient @ inner.T
    phase = Phase(rate, product_penalty=penalty)
    ours = train(begun, task_of(target), phase, problem["steps"], points=[problem["steps"]]).weights
    # Nothing but products with an exact zero: no rounding to allow for, yet the scale is that of the target.
    zero = equals((outer @ inner)[-1, -1], checkpoint[-1, -1], tolerance=1e-12, scale=abs(sigma[-1]))
    return every(zero, equals(ours[1] @ ours[0], outer @ inner, tolerance=1e-10, scale=3.0))


def _logistic(balance: st.SearchStrategy[float], turn: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    return sized(
        lambda modes: {
            "strengths": values(_SIGNED, modes),
            "starts": values(decades(1e-6, 3), modes),
            "time": numbers(0.1, 5),
            "balance": balance,
            "basis": seeds(),
            "turn": turn,
        },
        (1, 2, 8) if turn is _ZERO else (2,),
    ).filter(lambda problem: min(problem["strengths"]) * problem["time"] > -8)  # rounding grows as e^(-2 sigma t)


def _checkpoint(
    inner: st.SearchStrategy[float] = _ZERO,
    outer: st.SearchStrategy[float] = _ZERO,
    turn: st.SearchStrategy[float] = _ZERO,
) -> st.SearchStrategy[PlainProblem]:
    return sized(
        lambda modes: {
            "strengths": values(_SIGNED, modes),
            "learned": values(numbers(0, 3), modes - 1),
            "inner": inner,
            "outer": outer,
            "rate": decades(1e-3, 2e-2),
            "steps": st.integers(1, 300),
            "penalty": numbers(0, 2),
            "turn": turn,
        },
        (2, 3, 8) if turn is _ZERO else (2,),
    )


CLAIMS = (
    Claim(
        id="logistic-mode",
        statement="Two aligned balanced layers: s(t) = sigma / (1 + (sigma/s0 - 1) exp(-4 sigma t)) in every mode, "
        "s0 > 0, also for sigma < 0, where rounding grows",
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
            example={
                **{"strengths": (1.0, 1.0), "starts": (0.01, 0.01), "time": 1.0, "balance": 1.0},
                **{"basis": 0, "turn": 0.0},
            },
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
                "learned": (1.0,),
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
