"""Cells that flow time makes the same, held against each other.

To first order in the learning rate, k steps of heavy ball follow the gradient flow for the time
eta / (1 - m) x [k - m (1 - m^k) / (1 - m)]: the momentum m acts like the rate eta / (1 - m), and the bracket is what is
left of k steps while it builds up. Checkpoints of equal flow time, fine-tuned for equal flow time, are then the same.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float

from linsim.phase import PARTS
from linsim.sweeping.axes import BUDGETS

CLOSE = 0.05
"""Relative deviation up to which two numbers count as the same."""
HARM = 0.01
"""Harm below this is not compared."""
_INTERPOLATION = 0.01  # largest relative error of an interpolation between rates that is taken


class Pairs(NamedTuple):
    """Pairs of cells that are the same in the limit of small rates."""

    rates: Float[np.ndarray, " pairs"]
    """The larger rate / (1 - momentum) of the two."""
    apart: Float[np.ndarray, " pairs"]
    """Relative deviation of the two numbers."""
    plain: Float[np.ndarray, " pairs"]
    """The same in steps, or at the same learning rate, as if flow time did not matter."""


class Collapsed(NamedTuple):
    """Which numbers are compared along which axes."""

    axes: tuple[str, ...]
    what: str
    pairs: Pairs


def flow_time(rate: Any, momentum: Any, steps: Any) -> Any:
    """eta / (1 - m) [k - m (1 - m^k) / (1 - m)]: how far k steps of heavy ball go, per unit of a constant gradient.

    Args:
      rate: eta, in flow time per step.
      momentum: m in [0, 1).
      steps: k >= 0.
    """
    return rate / (1 - momentum) * (steps - momentum * (1 - momentum**steps) / (1 - momentum))


def collapsed(dataset: xr.Dataset) -> list[Collapsed | str]:
    """What is to be the same in flow time and how far it is, or in words why nothing can be compared."""
    phases = json.loads(dataset.attrs["training"])
    found: list[Collapsed | str] = []
    pretraining = tuple(axis for axis in ("pretrain_learning_rate", "pretrain_momentum") if _several(dataset, axis))
    if pretraining:
        reason = _no_flow(phases["pretrain"])
        if dataset.attrs["idealised_checkpoints"] == "True":
            reason = "idealised checkpoints change in jumps"
        words = f"pre-training flow time ({' and '.join(pretraining)})"
        found.append(f"{words}: {reason}" if reason else Collapsed(pretraining, "inflection", _in_pretraining(dataset)))
    if _several(dataset, "momentum"):
        reason = _no_flow(phases["finetune"])
        if reason is None and dataset.sizes["learning_rate"] < 4:
            reason = "fewer than four learning rates to interpolate between"
        if reason:
            found.append(f"fine-tuning flow time (momentum): {reason}")
        else:
            for name, least in (("harm", HARM), ("inflection_steps", 0.0)):
                what = name.removesuffix("_steps")
                found.append(Collapsed(("momentum",), what, _in_finetuning(dataset, dataset[name], least)))
    return found


def _several(dataset: xr.Dataset, axis: str) -> bool:
    return axis in dataset["harm"].dims and dataset.sizes[axis] > 1


def _no_flow(phase: dict[str, Any]) -> str | None:
    """Why a phase is no gradient flow at small rates, or None."""
    if phase["optimizer"] is not None:
        return f"{phase['optimizer']} is no gradient flow"
    if phase["batch_size"] is not None:
        return "minibatches add noise"
    if own := [part for part in PARTS if phase.get(part) is not None]:
        return f"it has {' and '.join(own)} of its own"
    return "the rate is no constant" if phase["schedule"] is not None else None


def _in_pretraining(dataset: xr.Dataset) -> Pairs:
    """Inflection points in flow time, against those of the smallest rate whose curve turns within its budgets.

    Compared are turns that lie within the budgets of both.
    """
    given = json.loads(dataset.attrs["training"])["pretrain"]
    turns = dataset["inflection_steps"]
    axes = [dim for dim in ("pretrain_learning_rate", "pretrain_momentum") if dim in turns.dims]
    steps = turns.transpose(*axes, ...).values
    eta = dataset["pretrain_learning_rate"].values if axes[0] == "pretrain_learning_rate" else [given["learning_rate"]]
    m = dataset["pretrain_momentum"].values if axes[-1] == "pretrain_momentum" else [given["momentum"] or 0.0]
    rates, momenta = (each.ravel()[:, None] for each in np.meshgrid(eta, m, indexing="ij"))
    order = np.argsort((rates / (1 - momenta))[:, 0], kind="stable")
    rates, momenta = rates[order], momenta[order]
    steps = steps.reshape(len(order), -1)[order]
    first, last = (flow_time(rates, momenta, float(dataset[BUDGETS][end])) for end in (0, -1))
    time = flow_time(rates, momenta, steps)
    inside = np.isfinite(steps) & (time > first) & (time < last)
    reference = np.argmax(inside, axis=0)
    columns = np.arange(steps.shape[1])
    both = inside & inside[reference, columns] & (time < last[reference, 0]) & (time[reference, columns] > first)
    both[reference, columns] = False
    row, column = np.nonzero(both)
    at = reference[column]
    effective = (rates / (1 - momenta))[:, 0]
    return Pairs(
        effective[row],
        np.abs(time[row, column] / time[at, column] - 1),
        np.abs(steps[row, column] / steps[at, column] - 1),
    )


def _in_finetuning(dataset: xr.Dataset, measured: xr.DataArray, least: float) -> Pairs:
    """Numbers of cells with momentum, against those with the least of it at the same flow time.

    These are interpolated between rates, by cubics in both logarithms; where the grid is too coarse to do so within 1 %
    nothing is compared.
    """
    steps = dataset.attrs["finetune_steps"]
    rates, momenta = dataset["learning_rate"].values, dataset["momentum"].values
    values = measured.transpose("momentum", "learning_rate", ...).values.reshape(len(momenta), len(rates), -1)
    with np.errstate(divide="ignore"):
        logs = np.where(np.isfinite(values) & (values > 0), np.log(np.maximum(values, 0)), np.nan)
    knots = np.log(flow_time(rates, momenta[0], steps))
    parts = []
    for momentum, ours in zip(momenta[1:], logs[1:], strict=True):
        theirs, error = _cubic(knots, logs[0], np.log(flow_time(rates, momentum, steps)))
        with np.errstate(invalid="ignore"):
            row, column = np.nonzero(
                (error <= _INTERPOLATION) & (theirs >= np.log(max(least, 1e-300))) & ~np.isnan(ours)
            )
        parts.append(
            (
                rates[row] / (1 - momentum),
                np.abs(np.expm1(ours[row, column] - theirs[row, column])),
                np.abs(np.expm1(ours[row, column] - logs[0, row, column])),
            )
        )
    return Pairs(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def _cubic(
    knots: Float[np.ndarray, " knots"], values: Float[np.ndarray, "knots columns"], at: Float[np.ndarray, " points"]
) -> tuple[Float[np.ndarray, "points columns"], Float[np.ndarray, "points columns"]]:
    """Cubics through the four knots around every point, and how far the quadratic through the nearest three is off.

    NaN outside the knots, and where one of the four is.
    """
    start = np.clip(np.searchsorted(knots, at) - 2, 0, len(knots) - 4)
    four = start[:, None] + np.arange(4)
    farthest = np.argmax(np.abs(knots[four] - at[:, None]), axis=1)[:, None] == np.arange(4)
    cubic, quadratic = (
        np.einsum("pk,pkc->pc", _weights(knots[four], at, used), values[four])
        for used in (np.ones_like(farthest), ~farthest)
    )
    inside = ((at >= knots[0]) & (at <= knots[-1]))[:, None]
    return np.where(inside, cubic, np.nan), np.where(inside, np.abs(cubic - quadratic), np.nan)


def _weights(
    knots: Float[np.ndarray, "points four"], at: Float[np.ndarray, " points"], used: np.ndarray
) -> Float[np.ndarray, "points four"]:
    """Lagrange's, of the polynomial through the knots that are used."""
    weights = used.astype(np.float64)
    for i in range(knots.shape[1]):
        for j in range(knots.shape[1]):
            if i != j:
                factor = (at - knots[:, j]) / (knots[:, i] - knots[:, j])
                weights[:, i] *= np.where(used[:, j], factor, 1.0)
    return weights
