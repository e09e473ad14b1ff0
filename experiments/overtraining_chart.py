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
from linsim.theory.over_seeds import over_seeds

from .experiment import Experiment
from .words import (
    between_budgets,
    between_ends,
    change,
    distrust,
    diverged,
    interval,
    percent,
    rechecked,
    tabular,
    undecided,
)

HARMFUL = 0.1
"""Harm from which on a cell is counted as harmful."""
NEAR = 0.02
"""By how much a closed form may lie outside the interval of budgets within the tolerance of the smallest loss."""
_ROWS, _COLUMNS = 4, 5  # of the table


def compute(config: Config, report: Progress | None = None) -> xr.Dataset:
    """The chart of a configuration; `InvalidInput` for a field outside its domain."""
    return build_chart(config, build_transfer(config), report)


def find(dataset: xr.Dataset) -> Finding:
    """In how many cells (rate, strength) more pre-training hurts, and how much at worst; medians over seeds.

    Not seen where no cell turns by more than the criteria and nearly all are resolved; where they are not, a turn may
    lie between budgets, and it cannot be told.
    """
    details, trust = (*told_beside(dataset), *diverged(dataset), *rechecked(dataset)), distrust(dataset)
    if (nothing := undecided(dataset, details=details, trust=trust)) is not None:
        return nothing
    turned = turning(dataset)
    known = dataset["harm"].notnull().any("seed")
    harm, excess = (dataset[name].median("seed").where(turned) for name in ("harm", "excess"))
    cells, resolved = int(known.sum()), int((dataset["resolved"].all("seed") & known).sum())
    numbers = {
        **{"cells": cells, "turned": int(turned.sum()), "harmful": int((harm >= HARMFUL).sum())},
        **{"resolved": resolved, "excess": float(excess.max()) if bool(turned.any()) else 0.0},
    }
    if not turned.any() and (sentence := between_budgets(cells, resolved)):
        return Finding(sentence, "cannot tell", numbers, details, trust)
    if not turned.any():
        sentence = f"More pre-training never hurts within these budgets: none of {cells} cells turns"
        return Finding(sentence, "not seen", numbers, details, trust)
    at = excess.isel(excess.argmax(["learning_rate", "regularization"]))
    cell = dataset.sel(learning_rate=at["learning_rate"], regularization=at["regularization"])
    numbers |= {name: float(at[name]) for name in ("learning_rate", "regularization")}
    numbers["harm"] = float(cell["harm"].median("seed"))
    sentence = f"More pre-training makes the fine-tuned model worse in {numbers['turned']} of {cells} cells"
    sentence += f", by {percent(HARMFUL)} or more in {numbers['harmful']}; at worst {_rise(cell)} (rate "
    sentence += f"{numbers['learning_rate']:.2g}, strength {numbers['regularization']:.2g})"
    return Finding(sentence, "seen", numbers, (*over_the_seeds(cell), *details), trust)


def turning(dataset: xr.Dataset) -> xr.DataArray:
    """Whether more than half of a cell's seeds turn, of those whose harm is known."""
    known = dataset["harm"].notnull().sum("seed")
    turned: xr.DataArray = 2 * dataset["inflection_steps"].notnull().sum("seed") > known
    return turned


def over_the_seeds(cell: xr.Dataset) -> list[str]:
    """A line on how sure the seeds are of a cell's turn; nothing for one seed."""
    if cell.sizes["seed"] < 2:
        return []
    turned = cell["inflection_steps"].notnull().values
    share = over_seeds(np.where(cell["harm"].isnull(), np.nan, turned), np.mean)
    return [
        f"There {percent(share.middle)} of {share.seeds} seeds turn ({between_ends(share, 100)} %), after "
        f"{interval(cell['inflection_steps'], 1)} steps, with harm {interval(cell['harm'], 100)} % (median, 95 % "
        "bootstrap interval)."
    ]


def told_beside(dataset: xr.Dataset) -> list[str]:
    """Lines on the loss of the fine-tuning task, on what is not resolved, and on the closed form."""
    known = int(dataset["finetune_harm"].notnull().any("seed").sum())
    turned = dataset["finetune_inflection_steps"].notnull().sum("seed") * 2 > dataset["finetune_harm"].notnull().sum(
        "seed"
    )
    count = int(turned.sum())
    both = [f"The fine-tuning loss turns in {count or 'none'} of {known} cells{_earliest(dataset, turned)}."] * (
        known > 0
    )
    open_ones = int((~dataset["resolved"] & dataset["harm"].notnull()).sum())
    unresolved = [f"Turns of {open_ones} curves are not resolved by the budgets."] * (open_ones > 0)
    return [*both, *unresolved, *closed_form(dataset)]


def _earliest(dataset: xr.Dataset, turned: xr.DataArray) -> str:
    steps = dataset["finetune_inflection_steps"].median("seed").where(turned)
    return f", from {float(steps.min()):.0f} steps on" if bool(turned.any()) else ""


def _rise(cell: xr.Dataset) -> str:
    """From which loss to which, in units of the zero network's."""
    zero = cell.attrs["zero_loss"]
    last = float(cell["pretrain_loss_after"].isel(pretrain_steps=-1).median("seed")) / zero
    return f"from {percent(last - float(cell['excess'].median('seed')))} to {percent(last)} of the zero network's loss"


def closed_form(dataset: xr.Dataset) -> list[str]:
    """A line on whether closed form and simulation turn alike, or why there is no closed form."""
    if "predicted_harm" not in dataset:
        return [f"Closed form: {dataset.attrs['prediction']}."]
    low, high, told = (dataset[name] for name in ("inflection_low", "inflection_high", "predicted_inflection_steps"))
    ours, theirs = dataset["inflection_steps"].notnull(), told.notnull()
    watched = (ours | theirs) & dataset["predicted_harm"].notnull() & dataset["harm"].notnull()
    if not watched.any():
        return ["In closed form no curve turns."]
    inside = (told >= low * (1 - NEAR)) & (told <= high * (1 + NEAR)) & ours
    same = float(inside.where(watched).mean())
    return [
        f"Closed form and {computed(dataset)} turn alike, within the interval of {percent(NEAR)}, on "
        f"{100 * same:.1f} % of the turning curves it describes."
    ]


def table(dataset: xr.Dataset) -> list[str]:
    """Where both losses turn, and the harm, at a few rates and strengths, medians over seeds."""
    rates, columns = _some(dataset.sizes["learning_rate"], _ROWS), _some(dataset.sizes["regularization"], _COLUMNS)
    part = dataset.isel(learning_rate=rates, regularization=columns).transpose("learning_rate", "regularization", ...)
    both = bool(part["finetune_inflection_steps"].notnull().any())
    told = "Steps after which more harm, and harm (last / least loss - 1)"
    rows = [
        [
            f"{float(rate):.2g}",
            *(_cell(part.isel(learning_rate=row, regularization=column), both) for column in range(len(columns))),
        ]
        for row, rate in enumerate(part["learning_rate"].values)
    ]
    heads = ["rate", *(f"{value:.3g}" for value in part["regularization"].values)]
    strength = dataset.attrs["regularizer"].replace("_", " ")
    return [
        f"{told}; strength of the {strength} from left to right{'; ft: of the fine-tuning loss' * both}",
        *tabular(heads, rows),
    ]


def _cell(cell: xr.Dataset, both: bool) -> str:
    return _turn(cell, "") + (f", ft {_turn(cell, 'finetune_')}" if both else "")


def _turn(cell: xr.Dataset, prefix: str) -> str:
    steps, harm = (cell[f"{prefix}{name}"].values for name in ("inflection_steps", "harm"))
    if np.isnan(harm).all():
        return "unknown"
    turned = ~np.isnan(steps)
    if not turned.any():
        return "no turn"
    few = f" ({turned.sum()}/{len(steps)})" if not turned.all() else ""
    return f"{np.median(steps[turned]):.0f}{few} {change(float(np.median(harm[turned])))}"


def _some(size: int, most: int) -> np.ndarray:
    return np.unique(np.linspace(0, size - 1, min(size, most)).round().astype(int))


experiment = Experiment("overtraining_chart", __doc__, Config, compute, find, table)
run, main = experiment.run, experiment.main

if __name__ == "__main__":
    sys.exit(main())
