"""Claims about weights scattered by rounding or by label noise: both act as noise (theory 2.9 and the end of 4)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every, exceeds
from linsim.measures.quantisation import quantisation_scales, quantise
from linsim.measures.sensitivity import expected_increase
from linsim.testing.draws import numbers, seeds, values
from linsim.theory.prices import label_noise_price, soft_threshold

_ROTATIONS = 800
_expected_increases = jax.jit(jax.vmap(expected_increase))


def check_quantisation_is_noise(problem: PlainProblem, size: float = 1.0, largest: bool = False) -> float:
    """Round weights in random bases, and compare the mean increase with that of noise on all entries not rounded to."""
    rng, bits, sides = np.random.default_rng(problem["seed"]), problem["bits"], problem["widths"]
    root = np.sqrt(problem["strengths"])
    bases = [np.tile(np.eye(side), (_ROTATIONS, 1, 1)) for side in sides]
    if not problem["axes"]:
        bases = [np.linalg.qr(rng.standard_normal(basis.shape))[0] for basis in bases]
    right, middle, left = (basis[:, :, : len(root)] for basis in bases)
    layers = (middle * root) @ np.swapaxes(right, 1, 2), (left * root) @ np.swapaxes(middle, 1, 2)
    scales = size * np.asarray(jax.vmap(lambda *weights: quantisation_scales(weights, bits))(*layers))
    stated = np.asarray(_expected_increases(layers, scales))
    if not largest:  # the largest entry of a layer defines its step and is rounded without error
        (first, second), draws = layers, np.arange(_ROTATIONS)
        at_input = np.abs(first).reshape(_ROTATIONS, -1).argmax(axis=1) // sides[0]
        at_output = np.abs(second).reshape(_ROTATIONS, -1).argmax(axis=1) % sides[1]
        stated = stated - scales[:, 0] ** 2 * np.sum(second**2, axis=1)[draws, at_input]
        stated = stated - scales[:, 1] ** 2 * np.sum(first**2, axis=2)[draws, at_output]
    steps = [np.abs(layer).max(axis=(1, 2), keepdims=True) / (2 ** (bits - 1) - 1) for layer in layers]
    rounded = [step * np.round(layer / step) for step, layer in zip(steps, layers, strict=True)]
    told = equals(np.stack(steps, axis=1)[..., 0, 0] / np.sqrt(12.0), scales / size, tolerance=1e-12)
    ours = quantise((jnp.asarray(layers[0][0]), jnp.asarray(layers[1][0])), bits)
    off = [np.mean(np.abs(whole - each[0]) > 1e-9) for whole, each in zip(ours, rounded, strict=True)]
    told = every(told, exceeds(0.1, max(off)))  # a number halfway between two levels may go to either
    increase = np.sum((rounded[1] @ rounded[0] - layers[1] @ layers[0]) ** 2, axis=(1, 2))
    difference = increase - stated
    error = float(difference.std()) / np.sqrt(_ROTATIONS) + 1e-9 * float(stated.mean())  # never 0, where all are equal
    # Within 5 standard errors of the mean over rotations, of some 1 % of the increase each.
    return every(told, equals(difference.mean(), 0.0, tolerance=5.0, scale=error))


def check_label_noise_threshold(
    problem: PlainProblem, price: str = "geometric", factor: float = 1.0, averaged: str = "maps"
) -> float:
    """Descend on minibatches with noisy labels in many runs, and compare the averaged modes with the threshold."""
    (d_in, d_out), sigma = problem["sides"], np.asarray(problem["strengths"])
    rate, label_noise, batch = problem["rate"], problem["label_noise"], problem["batch"]
    maps, weights, error = _noisy_descent(**problem)
    arithmetic = rate * label_noise**2 * (d_in + d_out) / batch
    geometric = 2 * rate * label_noise**2 * np.sqrt(d_in * d_out) / batch
    told = equals(label_noise_price(rate, label_noise, batch, d_in, d_out), geometric, tolerance=1e-12)
    charged = factor * (geometric if price == "geometric" else arithmetic)
    # 4.5 standard errors, and the next order in the rate: rate x curvature of the shift.
    allowed = 4.5 * error + rate * 4 * sigma.max() * geometric / 2
    found = maps if averaged == "maps" else weights
    stated = np.asarray(soft_threshold(sigma, charged))
    return every(told, equals(found / allowed, stated / allowed, tolerance=1.0, scale=1.0))


@lru_cache(maxsize=16)
def _noisy_descent(
    sides: tuple[int, int],
    strengths: tuple[float, ...],
    rate: float,
    label_noise: float,
    batch: int,
    steps: int,
    skipped: int,
    runs: int,
    seed: int,
) -> tuple[Any, Any, Any]:
    """Modes of the averaged map, modes of the product of averaged weights, standard error of the former."""
    rng, (d_in, d_out), modes = np.random.default_rng(seed), sides, len(strengths)
    target = np.eye(d_out, modes) * strengths @ np.eye(modes, d_in)
    inner = np.tile(np.sqrt(0.5) * np.eye(modes, d_in), (runs, 1, 1))
    outer = np.tile(np.sqrt(0.5) * np.eye(d_out, modes), (runs, 1, 1))
    total, total_inner, total_outer = 0 * (outer @ inner), 0 * inner, 0 * outer
    for step in range(steps):
        inputs = rng.standard_normal((runs, d_in, batch))
        hidden = inner @ inputs
        errors = outer @ hidden - target @ inputs - label_noise * rng.standard_normal((runs, d_out, batch))
        pull = 2 * rate / batch * errors
        change = np.swapaxes(outer, 1, 2) @ pull @ np.swapaxes(inputs, 1, 2)
        inner, outer = inner - change, outer - pull @ np.swapaxes(hidden, 1, 2)
        if step >= skipped:
            total, total_inner, total_outer = total + outer @ inner, total_inner + inner, total_outer + outer
    kept = steps - skipped
    maps, weights = total / kept, (total_outer / kept) @ (total_inner / kept)
    found, of_weights = (np.diagonal(product, axis1=1, axis2=2) for product in (maps, weights))
    return found.mean(axis=0), of_weights.mean(axis=0), found.std(axis=0) / np.sqrt(runs)


def _rounded(modes: tuple[int, ...], axes: bool = False) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries(
        {
            "strengths": st.sampled_from(modes).flatmap(lambda count: values(numbers(0.2, 3), count)),
            "widths": st.sampled_from(((4, 4, 4), (6, 8, 4))),
            "bits": st.integers(5, 10),
            "axes": st.just(axes),
            "seed": seeds(),
        }
    )


def _runs(
    *sides: tuple[int, int], steps: int = 2000, skipped: int = 800, runs: int = 320
) -> st.SearchStrategy[PlainProblem]:
    common: PlainProblem = {"rate": 0.01, "label_noise": 4.5, "batch": 4, "seed": 0}
    common |= {"steps": steps, "skipped": skipped, "runs": runs}
    return st.sampled_from([common | {"sides": each, "strengths": (2.0, 0.8)[: min(each)]} for each in sides])


CLAIMS = (
    Claim(
        id="quantisation-as-noise",
        statement="Dense weights in random bases, two modes or more, 5 bits or more: rounding costs on average what "
        "noise D_l/sqrt 12 costs on all entries but the largest of each layer",
        source="re-derived",
        equation="2.9",
        domain=_rounded((2, 4)),
        check=check_quantisation_is_noise,
        variants=(
            Variant(name="noise-of-a-whole-step", changes={"size": 12**0.5}),
            Variant(name="errors-of-the-half-step", changes={"size": 3**0.5}),
            Variant(name="largest-entries-are-rounded-too", changes={"largest": True}),
            Variant(name="a-single-mode", domain=_rounded((1,))),
        ),
        beyond=Outside(
            assumption="bases are random, without exact zeros",
            domain=_rounded((2, 4), axes=True),
            example={"strengths": (0.5, 1.0), "widths": (4, 4, 4), "bits": 5, "axes": True, "seed": 0},
        ),
    ),
    Claim(
        id="label-noise-threshold",
        statement="Label-noise SGD holds the averaged modes at (sigma_i - G/2)_+, G = 2 eta sy^2 sqrt(d_in d_out) / B, "
        "to first order in eta, once noise has unbalanced the layers",
        source="re-derived",
        equation="2.10",
        domain=_runs((2, 2), (8, 2), (9, 1)),
        check=check_label_noise_threshold,
        variants=(
            Variant(name="the-arithmetic-mean-of-both-sides", changes={"price": "arithmetic"}),
            Variant(name="half-the-price", changes={"factor": 0.5}),
            Variant(name="averaged-weights", changes={"averaged": "weights"}),
        ),
        beyond=Outside(
            assumption="the run outlasts the unbalancing time B / (eta^2 sy^2 |d_in - d_out|) in steps",
            domain=_runs((9, 1), (1, 9), steps=120, skipped=60, runs=1024),
            example={
                "sides": (9, 1),
                "strengths": (2.0,),
                "rate": 0.01,
                "label_noise": 4.5,
                "batch": 4,
                "steps": 120,
                "skipped": 60,
                "runs": 1024,
                "seed": 0,
            },
        ),
    ),
)
