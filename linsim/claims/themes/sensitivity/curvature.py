"""Claims about curvature: its trace, its spectrum, and what of it grows with the learned modes (theory 2.4 to 2.7)."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import numpy as np
from hypothesis import strategies as st

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every, exceeds
from linsim.claims.themes.sensitivity.hessians import ROUNDING, balanced, bases, hessian, product
from linsim.measures.curvature import (
    aligned_spectrum,
    balanced_minimum_spectrum,
    gauss_newton,
    loss_hessian,
    top_curvature,
    trace_of_curvature,
)
from linsim.testing.draws import decades, numbers, seeds, sized, values

_ZERO, _ONE = st.just(0.0), st.just(1.0)
_trace_of_curvature, _aligned_spectrum = jax.jit(trace_of_curvature), jax.jit(aligned_spectrum)
_gauss_newton, _loss_hessian = jax.jit(gauss_newton), jax.jit(loss_hessian)


def check_trace_identity(problem: PlainProblem, factor: float = 1.0, whitened: bool = False) -> float:
    """Compare the formula, and the trace of the squared Jacobian, with second differences of the loss in each weight.

    The five-point stencil is exact up to degree 5; the loss has degree 2 in a weight, or 4 if it is used twice.
    """
    rng, widths, tied = np.random.default_rng(problem["seed"]), problem["widths"], problem["tied"]
    weights = [rng.standard_normal((rows, columns)) for columns, rows in itertools.pairwise(widths)]
    weights = [weights[0]] * len(weights) if tied else weights
    target, root = rng.standard_normal((widths[-1], widths[0])), rng.standard_normal((widths[0], widths[0]))
    target = problem["distance"] * target + product(weights)
    trace = jacobian = largest = 0.0
    steps, curve = np.arange(-2.0, 3.0), np.asarray([-1.0, 16.0, -30.0, 16.0, -1.0]) / 12
    for layer in range(1 if tied else len(weights)):
        for entry in np.ndindex(weights[layer].shape):
            bump = np.zeros((5, *weights[layer].shape))
            bump[:, *entry] = steps
            moved = [w + bump if tied or index == layer else w for index, w in enumerate(weights)]
            products = product(moved) @ root
            losses = np.sum((products - target @ root) ** 2, axis=(1, 2))
            slope = np.einsum("k,kij->ij", [1 / 12, -8 / 12, 0, 8 / 12, -1 / 12], products)
            trace, jacobian = trace + float(curve @ losses), jacobian + 2 * float(np.sum(slope**2))
            largest = max(largest, float(losses.max()))
    residual_part = equals(trace, jacobian, tolerance=ROUNDING, scale=largest)
    if not tied and len(weights) == 2:  # each matrix compiles anew for every shape
        dense = np.trace(_gauss_newton(tuple(weights), root @ root.T))
        residual_part = every(residual_part, equals(dense, jacobian, tolerance=ROUNDING, scale=largest))
    if tied:
        return residual_part
    stated = factor * _trace_of_curvature(tuple(weights), np.eye(widths[0]) if whitened else root @ root.T)
    return every(residual_part, equals(trace, stated, tolerance=ROUNDING, scale=largest))


def check_block_spectrum(problem: PlainProblem, factor: float = 1.0, residual: bool = True) -> float:
    """Compare the spectrum from blocks with the eigenvalues of the dense Hessian in random bases."""
    p, q, sigma = (np.asarray(problem[name]) for name in ("outer", "inner", "strengths"))
    modes = len(sigma)
    left, middle, right = bases(problem["seed"], (modes, modes, modes), modes)
    weights = (middle * q) @ right.T, (left * p) @ middle.T
    cosine, sine = np.cos(np.deg2rad(problem["turn"])), np.sin(np.deg2rad(problem["turn"]))
    turned = np.eye(modes)
    if problem["turn"]:
        turned[:2, :2] = [[cosine, -sine], [sine, cosine]]
    target = (left * sigma) @ turned @ right.T
    dense = hessian(weights, target)
    found = np.linalg.eigvalsh(dense)
    stated, scale = factor * np.asarray(_aligned_spectrum(p, q, sigma if residual else p * q)), 1 + np.abs(found).max()
    ours = equals(_loss_hessian(weights, target), dense, tolerance=1e-11, scale=float(scale))
    return every(ours, equals(found, stated, tolerance=1e-11, scale=float(scale)))


def check_minimum_spectrum(problem: PlainProblem, depth: int = 0, factor: float = 1.0) -> float:
    """Compare 2 sum_l s_i^(2(L-l)/L) s_j^(2(l-1)/L) with the dense Hessian of a balanced minimum in random bases."""
    widths, strengths = problem["widths"], np.asarray(problem["strengths"])
    layers = len(widths) - 1
    weights = balanced(problem["seed"], widths, strengths)
    weights[0], weights[1] = problem["gauge"] * weights[0], weights[1] / problem["gauge"]
    away = problem["distance"] * np.ones((widths[-1], widths[0]))
    found = np.linalg.eigvalsh(hessian(weights, product(weights) + away))
    every_mode = np.zeros(max(widths[0], widths[-1]))
    every_mode[: len(strengths)] = strengths
    pairs = np.asarray(balanced_minimum_spectrum(every_mode, depth or layers))[: widths[-1], : widths[0]].ravel()
    stated = np.sort(np.concatenate([factor * pairs, np.zeros(found.size - pairs.size)]))
    top = factor * float(top_curvature(strengths, depth or layers))
    scale = 1 + float(found.max())
    return every(
        equals(found, stated, tolerance=ROUNDING, scale=scale),
        equals(found[-1], top, tolerance=ROUNDING, scale=scale),
    )


def check_saturation(problem: PlainProblem, level: float = 4.0, grows: bool = False) -> float:
    """Take dense Hessians at two times, mode 1 being learned by then: the top stays at 4 sigma_1, the trace grows."""
    sigma, start = np.asarray(problem["strengths"]), problem["start"]
    learned = np.log((sigma[0] / start - 1) / problem["missing"]) / (4 * sigma[0])
    left, middle, right = bases(problem["seed"], (len(sigma),) * 3, len(sigma))
    tops, traces = [], []
    for time in (learned, learned * problem["longer"]):
        root = np.sqrt(sigma / (1 + (sigma / start - 1) * np.exp(-4 * sigma * time)))
        curvature = hessian(((middle * root) @ right.T, (left * root) @ middle.T), (left * sigma) @ right.T)
        tops.append(float(np.linalg.eigvalsh(curvature)[-1]))
        traces.append(float(np.trace(curvature)))
    if grows:
        return exceeds(tops[1] / tops[0], traces[1] / traces[0], rounding=0.01)
    told = equals(tops, np.full(2, top_curvature(sigma, 2)), tolerance=2e-3)
    # 2 (3 s_1 - sigma_1) <= top <= 4 sigma_1, so that 1e-3 of s_1 is 1.5e-3 of the top.
    return every(told, equals(tops, level * sigma[0], tolerance=2e-3), exceeds(traces[1], traces[0], rounding=1e-12))


def _anywhere(*widths: tuple[int, ...], tied: bool = False) -> st.SearchStrategy[PlainProblem]:
    parts = {
        "widths": st.sampled_from(widths),
        "seed": seeds(),
        "distance": _ZERO | numbers(0, 3),
        "tied": st.just(tied),
    }
    return st.fixed_dictionaries(parts)


def _blocks(turn: st.SearchStrategy[float] = _ZERO) -> st.SearchStrategy[PlainProblem]:
    def of(count: int) -> dict[str, st.SearchStrategy[Any]]:
        modes = values(numbers(-3, 3), count)
        return {"outer": modes, "inner": modes, "strengths": modes, "seed": seeds(), "turn": turn}

    return sized(of, (1, 2, 3, 5) if turn is _ZERO else (3,))


def _minima(
    gauge: st.SearchStrategy[float] = _ONE, distance: st.SearchStrategy[float] = _ZERO
) -> st.SearchStrategy[PlainProblem]:
    """As many modes as the narrowest layer has units, or fewer: a strength may be 0."""

    def of(widths: tuple[int, ...]) -> st.SearchStrategy[PlainProblem]:
        parts = {"widths": st.just(widths), "strengths": values(numbers(0, 3), min(widths)), "seed": seeds()}
        return st.fixed_dictionaries({**parts, "gauge": gauge, "distance": distance})

    return st.sampled_from(((2, 2, 2), (3, 2, 2), (2, 3, 3, 2), (1, 4, 8), (3, 5, 4))).flatmap(of)


def _trained(missing: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    return sized(
        lambda modes: {
            "strengths": values(numbers(0.2, 3), modes).map(lambda drawn: tuple(sorted(drawn, reverse=True))),
            "start": decades(1e-6, 0.1),
            "missing": missing,
            "longer": numbers(1.1, 5),
            "seed": seeds(),
        },
        (2, 3, 5),
    )


CLAIMS = (
    Claim(
        id="trace-identity",
        statement="tr H = tr Gauss-Newton = 2 sum_l ||W_L ... W_{l+1}||^2 tr(A_l S A_l^T), A_l = W_{l-1} ... W_1, at "
        "any depth and away from minima too",
        source="re-derived",
        equation="2.4",
        domain=_anywhere((2, 2, 2), (3, 2), (2, 3, 1, 2), (8, 2, 5), (1, 4, 8)),
        check=check_trace_identity,
        variants=(
            Variant(name="trace-of-the-fisher-matrix", changes={"factor": 0.5}),
            Variant(name="whitened-formula-on-any-inputs", changes={"whitened": True}),
        ),
        beyond=Outside(
            assumption="no weight is used twice",
            domain=_anywhere((2, 2, 2), tied=True),
            example={"widths": (2, 2, 2), "seed": 0, "distance": 1.0, "tied": True},
        ),
    ),
    Claim(
        id="block-spectrum",
        statement="The Hessian of an aligned square two-layer network, whitened, splits into a 2 x 2 block for each "
        "mode and a 4 x 4 block for each pair",
        source="re-derived",
        equation="2.5",
        domain=_blocks(),
        check=check_block_spectrum,
        variants=(
            Variant(name="half-loss", changes={"factor": 0.5}),
            Variant(name="without-the-residual", changes={"residual": False}),
        ),
        beyond=Outside(
            assumption="the layers are diagonal in the bases of the task",
            domain=_blocks(numbers(5, 85)),
            example={
                "outer": (1.0, 1.0, 1.0),
                "inner": (1.0, 1.0, 1.0),
                "strengths": (1.0, 2.0, 0.0),
                "seed": 0,
                "turn": 45.0,
            },
        ),
    ),
    Claim(
        id="minimum-spectrum",
        statement="At a balanced minimum of depth L the non-zero eigenvalues of H are 2 sum_l s_i^(2(L-l)/L) "
        "s_j^(2(l-1)/L), i <= d_out, j <= d_in; the top one is 2 L sigma_1^(2-2/L)",
        source="re-derived",
        equation="2.6",
        domain=_minima(),
        check=check_minimum_spectrum,
        variants=(
            Variant(name="half-loss", changes={"factor": 0.5}),
            Variant(name="two-layers-at-any-depth", changes={"depth": 2}),
            Variant(name="away-from-the-minimum", domain=_minima(distance=numbers(0.1, 1))),
        ),
        beyond=Outside(
            assumption="the layers are balanced",
            domain=_minima(gauge=numbers(1.1, 3)),
            example={"widths": (2, 2, 2), "strengths": (1.0, 0.0), "seed": 0, "gauge": 2.0, "distance": 0.0},
        ),
    ),
    Claim(
        id="saturation",
        statement="Two balanced aligned layers: once mode 1 is learned the top eigenvalue of H stays at 4 sigma_1, "
        "while tr H grows with every further mode",
        source="re-derived",
        equation="2.7",
        domain=_trained(decades(1e-8, 1e-3)),
        check=check_saturation,
        variants=(
            Variant(name="half-loss", changes={"level": 2.0}),
            Variant(name="the-top-follows-the-trace", changes={"grows": True}),
        ),
        beyond=Outside(
            assumption="mode 1 is learned",
            domain=_trained(numbers(0.1, 3)),
            example={"strengths": (1.0, 1.0, 1.0), "start": 0.01, "missing": 1.0, "longer": 2.0, "seed": 0},
        ),
    ),
)
