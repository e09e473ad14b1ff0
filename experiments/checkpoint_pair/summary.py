"""What became of the pairs of checkpoints, in a dozen lines computed from the result alone."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ..words import wrapped

_FEWEST = 3
"""Budgets that an inflection takes."""


def summarise(dataset: xr.Dataset) -> str:
    """How many pairs behave as OLMo-1B's did at each rate, the matched pairs, where it stops, the fine-tuning loss."""
    data = dataset.isel(regularization=0)
    margin = data.attrs["margin"]
    pairs = data["later_steps"].notnull().values
    if not pairs.any():
        return f"No two of these budgets are a factor {data.attrs['factor']:g} apart: there is no pair to look at."
    actual = (data["later_steps"] / data["pretrain_steps"]).values[pairs]
    seeds = "the one seed" if data.sizes["seed"] == 1 else f"all {data.sizes['seed']} seeds"
    lost = data["diverged"].transpose("learning_rate", "pretrain_steps", "seed").values
    every_lost = [bool(each.all()) for each in lost]
    if data.sizes["pretrain_steps"] < _FEWEST:
        return "Too few budgets to tell what becomes of pairs of checkpoints."
    if lost.all():
        return f"All {lost.size} fine-tuning runs diverged: nothing follows on pairs of checkpoints."
    rates, shares = data["learning_rate"].values, data["share"].values
    found = ", ".join(
        f"{'diverged' if every else f'{share:.0%}'} at {rate:.2g}"
        for share, rate, every in zip(shares, rates, every_lost, strict=True)
    )
    factor = _between(actual, 2)
    what = (
        f"{factor} times the pre-training lowers the base loss and makes the result of the same fine-tuning over "
        f"{margin:.0%} (and {data.attrs['least_rise']:.1%} of the zero network's loss) worse"
    )
    of = f"{pairs.sum()} pairs (factor {_between(actual)})"
    lines = [
        f"{what}, in {seeds}, for this share of {of}: {found}."
        if shares.any()
        else f"No pair {'without divergence ' if lost.any() else ''}does it: {what}, in {seeds}, for none of {of}, "
        "at no rate.",
        *_matched(data),
        *(_where(data.isel(learning_rate=int(np.argmax(shares)))) if shares.any() else []),
        _finetuning(data),
    ]
    if "predicted_pretrain_loss_after" in data and shares.any():
        lines += _closed_form(data)
    if lost.any():
        lines.append(f"{lost.sum()} of {lost.size} fine-tuning runs diverged.")
    lines.append("Steps stand for no tokens: only the ratios of budgets are OLMo-1B's, and sizes of change are not.")
    return "\n".join(map(wrapped, lines))


def _between(values: np.ndarray, digits: int = 3) -> str:
    low, high = f"{values.min():.{digits}g}", f"{values.max():.{digits}g}"
    return low if low == high else f"{low} to {high}"


def _matched(data: xr.Dataset) -> list[str]:
    """The pair at every rate whose inflection lies nearest to where OLMo-1B's did, and how near that is."""
    lines = []
    for rate in data["learning_rate"].values:
        cell = data.sel(learning_rate=rate)
        if np.isnan(cell["matched_steps"]):
            continue
        pair = cell.sel(pretrain_steps=float(cell["matched_steps"]))
        seeds = int(pair["behaves"].sum())
        rise = float(pair["result_rise"].median())
        reached = float(cell["inflection_steps"].median("seed") / cell["matched_steps"])
        lines += [
            f"  rate {rate:.2g}: {int(pair['pretrain_steps'])} -> {int(pair['later_steps'])} steps, inflection at "
            f"{reached:.3g}: base {_percent(pair['base_change'])}, fine-tuning {_percent(pair['finetune_change'])},",
            f"    result {_percent(pair['result_change'])}: {seeds} of {data.sizes['seed']} seeds do so, {rise:+.2g} "
            "of the zero network's loss",
        ]
    turn = data.attrs["turn"]
    if not lines:
        return [f"No pair has an inflection point at {turn:g} times its earlier budget, to half a step of the budgets."]
    return [f"Inflection nearest to {turn:g} times the earlier budget (median of the seeds):", *lines]


def _where(cell: xr.Dataset) -> list[str]:
    """At which budgets the pairs behave so at the rate with most, and what they do elsewhere."""
    pairs = cell["later_steps"].notnull().values
    budgets, keep = cell["pretrain_steps"].values[pairs], cell["behaves"].values[pairs].all(axis=-1)
    change = np.median(cell["result_change"].values[pairs], axis=-1)
    first, last = np.flatnonzero(keep)[[0, -1]]
    inner = ~keep[first : last + 1]
    gaps = f"all but {inner.sum()} of" if inner.any() else "all of"
    said = [
        f"At rate {float(cell['learning_rate']):.2g}: {gaps} the {last + 1 - first} pairs whose earlier budget is "
        f"{budgets[first]} to {budgets[last]} steps."
    ]
    if first:
        better = int((change[:first] < 0).sum())
        said.append(f"Earlier, the longer one is better after fine-tuning too in {better} of {first}.")
    if last + 1 < len(keep):
        left = np.abs(change[last + 1 :]).max()
        said.append(f"Later, nothing changes by more than {left:.1%}.")
    return [" ".join(said)]


def _finetuning(data: xr.Dataset) -> str:
    """Whether the longer one is worse on the fine-tuning task, too."""
    keep = data["behaves"].all("seed").values
    tuned = data["finetune_change"].values
    if not keep.any():
        known = tuned[np.isfinite(tuned)]
        if not known.size:
            return "Nothing follows on the fine-tuning loss: runs diverged."
        worse = float(np.mean(known > 1e-6))
        return f"The fine-tuning loss is larger for the longer one in {worse:.0%} of all pairs that did not diverge."
    worse = int((tuned[keep] > 1e-6).all(axis=-1).sum())
    return (
        f"The longer one is worse on the fine-tuning task itself in {worse} of these {keep.sum()}: "
        + ("unlike" if worse == 0 else "not always as" if worse < keep.sum() else "like")
        + " OLMo-1B, worse on it and beyond."
    )


def _closed_form(data: xr.Dataset) -> list[str]:
    """The same pairs in closed form."""
    change, pairs = data["predicted_result_change"].values, data["later_steps"].notnull().values
    described = np.isfinite(change[pairs]).all(axis=(0, 2))[None, :] & pairs[:, None]
    rise = change * np.maximum(data["predicted_pretrain_loss_after"], data.attrs["rounding_floor"]) / data["zero_loss"]
    predicted = ((change > data.attrs["margin"]) & (rise.values > data.attrs["least_rise"])).all(axis=-1)
    worse = (data["result_change"] > data.attrs["margin"]) & (data["result_rise"] > data.attrs["least_rise"])
    simulated = worse.all("seed").values
    same = (predicted == simulated)[described]
    if not described.any():
        return []
    return [f"The closed form says the same of {same.mean():.1%} of the {same.size} pairs it describes."]


def _percent(values: xr.DataArray) -> str:
    """Median over the seeds, and the range where there is one."""
    low, middle, high = (100 * float(getattr(values, each)()) for each in ("min", "median", "max"))
    digits = 0 if abs(middle) >= 10 else 1
    spread = f" ({low:+.{digits}f} to {high:+.{digits}f})" if values.size > 1 else ""
    return f"{middle:+.{digits}f} %{spread}"
