"""The message of a chart in a dozen lines of plain text."""

from __future__ import annotations

import numpy as np
import xarray as xr


def summarise(dataset: xr.Dataset) -> str:
    """The message in a dozen lines: inflection budget and harm at a few rates and strengths, median over seeds."""
    rates = _spread(dataset.sizes["learning_rate"], 7)
    columns = _spread(dataset.sizes["regularization"], 5)
    steps, harm = dataset["inflection_steps"], dataset["harm"]
    lines = [
        "Pre-training steps after which more pre-training does harm, and the harm done by the largest budget",
        f"(pre-training loss after fine-tuning, at {int(dataset['pretrain_steps'][-1])} steps / at best - 1)",
        "",
        f"{'fine-tuning rate':>16} | {dataset.attrs['regularizer'].replace('_', ' ')} strength",
        " " * 17 + "|" + "".join(f"{value:>18.3g}" for value in dataset["regularization"].values[columns]),
    ]
    for rate in rates:
        cells = [_cell(steps.values[rate, column], harm.values[rate, column]) for column in columns]
        lines.append(f"{dataset['learning_rate'].values[rate]:>16.2g} |" + "".join(f"{cell:>18}" for cell in cells))
    return "\n".join([*lines, "", _verdict(dataset), *rechecked(dataset)])


def rechecked(dataset: xr.Dataset) -> list[str]:
    """What the sample that was computed again says, loudly where the result cannot be trusted."""
    told = dataset.attrs
    if not told.get("recheck_lanes"):
        reason = told.get("recheck_by", "").removeprefix("nothing: ")
        return [f"No lane was computed again: {reason}."] if reason else []
    by, count, deviation = told["recheck_by"], told["recheck_lanes"], told["recheck_deviation"]
    line = f"{count} random lanes computed again by {by} deviate by up to {deviation:.1e} of the zero network's loss."
    if told["recheck_trusted"]:
        return [line]
    chaos = "or the rate is so large that rounding decides"
    way_out = "use --precision float64" if told["precision"] == "float32" else "one of the two solvers is wrong here"
    where = f"{told['recheck_apart']} of them by more than rounding, the worst at {told['recheck_worst']}"
    return [line, f"DO NOT TRUST THIS RESULT; {way_out}, {chaos}: {where}."]


def _cell(steps: np.ndarray, harm: np.ndarray) -> str:
    if np.isnan(harm).all():
        return "diverged"
    turned = ~np.isnan(steps)
    if not turned.any():
        return "no turn"
    few = f" ({turned.sum()}/{len(steps)})" if not turned.all() else ""
    middle = float(np.median(harm[turned]))
    cost = "diverges" if np.isinf(middle) else f"{100 * middle:+.{0 if middle >= 1 else 1}f}%"
    return f"{np.median(steps[turned]):.0f}{few}, {cost}"


def computed(dataset: xr.Dataset) -> str:
    """What the chart's losses come from, beside the prediction: steps, or the flow from budget to budget."""
    return "flow" if dataset.attrs.get("solver") == "flow" else "simulation"


def _verdict(dataset: xr.Dataset) -> str:
    """One sentence on the whole chart, one on the closed form."""
    harm, steps = dataset["harm"].values, dataset["inflection_steps"].values
    turned = ~np.isnan(steps)
    share = f"{turned.sum()} of {turned.size} cells turn"
    worst = (
        f"; harm is above 10 % on {np.mean(np.nan_to_num(harm, nan=0.0) > 0.1):.0%} of them all" if turned.any() else ""
    )
    diverged = int(dataset["diverged"].sum())
    flagged = f"; {diverged} of {dataset['diverged'].size} fine-tuning runs diverged" if diverged else ""
    if "predicted_harm" not in dataset:
        return f"{share}{worst}{flagged}. Closed form: {dataset.attrs['prediction']}."
    curves = (
        dataset["pretrain_loss_after"].where(~dataset["diverged"], np.inf),
        dataset["predicted_pretrain_loss_after"],
    )
    simulated, closed = (
        np.argmin(np.maximum(curve.values, dataset.attrs["rounding_floor"]), axis=0) for curve in curves
    )
    described = dataset["predicted_harm"].notnull().values
    watched = (turned | dataset["predicted_inflection_steps"].notnull().values) & described
    if not watched.any():
        return f"{share}{worst}{flagged}; in closed form none does."
    same = f"the same best budget on {np.mean((simulated == closed)[watched]):.1%} of those it describes"
    return f"{share}{worst}{flagged}. Closed form and {computed(dataset)} have {same}."


def _spread(size: int, most: int) -> np.ndarray:
    return np.unique(np.linspace(0, size - 1, min(size, most)).round().astype(int))
