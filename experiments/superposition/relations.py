"""Whether harm goes with overlap, with sensitivity, or with neither, and what changing one alone does to it."""

from __future__ import annotations

import warnings
from itertools import product
from typing import Any

import numpy as np
import xarray as xr
from scipy.stats import rankdata

from linsim.labels import PLAIN, Label, texts

from .reading import BUDGET, EFFORTS, MEASURED, RATE

CANDIDATES = tuple(MEASURED)
_OF = {"": "counted_harm", "unseen_": "unseen_harm"}
_RANKS = ("across", "in_width", "in_geometry", "partial")

LABELS = {
    "candidate": Label("what harm may go with"),
    "effort": Label("how long fine-tuning is"),
    "gain": Label("rise from the best budget to the last, over the larger", PLAIN),
    "across": Label("rank correlation with harm between networks", PLAIN),
    "in_width": Label("the same between networks of one width, in the mean over widths", PLAIN),
    "in_geometry": Label("the same between networks on one geometry, in the mean over geometries", PLAIN),
    "partial": Label("the same at given ranks of the other", PLAIN),
    "unseen_across": Label("rank correlation with harm to the loss on features not seen, between networks", PLAIN),
    "unseen_in_width": Label("the same between networks of one width, in the mean over widths", PLAIN),
    "unseen_in_geometry": Label("the same between networks on one geometry, in the mean over geometries", PLAIN),
    "unseen_partial": Label("the same at given ranks of the other", PLAIN),
    "within": Label("rank correlation with forgetting over the budgets", PLAIN),
    "within_budget": Label("rank correlation of the budget itself with forgetting", PLAIN),
    "kept_share": Label("share of the excess on features that fine-tuning does not see", PLAIN),
    "unseen_narrow": Label("harm to the loss on features not seen, narrow networks", PLAIN),
    "unseen_wide": Label("harm to the loss on features not seen, networks at least as wide as the features", PLAIN),
    "unseen_narrow_over_times": Label("harm to the loss on features not seen, narrow networks", PLAIN),
    "unseen_across_over_times": Label("its rank correlation with overlap between networks", PLAIN),
    "unseen_in_width_over_times": Label("the same between networks of one width", PLAIN),
    "kept_share_over_times": Label("share of the excess on features that fine-tuning does not see", PLAIN),
}


def relations(found: xr.Dataset) -> xr.Dataset:
    """Rank correlations of harm with both candidates, between networks and over the budgets of each, shift by shift.

    What is told of each network by itself is the median over those with fewer hidden units than features, if there are
    such, as of others superposition says nothing: `within`, `gain` and `kept_share` of those that have harm,
    `unseen_narrow` of all.

    Returns:
      Over (candidate, effort, shift, seed): `across`, `in_width`, `in_geometry` and `partial` of the loss on all
      features, the same after `unseen_` of the loss on those that fine-tuning does not see, `within` and `gain`. Over
      (effort, shift, seed): `kept_share`, `unseen_narrow`, `unseen_wide` and `within_budget`. And what
      `over_times` tells.
    """
    order = ("effort", "shift", "seed", "geometry", "width")
    at_end = [found[f"end_{name}"].transpose(*order[1:]).values for name in CANDIDATES]
    told: dict[str, Any] = {}
    for before, name in _OF.items():
        ranks = _ranks(found[name].transpose(*order).values, at_end)
        told |= {f"{before}{one}": (("candidate", *order[:3]), each) for one, each in ranks.items()}
    narrow = found["width"] < found.attrs["features"]
    chosen = narrow if bool(narrow.any()) else ~narrow
    use = ((found["counted_harm"] > 0) & chosen).transpose(*order)
    forgetting = found["tuned_curve"] - found["pretrain_loss_before"]
    budgets = found[BUDGET] + 0.0 * found[MEASURED["overlap"]]
    within = np.array([_over_budgets(found[MEASURED[name]], forgetting, use) for name in CANDIDATES])
    gain = np.array([_middle(found[f"{name}_gain"], use) for name in CANDIDATES])
    told |= {"within": (("candidate", *order[:3]), within), "gain": (("candidate", *order[:3]), gain)}
    told["within_budget"] = (order[:3], _over_budgets(budgets, forgetting, use))
    told["kept_share"] = (order[:3], _middle(found["kept_excess"] / found["loss_excess"], use))
    unseen = found["unseen_harm"].transpose(*order)
    told["unseen_narrow"] = (order[:3], _middle(unseen, xr.broadcast(chosen, unseen)[0].transpose(*order)))
    told["unseen_wide"] = (order[:3], _middle(unseen, xr.broadcast(~narrow, unseen)[0].transpose(*order)))
    coords = {"candidate": texts(CANDIDATES), "effort": texts(EFFORTS), "seed": np.arange(found.sizes["seed"])}
    return xr.Dataset(told, coords).merge(over_times(found, found.attrs["features"], "shift"))


def over_times(found: xr.Dataset, features: int, over: str) -> xr.Dataset:
    """What is told of features not seen at every flow time of fine-tuning.

    Args:
      found: of `reading.curves`.
      features: those with fewer hidden units are narrow.
      over: shifts, or factors, of which names begin with it.

    Returns:
      Over (learning_rate, `over`, seed), `NAME_over_times`: `unseen_narrow` and `kept_share`, medians over narrow
      networks, and `unseen_across` and `unseen_in_width`, rank correlations with overlap.
    """
    order = (RATE, over, "seed", "geometry", "width")
    harm, share = (found[f"time_{name}"].transpose(*order) for name in ("unseen_harm", "kept_share"))
    narrow = found["width"] < features
    use = xr.broadcast(narrow if bool(narrow.any()) else ~narrow, harm)[0].transpose(*order)
    ranks = _ranks(harm.values, [found["end_overlap"].transpose(*order[1:]).values])
    told = {"unseen_narrow": _middle(harm, use), "kept_share": _middle(share, use)}
    told |= {f"unseen_{name}": ranks[name][0] for name in ("across", "in_width")}
    before = "" if over == "shift" else f"{over}_"
    variables = {f"{before}{name}_over_times": (order[:3], each) for name, each in told.items()}
    coords = {name: found[name] for name in (RATE, over) if name in found.coords}
    return xr.Dataset(variables, coords | {"seed": np.arange(found.sizes["seed"])})


def _ranks(harm: np.ndarray, at_end: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Rank correlations over (candidate, effort or time, shift, seed), of networks of (geometry, width)."""
    told = {name: np.full((len(at_end), *harm.shape[:3]), np.nan) for name in _RANKS}
    for place in product(*map(range, harm.shape[:3])):
        y, given = harm[place], [each[place[1:]] for each in at_end]
        for number, x in enumerate(given):
            told["across"][(number, *place)] = correlation(x.ravel(), y.ravel())
            told["in_width"][(number, *place)] = _mean([correlation(*each) for each in zip(x.T, y.T, strict=True)])
            told["in_geometry"][(number, *place)] = _mean([correlation(*each) for each in zip(x, y, strict=True)])
        if len(given) == 2:
            between = correlation(given[0].ravel(), given[1].ravel())
            one, other = (float(told["across"][(number, *place)]) for number in range(2))
            told["partial"][(0, *place)] = _given(one, other, between)
            told["partial"][(1, *place)] = _given(other, one, between)
    return told


def rises(turned: xr.Dataset, scaled: xr.Dataset) -> xr.Dataset:
    """What both losses' harm does where overlap alone is more, and where sensitivity alone is.

    Returns:
      Over (effort, draw) `overlap_rise` and `overlap_unseen_rise`, harm at the largest turn less that at the first.
      Over (effort, seed) `sensitivity_rise` and `sensitivity_unseen_rise`, harm at the outer scales of layers, in the
      mean, less that at c = 1.
    """
    told = {}
    for name, which in (("rise", "counted_harm"), ("unseen_rise", "unseen_harm")):
        harm = turned[which]
        told[f"overlap_{name}"] = harm.isel(turn=-1, drop=True) - harm.isel(turn=0, drop=True)
        harm = scaled[which]
        outer = harm.isel(layer_scale=[0, -1]).mean("layer_scale", skipna=False)
        told[f"sensitivity_{name}"] = outer - harm.sel(layer_scale=1.0, drop=True)
    return xr.Dataset(told)


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
    """Medians over networks, for each effort, shift and seed."""
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
    """Over the networks of (geometry, width), of what is known."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # nothing known is an answer here
        return np.asarray(np.nanmedian(np.where(np.isfinite(values), values, np.nan), axis=(-2, -1)))


def _mean(values: list[float]) -> float:
    """Of those that tell."""
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")
