"""Claims about whole matrices, section 1.6 to 1.9 of the theory: exact solutions, their limit, and descent."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every
from linsim.claims.themes.simulation import (
    Layers,
    Matrix,
    flowed,
    imbalance,
    product,
    random_start,
    random_task,
    rotation,
    turned,
    two_layers,
)
from linsim.dynamics.matrices.factor_flow import factor_flow, spectrum
from linsim.dynamics.matrices.gram import Grams, gram_step
from linsim.testing.draws import decades, numbers, seeds

_ZERO, _ONE = st.just(0.0), st.just(1.0)
_BALANCE = numbers(-2, 2)
_STEP = decades(1e-3, 2e-2)

_spectrum, _factor_flow, _gram_step = jax.jit(spectrum), jax.jit(factor_flow), jax.jit(gram_step)


def _solved(layers: Layers, target: Matrix, time: float, balance: float, weight_decay: float = 0.0) -> list[Matrix]:
    """Layers by the closed form for the balance that is assumed, be it theirs or not."""
    left, strengths, right = np.linalg.svd(target)
    modes = _spectrum(left, strengths, right.T, jnp.asarray(balance))
    factor = np.asarray(_factor_flow(modes, np.concatenate([layers[0].T, layers[1]]), time, weight_decay))
    return [factor[: len(right)].T, factor[len(right) :]]


def _grams(layers: Layers) -> Matrix:
    """P and both Gram matrices, [[G_1, P^T], [P, G_2]]: all that is left of layers up to a rotation between them."""
    factor = np.concatenate([layers[0].T, layers[1]])
    return factor @ factor.T


def check_matrix_solution(problem: PlainProblem, clock: float = 1.0, sign: float = 1.0) -> float:
    """Integrate two layers in unrelated bases and compare P and both Gram matrices with the closed form."""
    widths, time = (4, problem["hidden"], 3), problem["time"]
    balance = problem["balance"] * (1 + problem["spread"] * np.arange(widths[1]))
    layers = random_start(problem["starts"], balance, problem["basis"], widths)
    target = random_task(problem["strengths"], problem["basis"] + 3, widths)
    assumed = float(np.trace(imbalance(layers))) / widths[1]
    stated = _grams(_solved(layers, target, clock * time, sign * assumed))
    # The integrator's 1e-10 of a small mode stays that small, relative to it, until the mode is learned.
    return equals(_grams(flowed(layers, target, time)), stated, 1e-8)


def check_decay_limit(problem: PlainProblem, share: float = 0.5, hard: bool = False) -> float:
    """Integrate two layers with weight decay for long, and compare P with the closed form and the soft threshold."""
    sigma, decay, time = np.asarray(problem["strengths"]), problem["decay"], 30.0
    left, axes = rotation(problem["basis"], 3), rotation(problem["basis"] + 1, 3)
    right = left @ axes @ turned(3, problem["turn"]) @ axes.T
    target, layers = (left * sigma) @ right.T, [np.exp(-problem["tau"]) * np.eye(3)] * 2
    later = product(flowed(layers, target, time, np.diag([1.0, 1.0, problem["variance"]]), decay))
    kept = np.where(sigma > share * decay, sigma - (0.0 if hard else share * decay), 0.0)
    # 0.2 and more from the threshold, e^(-4 * 0.2 * 30) = 4e-11 is missing, over a start of at least e^(-4) / 2.
    limit = equals(later, (left * kept) @ right.T, 1e-6, scale=2.0)
    return every(limit, equals(later, product(_solved(layers, target, time, 0.0, decay)), 1e-6, scale=2.0))


def check_chaining(problem: PlainProblem, swapped: bool = False, forgotten: bool = False) -> float:
    """Integrate two layers through two tasks and compare P and both Gram matrices with two closed forms in a row."""
    widths, decay, balance = (4, 3, 3), problem["decay"], problem["balance"]
    simulated = solved = random_start(problem["starts"], balance, problem["basis"], widths)
    tasks = [
        random_task(problem[name], problem["basis"] + shift, widths) for name, shift in (("first", 3), ("then", 5))
    ]
    phases = list(zip(tasks, problem["times"], strict=True))
    for task, time in phases:
        simulated = flowed(simulated, task, time, weight_decay=decay)
    for task, time in phases[::-1] if swapped else phases:
        solved = _solved(solved, task, time, balance, decay)
        if forgotten:
            left, strengths, right = np.linalg.svd(product(solved))
            solved, balance = two_layers(left, strengths, right.T, 0.0, np.eye(3)), 0.0
    return equals(_grams(simulated), _grams(solved), 1e-8)  # as for one task


def check_width_free(problem: PlainProblem, curved: float = 1.0, pulled: float = 1.0) -> float:
    """Descend with wide layers, also with their hidden layer rotated, and compare P, G_1 and G_2 with `gram_step`."""
    generator, hidden = np.random.default_rng(problem["seed"]), problem["hidden"]
    shapes = (hidden, 3), (2, hidden)
    start = [problem["scale"] / np.sqrt(shape[1]) * generator.normal(size=shape) for shape in shapes]
    target, spread = generator.normal(size=(2, 3)) / 2, generator.normal(size=(3, 3)) / 2
    covariance, turn, checkpoint = spread @ spread.T, rotation(problem["seed"], hidden), product(start)
    rate, decay, penalty, steps = (problem[name] for name in ("rate", "decay", "penalty", "steps"))

    def pull(answer: Matrix) -> Matrix:
        return (answer - target) @ covariance + penalty * (answer - checkpoint)

    def trained(layers: Layers) -> Matrix:
        squares = [np.zeros_like(layer) for layer in layers]
        for _ in range(steps):
            half = pull(product(layers))
            slopes = [2 * layers[1].T @ half + decay * layers[0], 2 * half @ layers[0].T + decay * layers[1]]
            if problem["adaptive"]:  # Adam without momentum: every entry over the root of its mean square
                squares = [0.9 * old + 0.1 * slope**2 for old, slope in zip(squares, slopes, strict=True)]
                slopes = [slope / (np.sqrt(square) + 1e-8) for slope, square in zip(slopes, squares, strict=True)]
            layers = [layer - rate * slope for layer, slope in zip(layers, slopes, strict=True)]
        return _grams(layers)

    wide, factor = trained(start), _grams(start)
    grams = Grams(*map(jnp.asarray, (factor[3:, :3], factor[:3, :3], factor[3:, 3:])))
    for _ in range(0 if problem["adaptive"] else steps):
        half, (answer, inner, outer) = pulled * pull(np.asarray(grams.product)), map(np.asarray, grams)
        curves = half @ answer.T @ half, half.T @ outer @ half, half @ inner @ half.T
        stepped = _gram_step(grams, half, rate, decay)
        grams = Grams(*(part - (1 - curved) * 4 * rate**2 * curve for part, curve in zip(stepped, curves, strict=True)))
    closed = np.block([[grams.inner, grams.product.T], [grams.product, grams.outer]])
    # Rounding: 1e-16 at each of at most 50 steps, hardly magnified. With Adam there is no recursion to compare with.
    recursion = 1.0 if problem["adaptive"] else equals(closed, wide, 1e-11)
    return every(recursion, equals(trained([turn @ start[0], start[1] @ turn.T]), wide, 1e-11))


def _matrices(spread: st.SearchStrategy[float] = _ZERO) -> st.SearchStrategy[PlainProblem]:
    drawn = {
        "strengths": st.tuples(numbers(0, 2), numbers(0, 2), numbers(0, 2)),
        "starts": st.tuples(decades(1e-3, 1), decades(1e-3, 1), decades(1e-3, 1)),
        "time": numbers(0.1, 2),
        "basis": seeds(),
        "spread": spread,
    }
    balanced = st.fixed_dictionaries({**drawn, "hidden": st.just(3), "balance": _BALANCE})
    wide = st.fixed_dictionaries({**drawn, "hidden": st.just(6), "balance": _ZERO})
    return st.one_of(balanced, wide)


def _decaying(variance: st.SearchStrategy[float] = _ONE) -> st.SearchStrategy[PlainProblem]:
    size = numbers(0.1, 2)

    def away(problem: PlainProblem) -> bool:
        return all(abs(sigma - problem["decay"] / 2) >= 0.2 for sigma in problem["strengths"])

    return st.fixed_dictionaries(
        {
            "strengths": st.tuples(size, size, size),
            "decay": numbers(0.4, 2),
            "tau": numbers(0, 2),
            "turn": numbers(0, 90),
            "basis": seeds(),
            "variance": variance,
        }
    ).filter(away)


def _two_tasks(balance: st.SearchStrategy[float], decay: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    size = numbers(0.1, 1.5)
    return st.fixed_dictionaries(
        {
            "first": st.tuples(size, size, size),
            "then": st.tuples(size, size, size),
            "starts": st.tuples(decades(1e-3, 1), decades(1e-3, 1), decades(1e-3, 1)),
            "times": st.tuples(numbers(0.1, 2), numbers(0.1, 2)),
            "balance": balance,
            "decay": decay,
            "basis": seeds(),
        }
    )


def _descents(adaptive: bool = False) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries(
        {
            "hidden": st.sampled_from((2, 4, 30)),
            "scale": decades(0.1, 1.5),
            "rate": _STEP,
            "decay": numbers(0, 1),
            "penalty": numbers(0, 2),
            "steps": st.integers(1, 50),
            "seed": seeds(),
            "adaptive": st.just(adaptive),
        }
    )


CLAIMS = (
    Claim(
        id="matrix-solution",
        statement=(
            "From any lambda-balanced start, any A: Q Q^T of Q = [W_1^T; W_2] is "
            "e^(Fu) Q_0 [I + Q_0^T K(u) Q_0]^(-1) Q_0^T e^(Fu), u = 2t"
        ),
        source="Fukumizu 1998, Braun et al. 2022, Domine et al. 2025",
        equation="1.6",
        domain=_matrices(),
        check=check_matrix_solution,
        variants=(
            Variant(name="time-of-the-half-loss", changes={"clock": 0.5}),
            Variant(name="balance-of-the-other-sign", changes={"sign": -1.0}),
            Variant(name="balance-forgotten", changes={"sign": 0.0}),
        ),
        beyond=Outside(
            assumption="W_2^T W_2 - W_1 W_1^T is a multiple of the identity; its mean is then not enough",
            domain=_matrices(numbers(0.1, 1)),
            example={
                "strengths": (0.0, 0.0, 0.0),
                "starts": (1.0, 1.0, 1.0),
                "time": 1.0,
                "basis": 0,
                "spread": 1.0,
                "hidden": 3,
                "balance": 1.0,
            },
        ),
    ),
    Claim(
        id="weight-decay-limit",
        statement=(
            "From a balanced start, turned against A by at most 90 degrees, flow with weight decay beta tends to A "
            "with every mode at (sigma - beta/2)_+, as its closed form does"
        ),
        source="re-derived",
        equation="1.7",
        domain=_decaying(),
        check=check_decay_limit,
        variants=(
            Variant(name="threshold-of-the-half-loss", changes={"share": 1.0}),
            Variant(name="hard-threshold", changes={"hard": True}),
        ),
        beyond=Outside(
            assumption="inputs are whitened",
            domain=_decaying(numbers(0.2, 0.9)),
            example={
                "strengths": (1.0, 1.0, 1.0),
                **dict.fromkeys(("decay", "tau"), 1.0),
                "turn": 0.0,
                "basis": 0,
                "variance": 0.5,
            },
        ),
    ),
    Claim(
        id="chaining",
        statement=(
            "Flow on one task and then on another, bases unrelated, is the closed form restarted from its result: "
            "with balance l, or balanced with weight decay"
        ),
        source="re-derived",
        equation="1.8",
        domain=st.one_of(_two_tasks(_BALANCE, _ZERO), _two_tasks(_ZERO, numbers(0, 1))),
        check=check_chaining,
        variants=(
            Variant(name="tasks-in-the-other-order", changes={"swapped": True}),
            Variant(name="restarted-from-the-product-alone", changes={"forgotten": True}),
        ),
        beyond=Outside(
            assumption="no weight decay where l is not 0: it shrinks l on the way",
            domain=_two_tasks(numbers(0.5, 2), numbers(0.1, 1)),
            example={
                **dict.fromkeys(("first", "then", "starts"), (1.0, 1.0, 1.0)),
                "times": (1.0, 1.0),
                "balance": 1.0,
                "decay": 1.0,
                "basis": 0,
            },
        ),
    ),
    Claim(
        id="width-free-descent",
        statement=(
            "P, W_1^T W_1 and W_2 W_2^T after steps of descent follow from those before alone, at any width, with "
            "input covariance, weight decay and product-space penalty: `gram_step`"
        ),
        source="re-derived",
        equation="1.9",
        domain=_descents(),
        check=check_width_free,
        variants=(
            Variant(name="without-the-squared-rate", changes={"curved": 0.0}),
            Variant(name="gradient-instead-of-half-of-it", changes={"pulled": 2.0}),
        ),
        beyond=Outside(
            assumption="the update commutes with rotations of the hidden layer; that of Adam does not",
            domain=_descents(adaptive=True),
            example={
                "hidden": 2,
                "scale": 1.0,
                "rate": 0.01,
                "decay": 0.0,
                "penalty": 0.0,
                "steps": 1,
                "seed": 0,
                "adaptive": True,
            },
        ),
    ),
)
