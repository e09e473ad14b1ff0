"""Claims about noise on the weights: its exact price, and the network that is best under it (theory 2.1 to 2.3)."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import jax
import numpy as np
from hypothesis import strategies as st
from scipy.optimize import minimize

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every
from linsim.measures.curvature import trace_of_curvature
from linsim.measures.sensitivity import expected_increase, expected_loss, two_layer_increase
from linsim.testing.draws import decades, numbers, seeds, values
from linsim.theory.prices import NoiseCost, noise_price, soft_threshold

_expected_loss, _two_layer_increase = jax.jit(expected_loss), jax.jit(two_layer_increase)
_expected_increase = jax.jit(expected_increase)
_trace_of_curvature = jax.jit(trace_of_curvature)
_SQUARE = ((2, 2, 2), (2, 1, 2), (1, 5, 1), (5, 1, 5))
_RECTANGULAR = ((3, 1, 2), (2, 2, 1), (8, 1, 1), (1, 1, 8))
_OF_SUMS = 1e-13  # up to 256 losses of float64, each of some tens of roundings of the largest


def check_noise_recursion(problem: PlainProblem, order: str = "every") -> float:
    """Compare the recursion over layers with the mean loss over every pattern of signs of the noise."""
    weights, target, covariance = _network(problem)
    gammas = np.asarray(problem["gammas"])[: len(weights)]
    mean, largest = _over_signs(weights, target, covariance, gammas, problem["shared"])
    stated = _expected_loss(weights, target, gammas, covariance)
    increase = _expected_increase(weights, gammas, covariance)
    rises = equals(mean - _loss(weights, target, covariance), increase, tolerance=_OF_SUMS, scale=largest)
    if order == "second":  # for one gamma
        mean, largest = _over_signs(weights, target, covariance, 0 * gammas + gammas[0], problem["shared"])
        stated = _loss(weights, target, covariance) + gammas[0] ** 2 / 2 * _trace_of_curvature(weights, covariance)
    return every(equals(mean, stated, tolerance=_OF_SUMS, scale=largest), 1.0 if problem["shared"] else rises)


def check_noise_orders(problem: PlainProblem, quadratic: float = 1.0, own_scale: bool = False) -> float:
    """Compare both orders of the increase of two layers with the mean loss over every pattern of signs."""
    weights, target, covariance = _network(problem)
    gammas = np.asarray(problem["gammas"])
    mean, largest = _over_signs(weights, target, covariance, gammas)
    orders = _two_layer_increase(weights, gammas[::-1] if own_scale else gammas, covariance)
    increase = quadratic * orders.quadratic + orders.quartic
    return equals(mean, _loss(weights, target, covariance) + increase, tolerance=_OF_SUMS, scale=largest)


def check_noise_is_weight_decay(problem: PlainProblem, halves: float = 1.0) -> float:
    """Compare the mean loss over every pattern of signs with the loss under decay (G/2) ||W||^2, and a constant."""
    weights, target, covariance = _network(problem)
    gamma, (d_in, hidden, d_out) = problem["gamma"], problem["widths"]
    mean, largest = _over_signs(weights, target, covariance, np.full(2, gamma))
    decay = halves / 2 * float(noise_price(gamma, d_in, d_out)) * sum(np.sum(weight**2) for weight in weights)
    cost = NoiseCost.absolute(gamma, d_in, hidden, d_out)
    told = equals(cost.price, noise_price(gamma, d_in, d_out), tolerance=1e-12)
    stated = _loss(weights, target, covariance) + decay + cost.constant
    return every(told, equals(mean, stated, tolerance=_OF_SUMS, scale=largest))


def check_best_under_noise(problem: PlainProblem, price: str, factor: float = 1.0, narrower: bool = False) -> float:
    """Minimise the loss under noise over balanced modes, or over all weights, and compare the map that it finds.

    With `narrower`, that of the best network with as many hidden units or fewer.
    """
    (d_in, widest, d_out), variance = problem["widths"], problem["gamma"] ** 2
    rng, sigma = np.random.default_rng(problem["seed"]), np.asarray(problem["strengths"])
    left, right = (np.linalg.qr(rng.standard_normal((size, len(sigma))))[0] for size in (d_out, d_in))
    target = (left * sigma) @ right.T

    def layers(point: Any) -> tuple[Any, Any]:
        if not problem["free"]:
            return point[:, None] * right.T, left * point
        hidden = point.size // (d_in + d_out)
        return point[: hidden * d_in].reshape(hidden, d_in), point[hidden * d_in :].reshape(d_out, hidden)

    def noisy(point: Any) -> tuple[float, Any]:
        inner, outer = layers(point)
        residual = outer @ inner - target
        first = 2 * outer.T @ residual + 2 * variance * d_out * inner
        second = 2 * residual @ inner.T + 2 * variance * d_in * outer
        slope = np.concatenate([first.ravel(), second.ravel()])
        if not problem["free"]:
            slope = np.sum(first * right.T, axis=1) + np.sum(second * left, axis=0)
        noise = variance * (d_in * np.sum(outer**2) + d_out * np.sum(inner**2))
        return float(np.sum(residual**2) + noise), slope

    least = np.inf, np.zeros(0)
    for hidden in range(1 if narrower else widest, widest + 1):
        begin = rng.standard_normal(hidden * (d_in + d_out)) if problem["free"] else rng.uniform(0.5, 1.5, len(sigma))
        found = minimize(noisy, begin, jac=True, options={"gtol": 1e-8})
        quartic = variance**2 * d_in * hidden * d_out  # noise of one layer that meets noise of the other
        least = min(least, (found.fun + quartic, found.x), key=lambda pair: pair[0])
    inner, outer = layers(least[1])
    sums = {"arithmetic": float(noise_price(problem["gamma"], d_in, d_out))}
    sums["geometric"] = 2 * variance * np.sqrt(d_in * d_out)
    stated = (left * np.asarray(soft_threshold(sigma, factor * sums[price]))) @ right.T
    # The slope vanishes to 1e-8 and the loss bends by 0.1 or more, modes being 0.05 from the threshold.
    return equals(outer @ inner, stated, tolerance=1e-6, scale=1.0)


def _network(problem: PlainProblem) -> tuple[tuple[Any, ...], Any, Any]:
    """Weights, target and covariance with nothing in common; balanced or whitened where the problem says so."""
    rng, widths = np.random.default_rng(problem["seed"]), problem["widths"]
    weights = tuple(rng.standard_normal((rows, columns)) for columns, rows in itertools.pairwise(widths))
    if problem.get("balanced"):
        modes, root = min(widths), np.sqrt(rng.uniform(0.1, 2, min(widths)))
        right, middle, left = (np.linalg.qr(rng.standard_normal((width, modes)))[0] for width in widths)
        weights = (middle * root) @ right.T, (left * root) @ middle.T
    factor = rng.standard_normal((widths[0], widths[0]))
    covariance = np.eye(widths[0]) if problem.get("whitened") else factor @ factor.T
    return weights, rng.standard_normal((widths[-1], widths[0])), covariance


def _loss(weights: Any, target: Any, covariance: Any) -> Any:
    residual = weights[0]
    for weight in weights[1:]:
        residual = weight @ residual
    residual = residual - target
    return np.einsum("...oi,ij,...oj->...", residual, covariance, residual)


def _over_signs(weights: Any, target: Any, covariance: Any, gammas: Any, shared: bool = False) -> tuple[float, float]:
    """Mean and largest loss with +-gamma_l on every weight, or on a whole layer.

    The loss is quadratic in each weight, so independent signs have the mean of any independent noise of that variance.
    """
    sizes = [1 if shared else weight.size for weight in weights]
    signs = np.asarray(list(itertools.product((-1.0, 1.0), repeat=sum(sizes))))
    parts = np.split(signs, np.cumsum(sizes)[:-1], axis=1)
    shapes = [(-1, 1, 1) if shared else (-1, *weight.shape) for weight in weights]
    noisy = [w + g * part.reshape(shape) for w, g, part, shape in zip(weights, gammas, parts, shapes, strict=True)]
    losses = _loss(noisy, target, covariance)
    return float(losses.mean()), float(losses.max())


def _networks(*widths: tuple[int, ...], **further: st.SearchStrategy[Any]) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries({"widths": st.sampled_from(widths), "seed": seeds(), **further})


def _deep(shared: bool) -> st.SearchStrategy[PlainProblem]:
    gammas = st.tuples(*[decades(0.01, 2)] * 4)
    return _networks(
        (2, 2, 2), (3, 2), (3, 1, 2), (2, 1, 1, 2), (8, 1, 1), (1, 1, 8), (1, 8), gammas=gammas, shared=st.just(shared)
    )


def _decayed(*widths: tuple[int, ...], balanced: bool, whitened: bool = True) -> st.SearchStrategy[PlainProblem]:
    return _networks(*widths, gamma=decades(0.01, 2), balanced=st.just(balanced), whitened=st.just(whitened))


def _trained(*widths: tuple[int, int, int], free: bool) -> st.SearchStrategy[PlainProblem]:
    """Strengths at least 0.05 from both thresholds, where the minimum is too flat to be found by its slope."""

    def clear(problem: PlainProblem) -> bool:
        (d_in, _, d_out), variance = problem["widths"], problem["gamma"] ** 2
        thresholds = variance * (d_in + d_out) / 2, variance * np.sqrt(d_in * d_out)
        return all(abs(sigma - edge) > 0.05 for sigma in problem["strengths"] for edge in thresholds)

    def of(chosen: tuple[int, int, int]) -> st.SearchStrategy[PlainProblem]:
        strengths = values(numbers(0.2, 3), min(chosen))
        return _networks(chosen, strengths=strengths, gamma=numbers(0.1, 0.8), free=st.just(free))

    return st.sampled_from(widths).flatmap(of).filter(clear)


CLAIMS = (
    Claim(
        id="noise-orders",
        statement="Independent noise gamma on two layers adds gamma^2 (tr S ||W_2||^2 + d_out tr W_1 S W_1^T) "
        "+ gamma^4 d_out h tr S to the loss, exactly",
        source="re-derived",
        equation="2.1",
        domain=_networks(*_SQUARE, *_RECTANGULAR, gammas=st.tuples(decades(0.01, 2), decades(0.01, 2))),
        check=check_noise_orders,
        variants=(
            Variant(name="quadratic-order-with-tr-h-unhalved", changes={"quadratic": 2.0}),
            Variant(name="each-scale-with-the-norm-of-its-own-layer", changes={"own_scale": True}),
        ),
    ),
    Claim(
        id="noise-recursion",
        statement="Independent noise on every layer, any depth, any covariance: the mean loss is that of the recursion "
        "M <- W_l M W_l^T + gamma_l^2 tr(M) I",
        source="re-derived",
        equation="2.2",
        domain=_deep(shared=False),
        check=check_noise_recursion,
        variants=(Variant(name="second-order-only", changes={"order": "second"}),),
        beyond=Outside(
            assumption="the noise on two weights is independent",
            domain=_deep(shared=True),
            example={"widths": (2, 2, 2), "seed": 0, "gammas": (1.0, 1.0, 1.0, 1.0), "shared": True},
        ),
    ),
    Claim(
        id="noise-is-weight-decay",
        statement="Noise on two layers is weight decay beta = G at every point, whitened: for d_in = d_out, or among "
        "balanced layers",
        source="re-derived",
        equation="2.3",
        domain=_decayed(*_SQUARE, balanced=False) | _decayed(*_RECTANGULAR, balanced=True),
        check=check_noise_is_weight_decay,
        variants=(
            Variant(name="decay-without-its-half", changes={"halves": 2.0}),
            Variant(name="inputs-not-whitened", domain=_decayed(*_SQUARE, balanced=False, whitened=False)),
        ),
        beyond=Outside(
            assumption="d_in = d_out, or balanced layers",
            domain=_decayed(*_RECTANGULAR, balanced=False),
            example={"widths": (2, 2, 1), "seed": 0, "gamma": 1.0, "balanced": False, "whitened": True},
        ),
    ),
    Claim(
        id="soft-threshold",
        statement="Among balanced aligned networks the loss under noise is least at s_i = (sigma_i - G/2)_+ in every "
        "mode, G = gamma^2 (d_in + d_out)",
        source="re-derived",
        equation="2.3",
        domain=_trained((1, 1, 1), (2, 2, 2), (5, 2, 2), (8, 8, 8), free=False),
        check=partial(check_best_under_noise, price="arithmetic"),
        variants=(
            Variant(name="threshold-at-the-full-price", changes={"factor": 2.0}),
            Variant(name="threshold-at-a-quarter", changes={"factor": 0.5}),
        ),
        beyond=Outside(
            assumption="layers are balanced, where d_in != d_out",
            domain=_trained((5, 2, 2), (2, 3, 4), free=True),
            example={"widths": (5, 2, 2), "seed": 0, "strengths": (1.0, 2.0), "gamma": 0.5, "free": True},
        ),
    ),
    Claim(
        id="noise-optimal-network",
        statement="Among all two-layer networks of given widths, h no less than the modes kept, the one best under "
        "noise has the soft-thresholded modes (sigma_i - gamma^2 sqrt(d_in d_out))_+, in any bases",
        source="re-derived",
        equation="2.3",
        domain=_trained((2, 2, 2), (5, 2, 2), (2, 3, 4), (1, 2, 8), (4, 4, 3), free=True),
        check=partial(check_best_under_noise, price="geometric"),
        variants=(
            Variant(name="the-price-of-balanced-layers", changes={"price": "arithmetic"}),
            Variant(name="threshold-at-the-full-price", changes={"factor": 2.0}),
            Variant(
                name="of-any-hidden-width",  # a unit more costs gamma^4 d_in d_out: h = 1 has 2.3025, h = 2 has 2.55
                changes={"narrower": True},
                domain=st.just({"widths": (2, 2, 2), "seed": 0, "strengths": (2.0, 0.55), "gamma": 0.5, "free": True}),
            ),
        ),
    ),
)
