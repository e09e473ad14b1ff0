"""What losses over budgets come to, and whether harm goes with overlap, with sensitivity, or with neither."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import xarray as xr
from scipy.interpolate import Akima1DInterpolator
from scipy.stats import rankdata

from linsim.labels import PLAIN, Label, lost_lanes, texts
from linsim.theory.turns import LEAST_EXCESS, LEAST_HARM

from ..rich_and_lazy.matching import at_equal_loss

CANDIDATES = ("overlap", "sensitivity")
MEASURED = {"overlap": "feature_overlap", "sensitivity": "hessian_trace"}
EFFORTS = ("fixed time", "matched effort")
BUDGET, RATE = "pretrain_steps", "learning_rate"
CURVES = (
    *("least_loss", "last_loss", "loss_excess", "counted_harm", "kept_excess", "spilled"),
    *("end_overlap", "end_sensitivity", "matched_time"),
)
"""Of `curves`, without those that are over budgets."""
_NONE = 1e-9  # of overlap: rounding

LABELS = {
    "candidate": Label("what harm may go with"),
    "effort": Label("how long fine-tuning is"),
    "gain": Label("rise from the best budget to the last, over the larger", PLAIN),
    "across": Label("rank correlation with harm between networks", PLAIN),
    "partial": Label("the same at given ranks of the other", PLAIN),
    "within": Label("rank correlation with forgetting over the budgets", PLAIN),
    "rise": Label("rise of harm where this alone is more", PLAIN),
    "kept_share": Label("share of the excess on features that fine-tuning does not see", PLAIN),
}


def curves(found: xr.Dataset, time: float, level: float) -> xr.Dataset:
    """What losses over budgets come to, after a fixed flow time and at matched effort.

    Args:
      found: losses over budgets, rates and whatever else.
      time: flow time of fine-tuning.
      level: share of the last checkpoint's fine-tuning loss before fine-tuning, to which one rate for all budgets
        takes it: matched effort.

    Returns:
      Over `effort`: `least_loss`, `last_loss`, `loss_excess`, `counted_harm`, 0 where it is immaterial, `kept_excess`,
      what of the excess is on features that fine-tuning does not see, `overlap_gain` and `sensitivity_gain` from the
      best budget to the last, over the larger, `spilled`, the rise of the loss on those features at the last budget,
      and `tuned_curve`, the losses. Of the last checkpoint `end_overlap` and `end_sensitivity`; and `matched_time`.
    """
    lost, zero = lost_lanes(found), found["pretrain_zero_loss"].isel({BUDGET: 0}, drop=True)
    at_time = found[["pretrain_loss_after", "kept_loss_after"]].where(~lost)
    at_time = at_time.sel({RATE: time / found.attrs["finetune_steps"]}, method="nearest").drop_vars(RATE)
    matched = _matched(found, level)
    efforts = [_parts(each, found, zero) for each in (at_time, matched)]
    told = {f"end_{name}": found[of].isel({BUDGET: -1}, drop=True) for name, of in MEASURED.items()}
    if "scaled_trace" in found:
        told["end_sensitivity"] = found["scaled_trace"].isel({BUDGET: -1, RATE: 0}, drop=True)
    together = xr.concat(efforts, "effort").assign_coords(effort=texts(EFFORTS))
    return together.assign(told | {"matched_time": matched["matched_time"]})


def _parts(losses: xr.Dataset, found: xr.Dataset, zero: xr.DataArray) -> xr.Dataset:
    """What curves over budgets come to, on their grid; NaN where the last is not known."""
    after, kept = losses["pretrain_loss_after"], losses["kept_loss_after"]
    last = after.isel({BUDGET: -1}, drop=True)
    known = np.isfinite(last)
    at_best = {BUDGET: after.fillna(np.inf).argmin(BUDGET)}
    least = after.min(BUDGET).where(known)
    excess = last - least
    harm = excess / least.where(least > 0)
    small = (harm <= LEAST_HARM) | (excess <= LEAST_EXCESS * zero)

    def gained(values: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
        end, start = values.isel({BUDGET: -1}, drop=True), values.isel(at_best).drop_vars(BUDGET, errors="ignore")
        return (end - start).where(known), end.where(end > start, start)

    told = {"least_loss": least, "last_loss": last, "loss_excess": excess}
    told |= {"counted_harm": harm.where(~small, 0.0).where(known), "kept_excess": gained(kept)[0]}
    told["spilled"] = (kept - found["kept_loss_before"]).isel({BUDGET: -1}, drop=True)
    for candidate, name in MEASURED.items():
        rise, size = gained(found[name])
        told[f"{candidate}_gain"] = rise / size.where(size > _NONE)
    return xr.Dataset({**told, "tuned_curve": after})


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


def relations(found: xr.Dataset) -> xr.Dataset:
    """Rank correlations of harm with both candidates, between networks and over the budgets of each.

    What is told of each network by itself, `within`, `gain` and `kept_share`, is the median over those that have harm
    and fewer hidden units than features, if there are such, as of others superposition says nothing.

    Returns:
      `across`, `partial`, `within` and `gain` over (candidate, effort, seed), `kept_share` over (effort, seed).
    """
    order = ("effort", "seed", "shift", "geometry", "width")
    harm = found["counted_harm"].transpose(*order)
    at_end = [found[f"end_{name}"].transpose(*order[1:]).values for name in CANDIDATES]
    shape = len(CANDIDATES), *harm.shape[:2]
    told = {name: np.full(shape, np.nan) for name in ("across", "partial")}
    for effort, seed in product(*map(range, shape[1:])):
        rows, given = [], []
        for shift in range(found.sizes["shift"]):
            y, x = harm.values[effort, seed, shift].ravel(), [each[seed, shift].ravel() for each in at_end]
            pair, between = [correlation(each, y) for each in x], correlation(*x)
            rows.append(pair)
            given.append([_given(pair[0], pair[1], between), _given(pair[1], pair[0], between)])
        told["across"][:, effort, seed], told["partial"][:, effort, seed] = _mean(rows), _mean(given)
    narrow = found["width"] < found.attrs["features"]
    use = (harm > 0) & (narrow if bool(narrow.any()) else ~narrow)
    forgetting = found["tuned_curve"] - found["pretrain_loss_before"]
    told["within"] = np.array([_over_budgets(found[MEASURED[name]], forgetting, use) for name in CANDIDATES])
    told["gain"] = np.array([_middle(found[f"{name}_gain"], use) for name in CANDIDATES])
    dims = ("candidate", "effort", "seed")
    coords = {"candidate": texts(CANDIDATES), "effort": texts(EFFORTS), "seed": np.arange(found.sizes["seed"])}
    share = _middle(found["kept_excess"] / found["loss_excess"], use)
    both = {name: (dims, each) for name, each in told.items()}
    return xr.Dataset({**both, "kept_share": (dims[1:], share)}, coords)


def rises(turned: xr.Dataset, scaled: xr.Dataset) -> xr.DataArray:
    """Harm at the largest turn less that at the first; at the outer scales of layers, in the mean, less at c = 1."""
    harm = turned["counted_harm"]
    overlap = harm.isel(turn=-1) - harm.isel(turn=0)
    harm = scaled["counted_harm"]
    outer = harm.isel(layer_scale=[0, -1]).mean("layer_scale", skipna=False)
    sensitivity = outer - harm.sel(layer_scale=1.0)
    parts = [each.drop_vars(["turn", "layer_scale"], errors="ignore") for each in (overlap, sensitivity)]
    together = xr.concat(parts, "candidate").assign_coords(candidate=texts(CANDIDATES))
    return together.transpose("candidate", "effort", "seed")


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's, of what both know; NaN for fewer than three, or where one does not vary."""
    known = np.isfinite(first) & np.isfinite(second)
    ranks = [rankdata(np.round(each[known], 9)) for each in (first, second)]
    if known.sum() < 3 or min(np.ptp(each) for each in ranks) == 0:
        return float("nan")
    return float(np.corrcoef(*ranks)[0, 1])


def _given(own: float, other: float, between: float) -> float:
    """A correlation at given values of another variable."""
    left = (1 - other**2) * (1 - between**2)
    return (own - other * between) / float(np.sqrt(left)) if left > 1e-12 else float("nan")


def _over_budgets(measure: xr.DataArray, forgetting: xr.DataArray, use: xr.DataArray) -> np.ndarray:
    """Medians over networks, for each effort and seed."""
    order = (*use.dims, BUDGET)
    other, chosen = forgetting.transpose(*order).values, use.values
    one = np.broadcast_to(measure.transpose(*order[1:]).values, other.shape)
    found = np.full(chosen.shape, np.nan)
    for place in map(tuple, np.argwhere(chosen)):
        found[place] = correlation(one[place], other[place])
    return _medians(found)


def _middle(values: xr.DataArray, use: xr.DataArray) -> np.ndarray:
    return _medians(values.where(use).transpose(*use.dims).values)


def _medians(values: np.ndarray) -> np.ndarray:
    """Of what is known, for each effort and seed."""
    flat = values.reshape(*values.shape[:2], -1)
    return np.array(
        [[np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else np.nan for row in each] for each in flat]
    )


def _mean(rows: list[list[float]]) -> Any:
    """Over shifts that tell."""
    told = np.asarray(rows)
    known = np.isfinite(told)
    counts = known.sum(axis=0)
    return np.where(counts > 0, np.where(known, told, 0).sum(axis=0) / np.maximum(counts, 1), np.nan)
