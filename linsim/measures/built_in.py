"""The measures that come with linsim, each as a `Measure`: of every solver, at any place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from linsim.errors import InvalidInput, numbers, require, require_integer, require_kind, require_number
from linsim.losses import Scalar, matmul, require_squared_error
from linsim.measure import Measure, placed
from linsim.measures import curvature
from linsim.measures.features.overlap import feature_dimensionality, feature_overlap
from linsim.measures.front import Front
from linsim.measures.quantisation import quantise
from linsim.measures.sensitivity import expected_increase, relative_scales
from linsim.measures.task_curvature import along_displacement, gradient_square, top_eigenvalue, total, traced
from linsim.tasks import Transfer

SEEN = Any  # linsim.dynamics.seen.Seen, which is on a floor of its own

NOISE = (0.01, 0.1)
"""gamma, where none is given: in units of the weights, or of the rms weight of each layer."""
BITS = (4, 6, 8)
"""Bits, where none are given."""


def _learned_share(seen: SEEN) -> Any:
    """u_i^T P v_i / sigma_i; 0 for absent modes."""
    strengths = seen.pretrain.strengths
    present = strengths != 0
    return jnp.where(present, seen.learned / jnp.where(present, strengths, 1), 0)


def _distance(seen: SEEN) -> Scalar:
    pairs = zip(seen.weights, seen.checkpoint.weights, strict=True)
    return jnp.sqrt(total(jnp.sum((weight - start) ** 2) for weight, start in pairs))


def _imbalance(seen: SEEN) -> Scalar:
    """max_l ||W_{l+1}^T W_{l+1} - W_l W_l^T||_F; 0 for one layer."""
    pairs = zip(seen.weights[:-1], seen.weights[1:], strict=True)
    off = [jnp.linalg.norm(matmul(outer.T, outer) - matmul(inner, inner.T)) for inner, outer in pairs]
    return jnp.max(jnp.stack(off)) if off else jnp.zeros_like(seen.weights[0][0, 0])


_CURVATURE = "squared output / squared weight"
_curvature_measure = partial(Measure, units=_CURVATURE, at="checkpoint", up_to_rotation=True)

LEARNED = Measure("learned", dims=("mode",), at="checkpoint", of=lambda seen: seen.learned)
LEARNED_SHARE = Measure("learned_share", dims=("mode",), at="checkpoint", of=_learned_share)
HESSIAN_TRACE = _curvature_measure(
    "hessian_trace",
    long_name="tr H of the pre-training loss",
    of=traced(curvature.trace_of_curvature),
)
GAUSS_NEWTON_TRACE = _curvature_measure(
    "gauss_newton_trace",
    long_name="tr of the Gauss-Newton matrix of the pre-training loss",
    of=traced(curvature.trace_of_curvature),  # equal at every point of a linear network
)
FISHER_TRACE = _curvature_measure(
    "fisher_trace",
    long_name="trace of the Fisher matrix, unit output noise",
    of=traced(curvature.fisher_trace),
)
TOP_EIGENVALUE = _curvature_measure(
    "top_eigenvalue",
    long_name="top eigenvalue of the Hessian of the pre-training loss",
    of=lambda seen: top_eigenvalue(seen).value,
)
TOP_EIGENVALUE_ERROR = _curvature_measure(
    "top_eigenvalue_error",
    long_name="distance from the top eigenvalue told within which there is one",
    of=lambda seen: top_eigenvalue(seen).error,
)
GRADIENT_SQUARE = _curvature_measure(
    "gradient_square", long_name="squared mean gradient of the pre-training loss", of=gradient_square
)
CURVATURE_ALONG_DISPLACEMENT = Measure(
    "curvature_along_displacement",
    long_name="curvature of the pre-training loss along the fine-tuning displacement",
    units=_CURVATURE,
    of=along_displacement,
)
WEIGHT_DISTANCE = Measure(
    "weight_distance", long_name="distance to the checkpoint in weights", units="weight", of=_distance
)
PRODUCT_DISTANCE = Measure(
    "product_distance",
    long_name="distance to the checkpoint in the product",
    units="output per input",
    of=lambda seen: jnp.linalg.norm(seen.product - seen.checkpoint.product),
)
IMBALANCE = Measure(
    "imbalance",
    long_name="largest ||W_(l+1)^T W_(l+1) - W_l W_l^T||",
    units="squared weight",
    at="checkpoint",
    of=_imbalance,
    up_to_rotation=True,
)
PRODUCT = Measure(
    "product",
    dims=("output", "input"),
    long_name="P = W_L ... W_1",
    units="output per input",
    of=lambda seen: seen.product,
)


def _axis(name: str, values: Any) -> list[Any]:
    """Values of an axis as Python numbers: at least one, each once."""
    numbers(name, values, 1)
    found = np.asarray(values)
    require(found.size == np.unique(found).size, name, values, "a list of numbers, each once")
    return list(found.tolist())


def rise_under_noise(scales: Sequence[float] = NOISE, *, relative: bool = False) -> Measure:
    """E L(W + gamma Z) - L(W) of the pre-training loss, exactly; see `linsim.measures.sensitivity`.

    Args:
      scales: gamma > 0, an axis of the measure.
      relative: gamma in units of the rms weight of each layer.

    Example:
      >>> ls.rise_under_noise([0.01, 0.1])
      Measure('rise_under_absolute_noise' at checkpoint over absolute_noise, in squared output)
    """
    require_kind("relative", relative, bool)
    name = "relative_noise" if relative else "absolute_noise"
    scales = _axis(name, scales)
    for scale in scales:
        require_number(name, scale, above=0)

    def of(seen: SEEN) -> Any:
        require_squared_error(f"rise_under_{name}", seen.pretrain.own_loss)

        def rise(scale: Any) -> Scalar:
            weights = seen.weights
            gammas = jnp.broadcast_to(scale, (len(weights),))
            sizes = relative_scales(weights, gammas) if relative else gammas
            return expected_increase(weights, sizes, seen.pretrain.input_covariance)

        return jax.vmap(rise)(jnp.asarray(scales, seen.weights[0].dtype))

    words = "relative" if relative else "absolute"
    return Measure(
        f"rise_under_{name}",
        dims=(name,),
        long_name=f"rise of the pre-training loss under {words} noise on the weights",
        units="squared output",
        at="checkpoint",
        coords={name: np.asarray(scales, np.float64)},
        up_to_rotation=True,
        of=of,
    )


def rise_under_rounding(bits: Sequence[float] = BITS) -> Measure:
    """L(rounded W) - L(W) of the pre-training loss, every layer rounded to b bits; see `linsim.measures.quantisation`.

    Args:
      bits: b, 2 to 32, an axis of the measure.

    Example:
      >>> ls.rise_under_rounding([4, 8])
      Measure('rise_under_rounding' at checkpoint over bits, in squared output)
    """
    bits = _axis("bits", bits)
    for number in bits:
        require_integer("bits", number, at_least=2, at_most=32)

    def of(seen: SEEN) -> Any:
        def loss(weights: Any) -> Scalar:
            product = weights[0]
            for weight in weights[1:]:
                product = matmul(weight, product)
            return seen.pretrain.loss(product)

        return jnp.stack([loss(quantise(seen.weights, number)) for number in bits]) - seen.pretrain_loss

    return Measure(
        "rise_under_rounding",
        dims=("bits",),
        long_name="rise of the pre-training loss under rounding of the weights",
        units="squared output",
        at="checkpoint",
        coords={"bits": np.asarray(bits)},
        of=of,
    )


def bound_ratio(transfer: Transfer) -> Measure:
    """How far both losses are from what any network can reach at once, >= 1; see `linsim.measures.front`.

    Example:
      >>> transfer = ls.shifted(ls.LinearTask.create(ls.power_law(3)), ls.Rescale([2, 3], factor=4.0))
      >>> ls.bound_ratio(transfer)
      Measure('bound_ratio' at tuned, in 1)
    """
    front = Front.of(require_kind("transfer", transfer, Transfer))
    return Measure(
        "bound_ratio",
        long_name="distance from the universal bound, (sqrt L_pre + sqrt L_ft) / D with one input covariance",
        of=lambda seen: front.ratio(seen.pretrain_loss, seen.finetune_loss),
    )


_PLAIN = (
    *(LEARNED, LEARNED_SHARE, HESSIAN_TRACE, GAUSS_NEWTON_TRACE, FISHER_TRACE, GRADIENT_SQUARE),
    *(TOP_EIGENVALUE, TOP_EIGENVALUE_ERROR, IMBALANCE, CURVATURE_ALONG_DISPLACEMENT),
    *(WEIGHT_DISTANCE, PRODUCT_DISTANCE, PRODUCT),
)
BUILT_IN: Mapping[str, Callable[..., Measure]] = {
    **{measure.name: partial(lambda measure, transfer: measure, measure) for measure in _PLAIN},
    "bound_ratio": bound_ratio,
    "feature_overlap": lambda transfer: feature_overlap(),
    "feature_dimensionality": lambda transfer: feature_dimensionality(),
    "rise_under_absolute_noise": lambda transfer, scales=NOISE: rise_under_noise(scales),
    "rise_under_relative_noise": lambda transfer, scales=NOISE: rise_under_noise(scales, relative=True),
    "rise_under_rounding": lambda transfer, bits=BITS: rise_under_rounding([_whole(number) for number in bits]),
}
"""Name -> what makes the measure for a transfer; those of several scales take them as a second argument."""


def _whole(number: float) -> Any:
    """As an integer where it is one; what is none is refused by name further on."""
    return int(number) if np.isfinite(number) and number == int(number) else number


FORM = "NAME, NAME=V1,V2,... or NAME@PLACE, NAME@PLACE=CALLED"


def built_in(text: str, transfer: Transfer) -> Measure:
    """The measure that a text names: NAME, NAME=V1,V2,... with its scales, NAME@PLACE elsewhere, NAME@PLACE=CALLED.

    Raises:
      InvalidInput: no such measure or place, scales of one that has none, or that are no numbers.

    Example:
      >>> transfer = ls.shifted(ls.LinearTask.create(ls.power_law(3)), ls.Rescale([2, 3], factor=4.0))
      >>> ls.built_in("hessian_trace@tuned", transfer)
      Measure('hessian_trace' at tuned, in squared output / squared weight)
    """
    require(isinstance(text, str), "measure", text, FORM)
    require_kind("transfer", transfer, Transfer)
    name_and_scales, _, place = text.partition("@")
    name, _, scales = name_and_scales.partition("=")
    require(name in BUILT_IN, "measure", text, f"{FORM}, or MODULE:NAME; NAME is one of {', '.join(BUILT_IN)}")
    numbers: list[Any] = []
    if scales:
        scaled = name.startswith("rise_under")
        require(scaled, "measure", text, f"no values for {name}, which has none")
        try:
            numbers = [tuple(float(value) for value in scales.split(","))]
        except ValueError:
            raise InvalidInput("measure", text, FORM) from None
    return placed(BUILT_IN[name](transfer, *numbers), place, text, FORM)
