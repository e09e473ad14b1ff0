"""After how many pre-training steps does more pre-training do harm, at which fine-tuning rate and regularisation?

    python -m experiments.overtraining_chart --out DIR

pre-trains once, fine-tunes from every budget at every learning rate and strength, locates the inflection point of every
curve of pre-training loss after fine-tuning, and predicts it in closed form where theory allows.
"""

from __future__ import annotations

import sys

import numpy as np
import xarray as xr

from linsim.commands.building import build_chart
from linsim.commands.config import ChartConfig as Config
from linsim.commands.transfers import build_transfer
from linsim.finding import Finding
from linsim.labels import computed
from linsim.progress.showing import Progress

from .experiment import Experiment
from .words import NEGLIGIBLE, distrust, diverged, percent, rechecked, undecided

HARMFUL = 0.1
"""Harm from which on a cell is counted as harmful."""


def compute(config: Config, report: Progress | None = None) -> xr.Dataset:
    """The chart of a configuration; `InvalidInput` for a field outside its domain."""
    return build_chart(config, build_transfer(config), report)


def find(dataset: xr.Dataset) -> Finding:
    """In how many cells (rate, strength) more pre-training hurts, and how much at worst; medians over seeds."""
    details, trust = (*closed_form(dataset), *diverged(dataset), *rechecked(dataset)), distrust(dataset)
    if (nothing := undecided(dataset, details=details, trust=trust)) is not None:
        return nothing
    harm = dataset["harm"].median("seed").where(turning(dataset))
    cells, turned = harm.size, int(harm.notnull().sum())
    harmful, finite = int((harm >= HARMFUL).sum()), harm.where(np.isfinite(harm))
    worst = float(finite.max()) if finite.notnull().any() else 0.0
    numbers = {"cells": cells, "turned": turned, "harmful": harmful, "harm": worst}
    if turned == 0:
        sentence = f"More pre-training never hurts within these budgets: none of {cells} cells turns"
        return Finding(sentence, "not seen", numbers, details, trust)
    if not harmful and worst < NEGLIGIBLE:
        sentence = f"More pre-training hardly hurts: {turned} of {cells} cells turn, by {percent(worst)} at most"
        return Finding(sentence, "not seen", numbers, details, trust)
    sentence = f"More pre-training makes the fine-tuned model worse in {turned} of {cells} cells"
    sentence += f", by {percent(HARMFUL)} or more in {harmful}"
    if worst:
        at = finite.isel(finite.argmax(["learning_rate", "regularization"]))
        numbers |= {"learning_rate": float(at["learning_rate"]), "regularization": float(at["regularization"])}
        sentence += f" and by {percent(worst)} at worst (rate {numbers['learning_rate']:.2g}, strength "
        sentence += f"{numbers['regularization']:.2g})"
    return Finding(sentence, "seen", numbers, details, trust)


def turning(dataset: xr.Dataset) -> xr.DataArray:
    """Whether more than half of a cell's seeds turn, of those that did not diverge at every budget."""
    known = (~dataset["diverged"].all("pretrain_steps")).sum("seed")
    turned: xr.DataArray = 2 * dataset["inflection_steps"].notnull().sum("seed") > known
    return turned


def closed_form(dataset: xr.Dataset) -> list[str]:
    """A line on whether closed form and simulation have the same best budgets, or why there is no closed form."""
    if "predicted_harm" not in dataset:
        return [f"Closed form: {dataset.attrs['prediction']}."]
    simulated, closed = (
        np.maximum(curve, dataset.attrs["rounding_floor"]).argmin("pretrain_steps")
        for curve in (
            dataset["pretrain_loss_after"].where(~dataset["diverged"], np.inf),
            dataset["predicted_pretrain_loss_after"].fillna(np.inf),
        )
    )
    turned = dataset["inflection_steps"].notnull() | dataset["predicted_inflection_steps"].notnull()
    watched = (turned & dataset["predicted_harm"].notnull()).transpose(*simulated.dims).values
    if not watched.any():
        return ["In closed form no curve turns."]
    same = np.mean((simulated == closed).values[watched])
    ways = f"Closed form and {computed(dataset)}"
    return [f"{ways} have the same best budget on {100 * same:.1f} % of the turning curves it describes."]


def table(dataset: xr.Dataset) -> list[str]:
    """Inflection budget and harm at a few rates and strengths, medians over seeds."""
    rates, columns = _some(dataset.sizes["learning_rate"], 7), _some(dataset.sizes["regularization"], 5)
    steps, harm = (
        dataset[name].transpose("learning_rate", "regularization", "seed").values
        for name in ("inflection_steps", "harm")
    )
    lines = [
        "Pre-training steps after which more pre-training does harm, and the harm done by the largest budget",
        f"(pre-training loss after fine-tuning, at {int(dataset['pretrain_steps'][-1])} steps / at best - 1)",
        f"{'fine-tuning rate':>16} | {dataset.attrs['regularizer'].replace('_', ' ')} strength",
        " " * 17 + "|" + "".join(f"{value:>18.3g}" for value in dataset["regularization"].values[columns]),
    ]
    for rate in rates:
        cells = [_cell(steps[rate, column], harm[rate, column]) for column in columns]
        lines.append(f"{dataset['learning_rate'].values[rate]:>16.2g} |" + "".join(f"{cell:>18}" for cell in cells))
    return lines


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


def _some(size: int, most: int) -> np.ndarray:
    return np.unique(np.linspace(0, size - 1, min(size, most)).round().astype(int))


experiment = Experiment("overtraining_chart", __doc__, Config, compute, find, table)
run, main = experiment.run, experiment.main

if __name__ == "__main__":
    sys.exit(main())
