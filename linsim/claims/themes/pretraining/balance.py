"""Claims about the balance of two layers, W_2^T W_2 - W_1 W_1^T: what it keeps in place, and what it forbids."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, exceeds
from linsim.claims.themes.simulation import descended, flowed, product, random_start, random_task, rotation, two_layers
from linsim.testing.draws import decades, numbers, seeds, sized, values
from linsim.theory.laziness import LazyLimit

_ZERO = st.just(0.0)
_STRENGTH = numbers(0.3, 2)
_TIME = numbers(0.1, 3)


def check_conserved_balance(problem: PlainProblem, fading: float = 2.0, sign: float = 1.0) -> float:
    """Flow or descend on one task, then on another, and compare the imbalance with that of the start."""
    generator = np.random.default_rng(problem["seed"])
    inputs, hidden, outputs = problem["widths"]
    start = [problem["scale"] * generator.normal(size=shape) for shape in ((hidden, inputs), (outputs, hidden))]
    layers, decay, rate, times = start, problem["decay"], problem["rate"], problem["times"]
    for time in times:
        target, spread = generator.normal(size=(outputs, inputs)) / 2, generator.normal(size=(inputs, inputs)) / 2
        covariance = spread @ spread.T * 3 / inputs
        if rate:
            layers = descended(layers, target, rate, round(time / rate), covariance, decay)
        else:
            layers = flowed(layers, target, time, covariance, decay)
    now, before = (second.T @ second - sign * first @ first.T for first, second in (layers, start))
    size = max(float(np.sum(layer**2)) for layer in (*start, *layers))
    # The integrator's 1e-10, which flow with decay forgets and flow without it carries along.
    return equals(now, np.exp(-fading * decay * sum(times)) * before, 1e-8, scale=size)


def check_orientation(problem: PlainProblem) -> float:
    """Let balanced square layers learn a task of the other orientation, and compare the loss with its least mode."""
    sigma = np.asarray(problem["strengths"])
    left, right, first, last, middle = (rotation(problem["basis"] + shift, len(sigma)) for shift in range(5))
    left[:, 0] *= 1 if problem["agree"] else -1
    layers = two_layers(first, problem["starts"], last, problem["balance"], middle)
    target, time, rate = (left * sigma) @ right.T, problem["time"], problem["rate"]
    later = descended(layers, target, rate, round(time / rate)) if rate else flowed(layers, target, time)
    loss = np.linalg.norm(product(later) - target) ** 2
    # The loss comes as close to sigma_r^2 as it can; rounding leaves the plateau as e^(2 sigma_r t) 1e-10.
    return exceeds(loss, sigma.min() ** 2, rounding=1e-6, scale=float(sigma.min()) ** 2)


def check_lazy_limit(problem: PlainProblem, rate: float = 2.0, power: int = 2) -> float:
    """Integrate two layers in unrelated bases and compare their distance to linear dynamics with the bound."""
    lazy, strengths = problem["balance"], problem["strengths"]
    widths = (len(strengths),) * 3
    balances = lazy * (1 + problem["spread"] * np.linspace(-1, 1, len(strengths)))
    layers = random_start(problem["starts"], balances, problem["basis"], widths)
    target = random_task(strengths, problem["basis"] + 3, widths)
    error, time = product(layers) - target, problem["age"] / (2 * abs(lazy))
    linear = target + error * np.exp(-rate * abs(lazy) * time)
    found = product(flowed(layers, target, time))
    distance, away = np.linalg.norm(found - linear), float(np.linalg.norm(error))
    largest = max(strengths) + away  # P stays at least as close to A as it was
    bound = 2 / math.e * (largest / lazy) ** power * away
    limit = LazyLimit(0 * target, -error[None], np.full((1, 1), np.exp(-2 * abs(lazy) * time)))
    of_loss = abs(np.linalg.norm(found - target) - np.sqrt(limit.losses(np.ones(1))[0, 0, 0]))
    # Weights of size sqrt(l) <= 6 carry the integrator's 1e-9; a start that is the task leaves nothing but rounding.
    return exceeds([bound, bound], [distance, of_loss], rounding=1e-2, scale=max(bound, 1e-6))


def _shifts(rate: st.SearchStrategy[float] = _ZERO) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries(
        {
            "widths": st.sampled_from(((3, 2, 4), (1, 3, 1), (8, 4, 8))),
            "seed": seeds(),
            "scale": decades(0.01, 1.5),
            "times": st.tuples(numbers(0.1, 2), numbers(0.1, 2)),
            "decay": numbers(0, 1),
            "rate": rate,
        }
    )


def _opposed(
    agree: bool = False,
    balance: st.SearchStrategy[float] = _ZERO,
    rate: st.SearchStrategy[float] = _ZERO,
    time: st.SearchStrategy[float] = _TIME,
) -> st.SearchStrategy[PlainProblem]:
    return sized(
        lambda modes: {
            "strengths": values(_STRENGTH, modes),
            "starts": values(decades(1e-3, 1), modes),
            "time": time,
            "basis": seeds(),
            "agree": st.just(agree),
            "balance": balance,
            "rate": rate,
        },
        (1, 2, 3, 8) if rate is _ZERO else (3,),
    )


def _lazy(spread: st.SearchStrategy[float] = _ZERO) -> st.SearchStrategy[PlainProblem]:
    size = numbers(0.1, 1)
    return sized(
        lambda modes: {
            "strengths": values(size, modes),
            "starts": values(numbers(0, 1), modes),
            "balance": st.one_of(numbers(5, 30), numbers(-30, -5)),
            "age": numbers(0.1, 10),
            "basis": seeds(),
            "spread": spread,
        },
        (1, 2, 3, 8) if spread is _ZERO else (3,),
    )


CLAIMS = (
    Claim(
        id="orientation",
        statement=(
            "Balanced square layers with det P > 0 never learn a task with det A < 0: under gradient flow the loss "
            "stays above sigma_r^2, its smallest mode"
        ),
        source="re-derived",
        equation="1.2",
        domain=_opposed(),
        check=check_orientation,
        lemma=True,
        variants=(
            Variant(name="orientations-agree", domain=_opposed(agree=True)),
            Variant(name="lambda-balanced", domain=_opposed(balance=numbers(0.5, 2))),
        ),
        beyond=Outside(
            assumption="time is continuous: descent drifts off the balance and escapes, later the smaller its rate",
            domain=_opposed(rate=numbers(0.02, 0.05), time=numbers(10, 30)),
            example={
                "strengths": (1.0, 1.0, 1.0),
                "starts": (1.0, 1.0, 1.0),
                "time": 20.0,
                "basis": 0,
                "agree": False,
                "balance": 0.0,
                "rate": 0.05,
            },
        ),
    ),
    Claim(
        id="conserved-balance",
        statement=(
            "Under flow W_2^T W_2 - W_1 W_1^T is conserved on any task, inputs and layers, also across a change of "
            "task, and fades as e^(-2 beta t) with weight decay beta"
        ),
        source="Saxe et al. 2014; with decay re-derived",
        equation="1.5",
        domain=_shifts(),
        check=check_conserved_balance,
        lemma=True,
        variants=(
            Variant(name="also-with-weight-decay", changes={"fading": 0.0}),
            Variant(name="fading-as-the-weights", changes={"fading": 1.0}),
            Variant(name="the-sum-instead-of-the-difference", changes={"sign": -1.0}),
        ),
        beyond=Outside(
            assumption="time is continuous: descent of a finite rate drifts in proportion to it",
            domain=_shifts(decades(1e-3, 1e-2)),
            example={
                **{"widths": (3, 2, 4), "seed": 0, "scale": 1.0},
                **{"times": (1.0, 1.0), "decay": 0.0, "rate": 0.01},
            },
        ),
    ),
    Claim(
        id="lazy-limit",
        statement=(
            "Square lambda-balanced layers, any bases: P stays within (2/e) (m/l)^2 |P_0 - A| of "
            "A + (P_0 - A) e^(-2|l|t), m = |A|_op + |P_0 - A|"
        ),
        source="Domine et al. 2025; bound re-derived",
        equation="1.5",
        domain=_lazy(),
        check=check_lazy_limit,
        variants=(
            Variant(name="rate-of-the-half-loss", changes={"rate": 1.0}),
            Variant(name="error-of-fourth-order", changes={"power": 4}),
        ),
        beyond=Outside(
            assumption="one l for all hidden directions",
            domain=_lazy(numbers(0.1, 1)),
            example={
                "strengths": (1.0, 1.0, 1.0),
                "starts": (0.0, 0.0, 0.0),
                "balance": 30.0,
                "age": 1.0,
                "basis": 0,
                "spread": 1.0,
            },
        ),
    ),
)
