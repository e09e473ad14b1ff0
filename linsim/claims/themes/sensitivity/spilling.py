"""Claims about what overlap does and does not: a step that spills, and networks that differ in it (2.15, 2.16)."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every, exceeds
from linsim.claims.themes.sensitivity.hessians import hessian
from linsim.claims.themes.sensitivity.overlap import gram, overlap_of
from linsim.claims.themes.simulation import descended, product, rotation, two_layers
from linsim.testing.draws import decades, numbers, seeds

_ROUNDING = 1e-9
_SIZE = 4


def check_step(problem: PlainProblem, outputs: bool = False) -> float:
    """Fine-tuning on inputs along a feature alone, for a step mostly, and what it does to the outputs of all others."""
    rng = np.random.default_rng(problem["seed"])
    features = rotation(problem["seed"] + 1, _SIZE)
    features[:, 1:] += problem["lean"] * features[:, :1]
    features /= np.linalg.norm(features, axis=0)
    layers = [rng.standard_normal((problem["width"], _SIZE)), rng.standard_normal((3, problem["width"]))]
    target, rate = product(layers) + problem["far"] * rng.standard_normal((3, _SIZE)), problem["rate"]
    after = descended(layers, target, rate, problem["steps"], np.outer(features[:, 0], features[:, 0]))
    moved = (product(after) - product(layers)) @ features / (rate * problem["steps"])
    common, residual = gram(layers[0], features), (product(layers) - target) @ features[:, 0]
    between = np.full(_SIZE, np.trace(layers[1] @ layers[1].T) / 3) if outputs else common[0]
    stated = -2 * np.outer(residual, between)
    scale = float(np.abs(residual).max() * np.trace(common))
    return equals(moved[:, 1:], stated[:, 1:], tolerance=_ROUNDING, scale=scale)


def check_names(problem: PlainProblem, stays: bool = False, partly: bool = False) -> float:
    """Pre-train and fine-tune, and once more with inputs, both tasks and the initial weights turned."""
    size, seed = _SIZE, problem["seed"]
    rng = np.random.default_rng(seed)
    turn = rotation(seed + 1, size)
    spread = np.exp(rng.standard_normal(size) / 2)
    covariances = [np.diag(spread), np.diag(spread * (rng.random(size) < 0.5) + 0.1)]
    targets = [rng.standard_normal((3, size)) for _ in "ab"]
    start = [0.3 * rng.standard_normal((problem["width"], size)), 0.3 * rng.standard_normal((3, problem["width"]))]

    def losses(of: np.ndarray, tuned: np.ndarray) -> tuple[list[float], np.ndarray]:
        layers, told = [start[0] @ of.T, start[1]], []
        for target, covariance in zip(targets, covariances, strict=True):
            moved = of @ covariance @ of.T
            layers = descended(layers, target @ tuned.T, 0.02, problem["steps"], moved)
            for wanted, weight in zip(targets, covariances, strict=True):
                residual = product(layers) - wanted @ tuned.T
                told.append(float(np.sum((residual @ (of @ weight @ of.T)) * residual)))
        return told, layers[0]

    plain, first = losses(np.eye(size), np.eye(size))
    there, second = losses(turn, np.eye(size) if partly else turn)
    before, after = overlap_of(gram(first, None)), overlap_of(gram(second, None))
    same = equals(overlap_of(gram(second, turn)), before, tolerance=_ROUNDING, scale=1.0)
    other = equals(after, before, 1e-6, 1.0) if stays else exceeds(abs(after - before), 1e-9, scale=1.0)
    # Rounding of some hundred steps; the losses of diverging runs would be refused.
    return every(equals(there, plain, tolerance=1e-9), same, other)


def check_spectrum(problem: PlainProblem, sensitivity: bool = False) -> float:
    """Hessians and codes of layers that are unbalanced along the axes of two bases of the inputs, at one task."""
    rng, size = np.random.default_rng(problem["seed"]), 3
    balances = problem["balance"] * np.linspace(-1, 1, size)
    strengths = problem["strength"] * (1 + problem["spread"] * np.linspace(-1, 1, size))
    middle, target = rotation(problem["seed"] + 1, size), np.diag(strengths)
    spectra, overlaps, stated = [], [], []
    for basis in (np.eye(size), rotation(int(rng.integers(2**16)), size)):
        part = problem["learned"] * problem["strength"] * np.ones(size)
        layers = two_layers(basis, part, basis, balances, middle)
        spectra.append(np.linalg.eigvalsh(hessian(layers, target)))
        overlaps.append(overlap_of(gram(layers[0], None)))
        inner = np.sqrt(balances**2 / 4 + part**2) - balances / 2
        own = np.sum(((basis**2) @ inner) ** 2)
        stated.append(1 - own / np.sum(inner**2))
    differ = exceeds(abs(overlaps[1] - overlaps[0]), 1e-9, scale=1.0)
    moved = -1.0 if sensitivity else equals(spectra[1], spectra[0], tolerance=1e-9)
    return every(moved, equals(overlaps, stated, tolerance=1e-9, scale=1.0), differ)


def _steps(count: int, lean: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries(
        {
            "width": st.sampled_from((1, 2, 6)),
            "lean": lean,
            "far": numbers(0.5, 2),
            "rate": decades(1e-4, 0.1),
            "steps": st.just(count),
            "seed": seeds(),
        }
    )


def _equal(spread: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries(
        {
            "strength": numbers(0.5, 2),
            "learned": numbers(0.1, 1),
            "balance": numbers(0.5, 2),
            "spread": spread,
            "seed": seeds(),
        }
    )


CLAIMS = (
    Claim(
        id="first-step-spills",
        statement=(
            "Of orthogonal features: a step of fine-tuning on inputs along f_i alone, of any size, changes the output "
            "for another feature j by -2 eta G_ij r_i, r_i how far the output for i is off: it disturbs codes that "
            "overlap and no others"
        ),
        source="re-derived",
        equation="2.15",
        domain=_steps(1, st.just(0.0)),
        check=check_step,
        variants=(
            Variant(name="by-the-output-layer", changes={"outputs": True}),
            Variant(name="in-ten-steps", domain=_steps(10, st.just(0.0))),
        ),
        beyond=Outside(
            assumption="features are orthogonal: of others, what f_j has of f_i is learned with it",
            domain=_steps(1, numbers(0.3, 1)),
            example={"width": 2, "lean": 1.0, "far": 1.0, "rate": 0.01, "steps": 1, "seed": 0},
        ),
    ),
    Claim(
        id="names-of-features",
        statement=(
            "Turned inputs, with both tasks and the initial weights, change no loss of pre-training or fine-tuning, "
            "and hence no harm; the overlap of features that are not turned with them changes"
        ),
        source="re-derived",
        equation="2.16",
        domain=st.fixed_dictionaries(
            {"width": st.sampled_from((2, 4, 6)), "steps": st.sampled_from((20, 80)), "seed": seeds()}
        ),
        check=check_names,
        variants=(
            Variant(name="overlap-stays", changes={"stays": True}),
            Variant(name="only-the-inputs-turn", changes={"partly": True}),
        ),
    ),
    Claim(
        id="same-spectrum-any-overlap",
        statement=(
            "Where all modes are of one strength, layers that are unbalanced along the axes of a basis of the inputs "
            "have one loss and one spectrum of the Hessian in every basis, and any overlap"
        ),
        source="re-derived",
        equation="2.16",
        domain=_equal(st.just(0.0)),
        check=check_spectrum,
        variants=(
            Variant(name="modes-that-differ", domain=_equal(numbers(0.2, 0.8))),
            Variant(name="another-spectrum", changes={"sensitivity": True}),
        ),
        beyond=Outside(
            assumption="the modes are of one strength",
            domain=_equal(numbers(0.2, 0.8)),
            example={"strength": 1.0, "learned": 0.5, "balance": 1.0, "spread": 0.5, "seed": 0},
        ),
    ),
)
