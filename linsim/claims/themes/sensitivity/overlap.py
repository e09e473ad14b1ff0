"""Claims about superposition: how codes of features share the hidden layer (theory 2.11 to 2.14)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every, exceeds, same_side
from linsim.claims.themes.simulation import flowed, product, random_start, random_task, rotation, turned, two_layers
from linsim.measures.features.overlap import balanced_gram, dimensionality, feature_gram, least_overlap, overlap
from linsim.testing.draws import numbers, seeds, values

_ROUNDING, _FLOW = 1e-9, 1e-6


def gram(first: Any, features: Any) -> np.ndarray:
    """f_i^T W_1^T W_1 f_j in float64."""
    with jax.enable_x64(True):
        return np.asarray(feature_gram((jnp.asarray(first), jnp.ones((1, len(first)))), features))


def shares(of: Any) -> np.ndarray:
    """D_i in float64."""
    with jax.enable_x64(True):
        return np.asarray(dimensionality(of))


def overlap_of(of: Any) -> float:
    """O in float64."""
    with jax.enable_x64(True):
        return float(overlap(of))


def check_shared(problem: PlainProblem, share: float = 1.0, squared: bool = True) -> float:
    """Dimensionalities of random codes from their cosines, and those of a projector, against the hidden width."""
    count, width = problem["features"], problem["width"]
    rng = np.random.default_rng(problem["seed"])
    codes = rng.standard_normal((width, count)) * np.exp(problem["spread"] * rng.standard_normal(count))
    features = rotation(problem["seed"], count)
    told = shares(gram(codes @ features.T, features))
    lengths = np.linalg.norm(codes, axis=0)
    others = np.abs((codes / lengths).T @ codes)
    stated = lengths**2 / np.sum(others**2, axis=1) if squared else lengths / np.sum(others, axis=1)
    even = rotation(problem["seed"] + 1, count)[:width]  # rows of a basis: a tight frame
    unit = codes / (lengths if problem["one_length"] else lengths.max())
    line = gram(np.sign(codes[:1]), None)  # codes of one length on a line
    return every(
        equals(overlap_of(line), least_overlap(count, 1), tolerance=_ROUNDING),
        equals(told, stated, tolerance=_ROUNDING),
        exceeds(share * width, np.sum(told), rounding=_ROUNDING),
        exceeds(np.diag(np.linalg.pinv(codes) @ codes), told, rounding=_ROUNDING),  # the projector on their rows
        exceeds(share * width, np.sum(shares(gram(even, None))), rounding=_ROUNDING),
        exceeds(overlap_of(gram(unit, None)), least_overlap(count, width), rounding=_ROUNDING),
    )


def check_balanced(problem: PlainProblem, depth: int = 2) -> float:
    """Train layers towards a random target, and compare the codes of random features with what the product says."""
    widths = tuple(problem["widths"])
    rank, seed = min(widths), problem["seed"]
    start = random_start(problem["strengths"][:rank], problem["balance"], seed, widths)
    layers = flowed(
        start, random_task(problem["target"][: min(widths[0], widths[2])], seed + 5, widths), problem["time"]
    )
    features = np.random.default_rng(seed).standard_normal((widths[0], 4))
    stated = balanced_gram(product(layers), depth, features)
    return equals(gram(layers[0], features), stated, tolerance=_FLOW)


def check_modes(problem: PlainProblem) -> float:
    """Train small balanced layers in the bases of the task, the inputs' turned by an angle, and look at its modes."""
    sigma, size, seed = np.asarray(problem["strengths"]), len(problem["strengths"]), problem["seed"]
    left, right, middle = (rotation(seed + shift, size) for shift in range(3))
    kept = np.where(np.arange(size) < problem["width"], problem["start"], 0.0)
    layers = two_layers(left, kept, right @ turned(size, problem["degrees"]), 0.0, middle)
    layers = flowed(layers, (left * sigma) @ right.T, problem["time"])
    told = gram(layers[0], right)
    lengths = np.sqrt(np.maximum(np.diag(told), 1e-300))
    off = np.abs(told / np.outer(lengths, lengths) - np.eye(size))[: problem["width"], : problem["width"]]
    return every(equals(np.max(off), 0.0, tolerance=_FLOW, scale=1.0), equals(overlap_of(told), 0.0, _FLOW, 1.0))


def check_equal(problem: PlainProblem, whole: bool = False) -> float:
    """Train narrow layers from small random weights to the end, and add up the dimensionalities of features."""
    size, width, seed = problem["features"], problem["width"], problem["seed"]
    sigma = problem["strength"] * np.linspace(1 + problem["spread"], 1 - problem["spread"], size)
    target = random_task(sigma, seed + 3, (size, width, size))
    start = random_start(np.full(width, 1e-2), 0.0, seed, (size, width, size))
    layers = flowed(start, target, problem["time"] / problem["strength"])
    told = shares(gram(layers[0], None))
    return equals(np.sum(told), float(size if whole else width), tolerance=1e-5)


def check_weak(problem: PlainProblem, mean: str = "contraharmonic") -> float:
    """Let one mode of a product grow a little, and see whether the dimensionality of a feature grows."""
    strengths, size = np.asarray(problem["strengths"]), len(problem["strengths"])
    right, step = rotation(problem["seed"], size), 1e-6
    feature = right[0] ** 2
    middle = np.sum(strengths**2 * feature) / np.sum(strengths * feature)
    if mean == "arithmetic":
        middle = np.sum(strengths * feature)

    def share(by: float) -> float:
        moved = strengths + by * (np.arange(size) == 0)
        if problem["balance"]:
            layers = two_layers(np.eye(size), moved, right, problem["balance"], np.eye(size))
            return float(shares(gram(layers[0], None))[0])
        return float(shares(balanced_gram(moved[:, None] * right.T))[0])

    slope = (share(step) - share(-step)) / (2 * step)
    distance = (middle - strengths[0]) / middle
    # Rounding of the difference is 1e-10 of a slope of order 1, and near the threshold both are that small.
    return same_side(slope / max(feature[0], 1e-3), distance, rounding=1e-6)


_COUNTS = st.sampled_from(((2, 1), (3, 2), (5, 2), (6, 4), (8, 3), (3, 3), (2, 4)))


def _codes(one_length: bool) -> st.SearchStrategy[PlainProblem]:
    return _COUNTS.flatmap(
        lambda pair: st.fixed_dictionaries(
            {
                "features": st.just(max(pair)),
                "width": st.just(min(pair)),
                "spread": numbers(0, 1),
                "one_length": st.just(one_length),
                "seed": seeds(),
            }
        )
    )


def _layers(balance: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries(
        {
            "widths": st.sampled_from(((3, 3, 3), (4, 2, 3), (3, 5, 3))),
            "strengths": values(numbers(0.1, 1), 3),
            "target": values(numbers(0.2, 2), 3),
            "balance": balance,
            "time": numbers(0, 2),
            "seed": seeds(),
        }
    )


def _aligned(degrees: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries(
        {
            "strengths": st.tuples(numbers(1.5, 2), numbers(0.8, 1.2), numbers(0.2, 0.5)),
            "width": st.sampled_from((2, 3)),
            "start": numbers(0.01, 0.1),
            "degrees": degrees,
            "time": numbers(0.2, 1),
            "seed": seeds(),
        }
    )


def _narrow(spread: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    return st.sampled_from(((3, 1), (3, 2), (4, 2), (5, 3))).flatmap(
        lambda pair: st.fixed_dictionaries(
            {
                "features": st.just(pair[0]),
                "width": st.just(pair[1]),
                "strength": numbers(0.5, 2),
                "spread": spread,
                "time": numbers(8, 12),
                "seed": seeds(),
            }
        )
    )


def _modes(balance: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    strengths = st.tuples(numbers(0.1, 2), numbers(1.5, 2), numbers(0.05, 0.3))
    return st.fixed_dictionaries({"strengths": strengths, "balance": balance, "seed": seeds()})


CLAIMS = (
    Claim(
        id="dimensions-are-shared",
        statement=(
            "Dimensionalities D_i of any features sum to at most the hidden width h, which rows of a basis attain; and "
            "n codes of one length overlap by at least 1 - h/n"
        ),
        source="Elhage et al. 2022, Welch 1974, re-derived",
        equation="2.11",
        domain=_codes(True),
        check=check_shared,
        variants=(
            Variant(name="less-than-the-width", changes={"share": 0.9}),
            Variant(name="cosines-not-their-squares", changes={"squared": False}),
        ),
        beyond=Outside(
            assumption="codes have one length, of the bound on overlap",
            domain=_codes(False),
            example={"features": 8, "width": 3, "spread": 1.0, "one_length": False, "seed": 0},
        ),
    ),
    Claim(
        id="balanced-overlap",
        statement=(
            "What codes have in common is decided by the product of two balanced layers, G = F^T (P^T P)^(1/2) F, at "
            "any time and width"
        ),
        source="re-derived",
        equation="2.12",
        domain=_layers(st.just(0.0)),
        check=check_balanced,
        variants=(Variant(name="of-three-layers", changes={"depth": 3}),),
        beyond=Outside(
            assumption="the layers are balanced",
            domain=_layers(numbers(0.3, 2)),
            example={
                "widths": (3, 3, 3),
                "strengths": (0.5, 0.5, 0.5),
                "target": (1.0, 1.0, 1.0),
                "balance": 1.0,
                "time": 0.0,
                "seed": 0,
            },
        ),
    ),
    Claim(
        id="modes-do-not-overlap",
        statement=(
            "Codes of the modes of a task are orthogonal all along pre-training from balanced layers in its bases, "
            "wide or narrow: features that are modes are never in superposition"
        ),
        source="re-derived",
        equation="2.12",
        domain=_aligned(st.just(0.0)),
        check=check_modes,
        variants=(Variant(name="from-a-turned-start", domain=_aligned(numbers(20, 70))),),
        beyond=Outside(
            assumption="the start is in the bases of the task",
            domain=_aligned(numbers(20, 70)),
            example={"strengths": (2.0, 1.0, 0.5), "width": 3, "start": 0.1, "degrees": 45.0, "time": 0.5, "seed": 0},
        ),
    ),
    Claim(
        id="equal-features-share-evenly",
        statement=(
            "Balanced layers of width h < n that have learned n modes of one strength as far as they can give any n "
            "orthogonal features h dimensions in all: the bound, whatever the basis"
        ),
        source="re-derived",
        equation="2.13",
        domain=_narrow(st.just(0.0)),
        check=check_equal,
        variants=(Variant(name="a-dimension-each", changes={"whole": True}),),
        beyond=Outside(
            assumption="the modes are of one strength",
            domain=_narrow(numbers(0.2, 0.5)),
            example={"features": 4, "width": 2, "strength": 1.0, "spread": 0.4, "time": 10.0, "seed": 0},
        ),
    ),
    Claim(
        id="weak-modes-part-codes",
        statement=(
            "A mode of balanced layers that grows raises D_i iff its strength is below sum_k s_k^2 q_k / sum_k s_k "
            "q_k, q_k = (v_k . f_i)^2: weak modes, which come last, take codes apart"
        ),
        source="re-derived",
        equation="2.14",
        domain=_modes(st.just(0.0)),
        check=check_weak,
        variants=(Variant(name="below-the-plain-mean", changes={"mean": "arithmetic"}),),
        beyond=Outside(
            assumption="the layers are balanced",
            domain=_modes(numbers(0.5, 3)),
            example={"strengths": (1.42, 1.82, 0.08), "balance": 2.0, "seed": 23},
        ),
    ),
)
