"""Claims about representations that are learned without labels, and new heads on them."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every, exceeds, same_side
from linsim.testing.draws import numbers
from linsim.theory.objectives.new_heads import best_representation, headed, representation_mode

_PRETEXTS = ("autoencoder", "contrastive", "whitening")


def check_representation_mode(problem: PlainProblem, factor: float = 1.0) -> float:
    """Integrate the matrix W by the gradient of its loss, and compare the diagonal of W^T W."""
    sizes, start = np.asarray(problem["sizes"]), np.asarray(problem["starts"])
    pretext, data, width = problem["pretext"], np.diag(sizes), len(sizes)
    mixed = np.eye(width) + problem["mixing"] * np.ones((width, width))
    begun = np.diag(np.sqrt(start)) @ mixed

    def velocity(_: float, flat: np.ndarray) -> np.ndarray:
        W = flat.reshape(width, width)
        if pretext == "whitening":
            return (-4 * (W @ data @ W.T - np.eye(width)) @ W @ data).ravel()
        if pretext == "contrastive":
            return (-4 * W @ (W.T @ W - data)).ravel()
        off = W.T @ W - np.eye(width)  # gradient of tr(off S off)
        return (-2 * W @ (off @ data + data @ off)).ravel()

    found = solve_ivp(velocity, (0.0, problem["time"]), begun.ravel(), "DOP853", rtol=1e-10, atol=1e-12).y[:, -1]
    W = found.reshape(width, width)
    stated = representation_mode(start, factor * problem["time"], sizes, pretext)
    # 1e-10 a step, grown with a mode by some hundreds.
    return equals(np.diag(W.T @ W), stated, tolerance=1e-6)


def check_new_head(problem: PlainProblem, shift: float = 0.0) -> float:
    """Train a new head with a representation for long: where that ends, and from where it ends at the limit."""
    limit, target = problem["limit"], problem["target"]
    strength = problem["share"] * limit
    best = float(best_representation(limit, target))
    told = equals(_trained(strength, target, problem["head"]), headed(strength, target) + shift, tolerance=1e-6)
    if target < 0.99 * limit:
        told = every(
            told, exceeds(best, 0.0), equals(_trained(abs(best), target, problem["head"]), limit, tolerance=1e-6)
        )
    return told


def check_new_head_harm(problem: PlainProblem, hardly: float = 2 / 3, nothing: float = math.sqrt(2)) -> float:
    """Compare the loss that pre-trained, (w^2 - c)^2, of a mode learned in full with those of two others."""
    limit, target = problem["limit"], problem["ratio"] * problem["limit"]
    learned = abs(_trained(limit, target, 0.0) - limit)
    small = abs(_trained(1e-9 * limit, target, 0.0) - limit)
    margins = (
        same_side((learned - small) / limit, problem["ratio"] - hardly),
        same_side((learned - limit) / limit, problem["ratio"] - nothing),
    )
    return every(*margins)


def _trained(strength: float, target: float, head: float) -> float:
    """w^2 after descent on (h w - beta)^2 by Runge-Kutta."""

    def velocity(_: float, weights: np.ndarray) -> np.ndarray:
        return -2 * (weights[0] * weights[1] - target) * weights[::-1]

    time = 60 / max(abs(target), strength)
    found = solve_ivp(velocity, (0.0, time), [math.sqrt(strength), head], "LSODA", rtol=1e-10, atol=1e-13)
    return float(found.y[0, -1] ** 2)


def _modes(mixing: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries(
        {
            "pretext": st.sampled_from(_PRETEXTS),
            "sizes": st.tuples(numbers(0.3, 2), numbers(0.3, 2)),
            "starts": st.tuples(numbers(0.01, 0.3), numbers(0.01, 0.3)),
            "time": numbers(0.02, 0.8),
            "mixing": mixing,
        }
    )


def _heads(head: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    share = numbers(0.05, 1)
    return st.fixed_dictionaries({"limit": numbers(0.3, 2), "target": numbers(0.1, 3), "share": share, "head": head})


_AWAY = st.one_of(numbers(0.2, 0.64), numbers(0.69, 1.39), numbers(1.44, 3))

CLAIMS = (
    Claim(
        id="representation-mode",
        statement="From diagonal weights on diagonal data a mode of W^T W is logistic without labels: "
        "8 lambda s (1 - s) with a tied autoencoder, 8 s (c - s) with the spectral contrastive loss, 8 g s (1 - g s) "
        "with whitening",
        source="re-derived",
        equation="5.5",
        domain=_modes(st.just(0.0)),
        check=check_representation_mode,
        variants=(
            Variant(name="half-the-rate", changes={"factor": 0.5}),
            Variant(name="twice-the-rate", changes={"factor": 2.0}),
        ),
        beyond=Outside(
            assumption="weights start diagonal",
            domain=_modes(numbers(0.3, 1)),
            example={
                "pretext": "contrastive",
                "sizes": (1.0, 0.5),
                "starts": (0.1, 0.1),
                "time": 0.3,
                "mixing": 0.5,
            },
        ),
    ),
    Claim(
        id="new-head",
        statement="Trained with a new head of 0 to h w = beta, a mode of strength s ends at "
        "(s + sqrt(s^2 + 4 beta^2))/2, which is the limit c of pre-training from s = c - beta^2/c",
        source="re-derived",
        equation="5.6",
        domain=_heads(st.just(0.0)),
        check=check_new_head,
        variants=(Variant(name="a-tenth-beyond", changes={"shift": 0.1}),),
        beyond=Outside(
            assumption="the head starts at 0",
            domain=_heads(numbers(0.5, 1)),
            example={"limit": 1.0, "target": 0.5, "share": 0.5, "head": 1.0},
        ),
    ),
    Claim(
        id="new-head-harm",
        statement="After long training with a new head a mode learned in full is worse than one hardly learned iff "
        "beta > 2 c/3, and than one of strength 0 iff beta > sqrt 2 c",
        source="re-derived",
        equation="5.6",
        domain=st.fixed_dictionaries({"limit": numbers(0.3, 2), "ratio": _AWAY}),
        check=check_new_head_harm,
        variants=(
            Variant(name="beyond-the-limit-itself", changes={"hardly": 1.0}),
            Variant(name="than-nothing-from-twice-on", changes={"nothing": 2.0}),
        ),
        lemma=True,
    ),
)
