"""What curves over the budget come to: at fixed flow times, at matched effort, at a tuned rate, and under noise."""

from __future__ import annotations

import numpy as np
import xarray as xr

from linsim.labels import lost_lanes

from ..curves import harm_of, material_harm
from ..rich_and_lazy.matching import at_equal_loss

_CURVE = ("pretrain_steps", "learning_rate", "seed")


def matched(found: xr.Dataset, level: float) -> xr.Dataset:
    """At matched effort: one rate for all budgets, by which the last checkpoint's fine-tuning loss falls to a share.

    Args:
      found: losses over (objective, shift, seed, pretrain_steps, learning_rate).
      level: share of the fine-tuning loss that the last checkpoint has before fine-tuning.

    Returns:
      `matched_time`, `matched_curve`, `matched_harm` and `matched_rise` (last - least) of the pre-training loss;
      `matched_finetune_harm` and `matched_finetune_rise`, this in units of that loss. NaN where no rate reaches the
      level.
    """
    outer = [dim for dim in ("objective", "shift", "strength") if dim in found.dims]
    lost = lost_lanes(found)
    losses = {name: found[name].where(~lost, np.inf) for name in ("pretrain_loss_after", "finetune_loss_after")}
    share = losses["finetune_loss_after"] / found["finetune_loss_before"].isel(pretrain_steps=-1)
    return _at_each(outer, xr.Dataset({**losses, "share": share}), level, found.attrs["finetune_steps"])


def _at_each(dims: list[str], losses: xr.Dataset, level: float, steps: int) -> xr.Dataset:
    """Over some dimensions, one after the other, what is matched within."""
    if dims:
        outer, *rest = dims
        parts = [_at_each(rest, losses.isel({outer: at}, drop=True), level, steps) for at in range(losses.sizes[outer])]
        return xr.concat(parts, losses[outer])
    losses = losses.transpose(*_CURVE)
    levels = xr.DataArray([level], {"level": [level]}, ("level",))
    first, second = (
        at_equal_loss(
            xr.Dataset({"pretrain_loss_after": losses[name], "finetune_loss_after": losses["share"]}), levels
        ).isel(level=0, drop=True)
        for name in ("pretrain_loss_after", "finetune_loss_after")
    )
    return xr.Dataset(
        {
            "matched_time": first["rate"] * steps,
            "matched_curve": first["curve"],
            "matched_harm": first["harm"],
            "matched_rise": first["excess"],
            "matched_finetune_harm": second["harm"],
            "matched_finetune_rise": second["excess"],
        }
    )


def tuned(found: xr.Dataset) -> xr.DataArray:
    """Harm to the fine-tuning loss where every budget has the flow time that is best for it, as it is counted."""
    best = found["finetune_loss_after"].where(~lost_lanes(found)).min("learning_rate")
    excess = best.isel(pretrain_steps=-1, drop=True) - best.min("pretrain_steps")
    excess = excess / found["finetune_zero_loss"]
    return material_harm(harm_of(best), excess)


def noisy(found: xr.Dataset) -> xr.DataArray:
    """Harm to the pre-training loss under noise, without fine-tuning."""
    return harm_of(found["loss_under_noise"])


def fisher_left(found: xr.Dataset) -> xr.DataArray:
    """The trace of the Fisher matrix at the last budget, over its largest."""
    trace = found["fisher_trace"]
    return trace.isel(pretrain_steps=-1, drop=True) / trace.max("pretrain_steps")
