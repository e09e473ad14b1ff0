"""What losses over budgets come to, of all features and of those that fine-tuning does not see."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.interpolate import Akima1DInterpolator

from linsim.labels import lost_lanes, texts
from linsim.theory.turns import LEAST_HARM

from ..curves import material_harm
from ..rich_and_lazy.matching import at_equal_loss

MEASURED = {"overlap": "feature_overlap", "sensitivity": "hessian_trace"}
EFFORTS = ("fixed time", "matched effort")
BUDGET, RATE = "pretrain_steps", "learning_rate"
CURVES = (
    *("least_loss", "last_loss", "loss_excess", "counted_harm", "kept_excess", "spilled"),
    *("unseen_least", "unseen_last", "unseen_excess", "unseen_harm", "end_overlap", "end_sensitivity", "matched_time"),
)
"""Of `curves`, without those that are over budgets or times."""
_NONE = 1e-9  # of overlap: rounding


def curves(found: xr.Dataset, time: float, level: float) -> xr.Dataset:
    """What losses over budgets come to, after a fixed flow time and at matched effort.

    Args:
      found: losses over budgets, rates and whatever else.
      time: flow time of fine-tuning.
      level: share of the last checkpoint's fine-tuning loss before fine-tuning, to which one rate for all budgets
        takes it: matched effort.

    Returns:
      Over `effort`: `least_loss`, `last_loss`, `loss_excess` and `counted_harm`, 0 where it is immaterial, of all
      features, and `unseen_least`, `unseen_last`, `unseen_excess` and `unseen_harm` of those that fine-tuning does not
      see, which have a best budget of their own; `kept_excess`, what these bear of the excess of all; `overlap_gain`
      and `sensitivity_gain` from the best budget to the last, over the larger; `spilled`, the rise of the loss on
      features not seen at the last budget; and `tuned_curve`, the losses. Of every time `time_unseen_harm` and
      `time_kept_share`, NaN where nothing is harmed. Of the last checkpoint `end_overlap` and `end_sensitivity`; and
      `matched_time`.
    """
    lost, zero = lost_lanes(found), found["pretrain_zero_loss"].isel({BUDGET: 0}, drop=True)
    at_times = _parts(found[["pretrain_loss_after", "kept_loss_after"]].where(~lost), found, zero)
    at_time = at_times.sel({RATE: time / found.attrs["finetune_steps"]}, method="nearest").drop_vars(RATE)
    matched = _matched(found, level)
    efforts = [at_time, _parts(matched, found, zero)]
    told = {f"end_{name}": found[of].isel({BUDGET: -1}, drop=True) for name, of in MEASURED.items()}
    if "scaled_trace" in found:
        told["end_sensitivity"] = found["scaled_trace"].isel({BUDGET: -1, RATE: 0}, drop=True)
    share = (at_times["kept_excess"] / at_times["loss_excess"]).where(at_times["counted_harm"] > 0)
    told |= {"time_unseen_harm": at_times["unseen_harm"], "time_kept_share": share}
    together = xr.concat(efforts, "effort").assign_coords(effort=texts(EFFORTS))
    return together.assign(told | {"matched_time": matched["matched_time"]})


def _parts(losses: xr.Dataset, found: xr.Dataset, zero: xr.DataArray) -> xr.Dataset:
    """What curves over budgets come to, on their grid; NaN where the last is not known."""
    after, kept = losses["pretrain_loss_after"], losses["kept_loss_after"]
    at_best = {BUDGET: after.fillna(np.inf).argmin(BUDGET)}
    of_all, unseen = _turned(after, zero), _turned(kept, zero)
    known = of_all["least"].notnull()

    def gained(values: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
        end, start = values.isel({BUDGET: -1}, drop=True), values.isel(at_best).drop_vars(BUDGET, errors="ignore")
        return (end - start).where(known), end.where(end > start, start)

    told = {"least_loss": of_all["least"], "last_loss": of_all["last"], "loss_excess": of_all["excess"]}
    told |= {"counted_harm": of_all["harm"], "kept_excess": gained(kept)[0]}
    told |= {f"unseen_{name}": each for name, each in unseen.items()}
    told["spilled"] = (kept - found["kept_loss_before"]).isel({BUDGET: -1}, drop=True)
    for candidate, name in MEASURED.items():
        rise, size = gained(found[name])
        told[f"{candidate}_gain"] = rise / size.where(size > _NONE)
    return xr.Dataset({**told, "tuned_curve": after})


def _turned(curve: xr.DataArray, zero: xr.DataArray) -> dict[str, xr.DataArray]:
    """Least loss, last, excess, and harm that is material next to the loss of the zero network."""
    last = curve.isel({BUDGET: -1}, drop=True)
    known = np.isfinite(last)
    least = curve.min(BUDGET).where(known)
    excess = last - least
    harm = excess / least.where(least > 0)
    counts = material_harm(harm, excess / zero, LEAST_HARM).where(known)
    return {"least": least, "last": last, "excess": excess, "harm": counts}


def _matched(found: xr.Dataset, level: float) -> xr.Dataset:
    """Losses at one rate for all budgets, by which the last checkpoint's fine-tuning loss falls to its share.

    Losses on all features are read between rates by cubics of logarithms, those on some of them, which may be 0, by
    cubics.
    """
    lost = lost_lanes(found)
    share = found["finetune_loss_after"] / found["finetune_loss_before"].isel({BUDGET: -1}, drop=True)
    others = [dim for dim in found["pretrain_loss_after"].dims if dim not in (BUDGET, RATE)]
    losses = {"pretrain_loss_after": found["pretrain_loss_after"], "finetune_loss_after": share}
    losses["kept_loss_after"] = found["kept_loss_after"]
    flat = {name: each.where(~lost, np.inf).transpose(BUDGET, RATE, *others) for name, each in losses.items()}
    shape = flat["kept_loss_after"].shape[2:]
    values = {name: each.values.reshape(*each.shape[:2], -1) for name, each in flat.items()}
    networks = np.arange(values["kept_loss_after"].shape[2])
    coords = {BUDGET: found[BUDGET].values, RATE: found[RATE].values, "seed": networks}
    levels = xr.DataArray([level], {"level": [level]}, ("level",))
    told = at_equal_loss(
        xr.Dataset({name: ((BUDGET, RATE, "seed"), each) for name, each in values.items()}, coords), levels
    ).isel(level=0)
    rates, log = told["rate"].values, np.log(found[RATE].values)
    kept = np.full((len(networks), found.sizes[BUDGET]), np.nan)
    for network in np.flatnonzero(np.isfinite(rates)):
        each = values["kept_loss_after"][:, :, network]
        sound = np.isfinite(each).all(axis=0)
        kept[network] = Akima1DInterpolator(log[sound], each[:, sound], axis=1)(np.log(rates[network]))
    named = {dim: found[dim] for dim in others if dim in found.coords}
    over, along = (*others, BUDGET), {**named, BUDGET: found[BUDGET]}
    curve = told["curve"].transpose("seed", BUDGET).values
    return xr.Dataset(
        {
            "pretrain_loss_after": (over, curve.reshape(*shape, -1)),
            "kept_loss_after": (over, kept.reshape(*shape, -1)),
            "matched_time": (others, rates.reshape(shape) * found.attrs["finetune_steps"]),
        },
        along,
    )
