"""The conclusion on depth and width, from the result alone."""

from __future__ import annotations

import numpy as np
import xarray as xr

HARM = 0.01
"""Harm below this is called none."""
BUDGETS = 3
"""Fewer budgets tell nothing about turns."""


def summarise(dataset: xr.Dataset) -> str:
    """Where overtraining starts and how bad it gets, over depth and over width, beside what theory says."""
    kinds = [str(kind) for kind in dataset["checkpoints"].values]
    rates = dataset["learning_rate"].values
    lines = [
        f"{dataset.attrs['finetune_steps']} steps at rates {rates[0]:.2g} to {rates[-1]:.2g}: most harm of the longest "
        "budget over the rates, and the inflection there",
        f"{'depth':>6} | "
        + " | ".join(f"{kind + ' checkpoints':^27}" for kind in kinds)
        + " | converged | mode learned at",
    ]
    for at, depth in enumerate(dataset["depth"].values):
        cells = [
            _cell(dataset["harm"][k, at].values, dataset["inflection_steps"][k, at].values) for k in range(len(kinds))
        ]
        limit = float(dataset["converged_harm"][at])
        limit = float(dataset["one_layer_harm"][at]) if np.isnan(limit) else limit
        lines.append(
            f"{depth:>6} | " + " | ".join(cells) + f" | {_percent(limit):>9} | {_steps(dataset['onset_steps'][at]):>15}"
        )
    lines += _over_depth(dataset)
    lines.append(
        f"{'width':>6} | "
        + " | ".join(f"{kind + ' checkpoints':^27}" for kind in kinds)
        + " | converged | mode learned at"
    )
    harm, turns = (dataset[f"width_{name}"].median("width_seed").values for name in ("harm", "inflection_steps"))
    for at, width in enumerate(dataset["width"].values):
        cells = [_cell(harm[k, at], turns[k, at]) for k in range(len(kinds))]
        limit = float(dataset["width_converged_harm"][at])
        onset = _steps(dataset["width_onset_steps"][at])
        lines.append(f"{width:>6} | " + " | ".join(cells) + f" | {_percent(limit):>9} | {onset:>15}")
    return "\n".join([*lines, *_over_width(dataset, harm)])


def _over_depth(dataset: xr.Dataset) -> list[str]:
    """What differs between one layer and more, and between two and the deepest."""
    lines, depths, harm = [], list(map(int, dataset["depth"].values)), dataset["harm"][0].values
    finite = np.isfinite(harm)
    if not finite.any():
        return ["Over depth every run diverged: no conclusion."]
    if dataset.sizes["pretrain_steps"] < BUDGETS:
        return ["Over depth: too few budgets to tell."]
    lost = [str(depth) for depth, any_known in zip(depths, finite.any(axis=1), strict=True) if not any_known]
    if lost:
        lines.append(f"Every run diverged at depth {', '.join(lost)}.")
    largest = np.where(finite, harm, np.nan)
    if not np.any(largest > HARM):
        which = "At no other depth" if lost else "At no depth"
        return [*lines, f"{which} does more pre-training hurt."]
    if 1 in depths and str(1) not in lost:
        most = float(np.nanmax(largest[depths.index(1)]))
        bound = float(dataset["one_layer_harm"][depths.index(1)])
        told = f"One layer: harm is at most {_percent(most)}"
        told += f", by theory cot^2 of an angle, {_percent(bound)}" if np.isfinite(bound) else ""
        lines.append(f"{told}; at the largest rate {_percent(float(harm[depths.index(1), -1]))}.")
    deep = [at for at, depth in enumerate(depths) if depth > 1]
    if len(deep) > 1:
        turns = dataset["inflection_steps"][0].values
        spans = []
        for at in (deep[0], deep[-1]):
            known = turns[at][(largest[at] > 10 * HARM) & np.isfinite(turns[at])]
            ends = f"{known.min():.0f} to {known.max():.0f} steps" if len(known) else "no turn"
            spans.append(f"{depths[at]} layers {_percent(float(harm[at, -1]))} at the largest rate, inflections {ends}")
        lines.append("Equal rates: " + "; ".join(spans) + " (harm above 10 %).")
        lines.append(_equal_shares(dataset, deep))
    off = _off(dataset["predicted_inflection_steps"].values / dataset["inflection_steps"][0].values)
    return [*lines, f"Closed form and simulated inflections differ by {off}."] if off else lines


def _equal_shares(dataset: xr.Dataset, deep: list[int]) -> str:
    """Harm at the same rate x top curvature, interpolated in the logarithm of the rate."""
    shares = dataset["learning_rate"].values / dataset["stable_rate"].values[:, None]
    low, high = shares[deep, 0].max(), shares[deep, -1].min()
    if not low < high:
        return "No rate x curvature is within the rates of all depths."
    at = float(np.sqrt(low * high))
    harm = [float(np.interp(np.log(at), np.log(shares[depth]), dataset["harm"][0, depth].values)) for depth in deep]
    each = ", ".join(
        f"{int(dataset['depth'][depth])}: {_percent(value)}" for depth, value in zip(deep, harm, strict=True)
    )
    return f"Equal rate x curvature, {at:.2g} of the stable one: harm by depth {each}."


def _over_width(dataset: xr.Dataset, harm: np.ndarray) -> list[str]:
    """Which widths see no harm, and whether wider networks turn earlier."""
    widths = dataset["width"].values
    known_at = np.isfinite(harm[0]).any(axis=1)
    if not known_at.any():
        return ["Over width every run diverged: no conclusion."]
    if dataset.sizes["width_pretrain_steps"] < BUDGETS:
        return ["Over width: too few budgets to tell."]
    lost = ", ".join(map(str, widths[~known_at]))
    most = np.where(np.isfinite(harm[0]), harm[0], 0.0).max(axis=1)
    none = ", ".join(map(str, widths[known_at & ~(most > HARM)])) or "none"
    said = f"; every run diverged at width {lost}" if lost else ""
    lines = [f"Widths without harm: {none}{said} (median of {dataset.sizes['width_seed']} seeds)."]
    turns = dataset["width_inflection_steps"][0].median("width_seed").values
    known = [(at, np.nan_to_num(harm[0, at], posinf=0.0).argmax()) for at in range(len(widths))]
    rate = known[-1][1]
    shown = [(int(widths[at]), turns[at, rate]) for at, _ in known if np.isfinite(turns[at, rate])]
    if len(shown) > 1:
        (narrow, late), (wide, early) = shown[0], shown[-1]
        how = "earlier" if early < late else "no earlier"
        lines.append(
            f"Wider turns {how}, at rate {float(dataset['learning_rate'][rate]):.2g}: "
            f"width {narrow} at {late:.0f} steps, {wide} at {early:.0f}."
        )
    off = _off((dataset["width_predicted_inflection_steps"].values / turns)[harm[0] > 10 * HARM])
    if off:
        told = "Inflections from the mean start, as if layers were aligned, are off by"
        lines.append(f"{told} {off} (harm above 10 %).")
    return lines


def _off(ratio: np.ndarray) -> str:
    """By how much the larger is above the smaller, in the median and at most; empty if no ratio is known."""
    error = np.expm1(np.abs(np.log(ratio[np.isfinite(ratio)])))
    if not len(error):
        return ""
    middle, most = (
        f"{100 * off:.2g} %" if off < 5e-4 else _percent(off) for off in (float(np.median(error)), float(error.max()))
    )
    return f"{middle} in the median, at most {most}"


def _cell(harm: np.ndarray, steps: np.ndarray) -> str:
    if not np.isfinite(harm).any():
        return f"{'diverged':^27}"
    worst = int(np.nanargmax(np.where(np.isfinite(harm), harm, np.nan)))
    if harm[worst] < HARM:
        return f"{'none':^27}"
    return f"{_percent(float(harm[worst])):>8} turning at {_steps(steps[worst]):>7}"


def _steps(value: xr.DataArray | float) -> str:
    return f"{float(value):.0f}" if np.isfinite(float(value)) else "-"


def _percent(harm: float) -> str:
    if not np.isfinite(harm):
        return "-"
    return "0 %" if harm < 5e-4 else f"{100 * harm:.2g} %" if harm < 1 else f"{100 * harm:.0f} %"
