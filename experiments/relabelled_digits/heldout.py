"""What is read off images held out, and how much of a turn is there before pre-training overfits."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from linsim.labels import lost_lanes

from ..curves import harm_of, material_harm
from .images import Images, Judged

_BUDGET = "pretrain_steps"


def heldout(found: xr.Dataset, images: Images) -> dict[str, xr.DataArray]:
    """Losses and errors on images held out, and on kept ones, of all objectives, shifts and samples, from the maps.

    Args:
      found: with `checkpoint_product` and `product`, over (objective, shift, seed, ...).
      images: what they were trained on.
    """
    outer = ("objective", "shift", "seed")
    told: dict[str, list[Any]] = {}
    shape = tuple(found.sizes[dim] for dim in outer)
    for place in np.ndindex(shape):
        at = found.isel(dict(zip(outer, place, strict=True)))
        sample, objective, shift = images.sample(place[-1]), str(at["objective"].item()), str(at["shift"].item())
        pairs = images.pair(sample.heldout, sample.half, shift)
        judged = (Judged(images.task(each, objective), each) for each in (*pairs, images.kept(sample)))
        first, second, kept = judged
        for name, variable, of in (
            ("heldout_pretrain_loss_before", "checkpoint_product", first.loss),
            ("heldout_pretrain_loss_after", "product", first.loss),
            ("heldout_finetune_loss_after", "product", second.loss),
            ("heldout_finetune_errors", "product", second.errors),
            ("kept_loss_after", "product", kept.loss),
        ):
            products = at[variable].transpose(..., "output", "input")
            values = of(np.asarray(products.values, np.float64))
            told.setdefault(name, []).append(
                products.isel(output=0, input=0, drop=True).drop_vars(outer).copy(data=values)
            )
        zero = float(second.loss(np.zeros_like(second.task.target)))
        told.setdefault("heldout_finetune_zero_loss", []).append(xr.DataArray(zero))
    coords = {dim: found[dim] for dim in outer}
    return {name: _stacked(parts, shape, outer).assign_coords(coords) for name, parts in told.items()}


def _stacked(parts: list[xr.DataArray], shape: tuple[int, ...], outer: tuple[str, ...]) -> xr.DataArray:
    """Parts in the order of places along the outer dimensions."""
    values = np.stack([part.values for part in parts]).reshape(*shape, *parts[0].shape)
    return xr.DataArray(values, dims=(*outer, *parts[0].dims), coords=parts[0].coords)


def harms(found: xr.Dataset) -> dict[str, xr.DataArray]:
    """Harm to both fine-tuning losses, as it is counted: at the last budget, at a tuned rate, and before overfitting.

    Pre-training overfits from the budget on at which its loss on images held out is least. What harm there is by then
    is not overfitting's.
    """
    lost = lost_lanes(found)
    stopped = found["heldout_pretrain_loss_before"].fillna(np.inf).argmin(_BUDGET)
    told = {
        "stopped_steps": found[_BUDGET].isel({_BUDGET: stopped}).drop_vars(_BUDGET),
        "overfit_harm": harm_of(found["heldout_pretrain_loss_before"]),
        "kept_harm": harm_of(found["kept_loss_after"].where(~lost)),
        "counted_finetune_harm": material_harm(found["finetune_harm"], found["finetune_excess"]),
    }
    place = xr.DataArray(np.arange(found.sizes[_BUDGET]), dims=_BUDGET)
    for kind in ("", "heldout_"):
        curve, zero = found[f"{kind}finetune_loss_after"].where(~lost), found[f"{kind}finetune_zero_loss"]
        until = curve.where(place <= stopped)
        here = curve.isel({_BUDGET: stopped}, drop=True).drop_vars(_BUDGET, errors="ignore")
        told[f"stopped_{kind}finetune_harm"] = _counted(here, until.min(_BUDGET), zero)
        if kind:
            told["counted_heldout_finetune_harm"] = material_harm(harm_of(curve), _excess(curve, zero))
            best = curve.min("learning_rate")
            told["tuned_heldout_finetune_harm"] = material_harm(harm_of(best), _excess(best, zero))
    return told


def _excess(curve: xr.DataArray, zero: xr.DataArray) -> xr.DataArray:
    return (curve.isel({_BUDGET: -1}, drop=True) - curve.min(_BUDGET)) / zero


def _counted(last: xr.DataArray, least: xr.DataArray, zero: xr.DataArray) -> xr.DataArray:
    return material_harm(last / least - 1, (last - least) / zero)
