"""Claims about monitors of training: squared gradients are not the trace of the Fisher matrix (theory 2.8)."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import numpy as np
from hypothesis import strategies as st

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every, exceeds
from linsim.measures.curvature import empirical_fisher_trace, fisher_trace, gradient_square
from linsim.testing.draws import decades, numbers, seeds, sized, values

_ZERO = st.just(0.0)
_fisher_trace, _gradient_square = jax.jit(fisher_trace), jax.jit(gradient_square)
_empirical_fisher_trace = jax.jit(empirical_fisher_trace)


def check_gradient_square(problem: PlainProblem, monitor: str = "squares") -> float:
    """Follow two modes until they are learned: gradients of single examples, by exact quadrature, and the Fisher trace.

    Both the square of the mean gradient and the mean of squares must vanish, and agree with their formulas.
    """
    sigma, start = np.asarray(problem["strengths"]), np.asarray(problem["strengths"]) * problem["start"]
    folds = np.log((sigma / start - 1) * 1e4)
    target, label_noise = np.diag(sigma), problem["label_noise"]
    values: list[tuple[float, float, float]] = []
    formulas = []
    for time in np.linspace(0, 1, 12) * np.max(folds / (4 * sigma)):
        root = np.sqrt(sigma / (1 + (sigma / start - 1) * np.exp(-4 * sigma * time)))
        weights = np.diag(root), np.diag(root)
        values.append(_gradients(weights, target, label_noise))
        mean = float(_gradient_square(weights, target)) / 4  # of the loss without 1/2
        formulas.append((mean, float(_empirical_fisher_trace(weights, target, None, label_noise))))
    squares, mean_squares, fisher = np.asarray(values).T
    scale = float(mean_squares.max())
    agree = equals(np.asarray(values)[:, :2], formulas, tolerance=1e-12, scale=scale)
    falling = {"squares": (squares, mean_squares), "fisher": (fisher,)}[monitor]
    vanish = [exceeds(1e-4 * curve.max(), curve[-1], scale=1e-4 * curve.max()) for curve in falling]
    # Residuals are 1e-4 of what they were, and squared; the Fisher trace never falls.
    return every(agree, *vanish, exceeds(fisher[1:], fisher[:-1], rounding=1e-12))


def check_label_noise_fisher(problem: PlainProblem, power: int = 2, factor: float = 1.0) -> float:
    """Compare the mean squared gradient of single examples, by exact quadrature, with sy^2 times the Fisher trace."""
    rng, noise = np.random.default_rng(problem["seed"]), problem["label_noise"]
    inputs, hidden, outputs = problem["widths"]
    weights = rng.standard_normal((hidden, inputs)), rng.standard_normal((outputs, hidden))
    target = weights[1] @ weights[0] + problem["distance"] * rng.standard_normal((outputs, inputs))
    _, found, fisher = _gradients(weights, target, noise)
    exact = equals(found, _empirical_fisher_trace(weights, target, None, noise), tolerance=1e-12)
    stated = factor * noise**power * float(_fisher_trace(weights))
    return every(exact, equals(found, stated, tolerance=1e-12), equals(fisher, _fisher_trace(weights), tolerance=1e-12))


def _gradients(weights: Any, target: Any, label_noise: float) -> tuple[float, float, float]:
    """||E g||^2 and E ||g||^2 with g the gradient of half a squared error, and the trace of the Fisher matrix.

    Three Gauss-Hermite nodes an input are exact to degree 5, two an output to degree 3.
    """
    inner, outer = weights
    nodes = np.asarray(list(itertools.product((-np.sqrt(3), 0.0, np.sqrt(3)), repeat=inner.shape[1])))
    chance = np.prod(np.where(nodes == 0, 2 / 3, 1 / 6), axis=1)
    mean, squares, fisher = np.zeros(inner.size + outer.size), 0.0, 0.0
    patterns = list(itertools.product((-1.0, 1.0), repeat=len(outer)))
    for signs in patterns:
        errors = nodes @ (outer @ inner - target).T - label_noise * np.asarray(signs)
        for error, kept in ((errors, True), (np.ones((len(nodes), len(outer))) * signs, False)):
            first = np.einsum("ki,kj->kij", error @ outer, nodes).reshape(len(nodes), -1)
            second = np.einsum("ki,kj->kij", error, nodes @ inner.T).reshape(len(nodes), -1)
            both = np.concatenate([first, second], axis=1)
            if kept:
                mean, squares = mean + chance @ both, squares + chance @ np.sum(both**2, axis=1)
            else:  # a residual of covariance I
                fisher += chance @ np.sum(both**2, axis=1)
    count = len(patterns)
    return float(np.sum(mean**2)) / count**2, float(squares) / count, float(fisher) / count


def _learned(label_noise: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    return sized(
        lambda modes: {
            "strengths": values(numbers(0.2, 3), modes),
            "start": decades(1e-4, 0.5),
            "label_noise": label_noise,
        },
        (1, 2, 3),
    )


def _noisy_minima(distance: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    widths = st.sampled_from(((2, 3, 2), (1, 8, 4), (4, 2, 3)))
    return st.fixed_dictionaries(
        {"widths": widths, "seed": seeds(), "label_noise": numbers(0.1, 3), "distance": distance}
    )


CLAIMS = (
    Claim(
        id="gradient-square-vanishes",
        statement="On a noiseless task the square of the mean gradient and the mean square of single gradients fall to "
        "0 at convergence, while the Fisher trace rises (balanced aligned modes from below)",
        source="re-derived",
        equation="2.8",
        domain=_learned(_ZERO),
        check=check_gradient_square,
        variants=(Variant(name="the-fisher-trace-vanishes-too", changes={"monitor": "fisher"}),),
        beyond=Outside(
            assumption="labels carry no noise",
            domain=_learned(numbers(0.1, 3)),
            example={"strengths": (1.0, 1.0), "start": 0.1, "label_noise": 1.0},
        ),
    ),
    Claim(
        id="label-noise-fisher",
        statement="At a minimum the mean squared gradient of single examples (half a squared error) is the label noise "
        "variance times the Fisher trace",
        source="re-derived",
        equation="2.8",
        domain=_noisy_minima(_ZERO),
        check=check_label_noise_fisher,
        variants=(
            Variant(name="standard-deviation-for-variance", changes={"power": 1}),
            Variant(name="gradients-without-the-half", changes={"factor": 4.0}),
        ),
        beyond=Outside(
            assumption="the residual is zero",
            domain=_noisy_minima(numbers(0.01, 2)),
            example={"widths": (2, 3, 2), "seed": 0, "label_noise": 1.0, "distance": 1.0},
        ),
    ),
)
