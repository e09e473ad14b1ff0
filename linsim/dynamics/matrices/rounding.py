"""Where the answer is rounding: the same run from weights moved by a few units in their last place.

What exact arithmetic keeps on a saddle - an exact reversal of the singular vectors, a mode at exactly 0 - floating
point lets go after a time of ln(1/eps) / (2 sigma), in a direction that rounding draws. Later all may have arrived at
one minimum, and agree: changes are looked for on the way.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from linsim.dynamics.matrices.matrix_flow import matrix_flow, require_times
from linsim.precision import in_float64

TRUSTED = 1e-6
"""Largest change that passes, relative to the zero network's. Stable modes keep a move of 1e-15 below 1e-12: there is
nothing to see. A saddle multiplies it by e^(2 sigma t): a change of 1e-6 has grown by 1e9, half of the digits are gone,
and the rest go in less than the time that these took.
"""

_BETWEEN = 48  # times at which a flow is compared before the last one, over three decades
_ULPS = 4  # as many rounding errors as a step makes


class FlowRounding(NamedTuple):
    """What rounding makes of a flow, at every time."""

    deviation: Float[np.ndarray, "*times"]
    """Largest ||P' - P||_S / ||A||_S until then, with ||M||_S^2 = tr(M S M^T), P' from weights moved in their last
    places."""
    trusted: Bool[np.ndarray, "*times"]
    """Whether that is at most `TRUSTED`: else P is drawn by rounding, and exact arithmetic might have any other."""


@in_float64
def flow_rounding(
    weights: tuple[Any, ...], target: Any, times: Any, weight_decay: float = 0.0, *, input_covariance: Any = None
) -> FlowRounding:
    """Whether `matrix_flow` of the same arguments is rounding, at about 100 times its cost for one time.

    Raises:
      InvalidInput: as `matrix_flow`.

    Example:
      >>> start, times = (np.eye(2) / 4, np.diag([0.25, -0.25])), [2.0, 20.0]  # the second mode has to turn round
      >>> ls.flow_rounding(start, np.diag([2.0, 1.0]), times).trusted
      array([ True, False])
    """
    how: dict[str, Any] = {"weight_decay": weight_decay, "input_covariance": input_covariance}
    matrix_flow(weights, target, 0.0, **how)  # refuses what is no flow
    layers, asked = tuple(np.asarray(layer, np.float64) for layer in weights), require_times(times)
    last = max(float(np.max(asked, initial=0.0)), float(np.finfo(np.float64).tiny))
    on_the_way = np.unique(np.concatenate([np.geomspace(last / 1e3, last, _BETWEEN), asked.ravel()]))
    found, again = (matrix_flow(each, target, on_the_way, **how) for each in (layers, moved(layers)))
    first, second = (each[0] if len(each) == 1 else each[1] @ each[0] for each in (found, again))
    covariance = np.eye(first.shape[-1]) if input_covariance is None else np.asarray(input_covariance, np.float64)

    def size(matrix: np.ndarray) -> np.ndarray:
        return np.asarray(np.sqrt(np.sum(matrix * (matrix @ covariance), axis=(-2, -1))))

    begun = layers[0] if len(layers) == 1 else layers[1] @ layers[0]
    scale = max(float(size(np.asarray(target, np.float64))), float(size(begun)), float(np.finfo(np.float64).tiny))
    largest = np.maximum.accumulate(size(second - first) / scale)
    deviation = np.asarray(largest[np.searchsorted(on_the_way, asked)])
    return FlowRounding(deviation, deviation <= TRUSTED)


def moved(layers: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """Weights moved by a few units in the last place, of each and of the layer's size, so that zeros move too.

    Args:
      layers: (W_1, ..., W_L), with any leading axes; each matrix is moved by itself, all networks by the same draws.
    """
    rng, moves = np.random.default_rng(0), []
    largest = max(float(np.sqrt(np.mean(layer**2))) for layer in layers) or 1.0
    for layer in layers:
        size = np.sqrt(np.mean(layer**2, axis=(-2, -1), keepdims=True))
        relative, absolute = rng.standard_normal((2, *layer.shape[-2:]))
        moves.append(layer * relative + np.where(size > 0, size, largest) * absolute)
    step = _ULPS * np.finfo(np.float64).eps
    return tuple(layer + step * move for layer, move in zip(layers, moves, strict=True))
