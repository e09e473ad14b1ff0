"""Of two checkpoints, one pre-trained 30 % longer: when is it better before fine-tuning and worse after it?

    python -m experiments.checkpoint_pair --out DIR

takes the case of OLMo-1B, with checkpoints of 2.3 and 3 trillion tokens, to linear networks. Only ratios are compared,
the 1.3 between the budgets and the 1.09 between the inflection point and the earlier one: steps stand for no number of
tokens.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from linsim.commands.building import build_chart, strengths
from linsim.commands.config import FinetuneConfig, NetworkConfig, PretrainConfig, ShiftedConfig
from linsim.commands.transfers import build_transfer
from linsim.errors import require, require_number
from linsim.finding import Finding
from linsim.labels import PLAIN, STEPS, Label, label, lost_lanes
from linsim.progress.showing import Progress

from .experiment import Experiment
from .words import between, change, distrust, diverged, percent, rechecked, tabular

CLAIMS = (
    "shallow-u",
    "weakest-mode-decides",
    "critical-rate-times-steps",
    "larger-rate-earlier-turn",
    "chart-in-closed-form",
    "matrix-solution",
    "chaining",
)

_CHANGE = "later / earlier - 1 of the pre-training loss after fine-tuning"
LABELS = {
    "later_steps": Label("later budget", STEPS),
    "base_change": Label("later / earlier - 1 of the pre-training loss before fine-tuning", PLAIN),
    "result_change": Label(_CHANGE, PLAIN),
    "predicted_result_change": Label(f"{_CHANGE}, in closed form", PLAIN),
    "finetune_change": Label("later / earlier - 1 of the fine-tuning loss after fine-tuning", PLAIN),
    "result_rise": Label("later - earlier result, over zero_loss", PLAIN),
    "behaves": Label("base loss lower, result worse by more than the margin and least_rise"),
    "share": Label("share of the pairs that behave so in every seed", PLAIN),
    "matched_steps": Label("earlier budget of the matched pair", STEPS),
}
_WORSE = 1e-6  # relative rise of the fine-tuning loss above which it is one


@dataclass(frozen=True)
class Config(ShiftedConfig):
    """A chart over budgets and recipes, and the pairs of checkpoints in it."""

    dim: int | None = 8
    """Inputs and outputs of the synthetic tasks."""
    seeds: int = 5
    """Number of random initial weights."""
    network: NetworkConfig = field(default_factory=lambda: NetworkConfig(init="lambda_balanced", balance=1e-4))
    """Of random bases, with an imbalance of about e^(-2 tau), as independent entries would have it."""
    pretrain: PretrainConfig = field(default_factory=lambda: PretrainConfig(steps=40_303, budgets=88))
    """By default every third budget is 1.3 times as large."""
    finetune: FinetuneConfig = field(
        default_factory=lambda: FinetuneConfig(rates=5, lowest_rate=1e-4, highest_rate=1e-2, strengths=1)
    )
    factor: float = 1.3
    """Later budget / earlier budget of a pair; the nearest on the axis of budgets is taken."""
    turn: float = 1.09
    """Inflection point / earlier budget of the pair that is matched to OLMo-1B (2.5 / 2.3)."""
    margin: float = 0.02
    """By how much the later checkpoint must be worse after fine-tuning, relative to the earlier one."""
    least_rise: float = 0.001
    """By how much it must be worse at least, over the loss of the zero network: near 0, large ratios mean nothing."""


def compute(config: Config, report: Progress | None = None) -> xr.Dataset:
    """The chart with its pairs; `InvalidInput` for a field outside its domain."""
    require_number("factor", config.factor, above=1, at_most=1e6)
    require_number("turn", config.turn, above=0, at_most=1e6)
    require_number("margin", config.margin, at_least=0)
    require_number("least_rise", config.least_rise, at_least=0)
    recipes = tuple(strengths(config.finetune).tolist())
    require(len(recipes) == 1, "finetune.regularizations", recipes, "one strength: recipes differ in their rate")
    transfer = build_transfer(config)
    dataset = build_chart(config, transfer, report).assign(zero_loss=transfer.pretrain.zero_loss)
    return with_pairs(dataset, config.factor, config.turn, config.margin, config.least_rise)


def with_pairs(dataset: xr.Dataset, factor: float, turn: float, margin: float, least_rise: float) -> xr.Dataset:
    """What becomes of every pair (budget, factor x budget): changes relative to the earlier checkpoint, by earlier one.

    A pair behaves as OLMo-1B's did where the base loss is lower and the result, the pre-training loss after
    fine-tuning, larger by more than `margin` of itself and `least_rise` of the zero network's loss. `matched_steps` is
    the earlier budget with the inflection at `turn` times it.
    """
    budgets, floor = dataset["pretrain_steps"], dataset.attrs["rounding_floor"]
    index = xr.DataArray(partners(budgets.values, factor), dims="pretrain_steps")
    known = index.notnull()

    def of_later(values: xr.DataArray) -> xr.DataArray:
        """Of the later checkpoint, by the earlier one; NaN where there is no pair."""
        moved = values.isel(pretrain_steps=index.fillna(0).astype(int).values)
        return moved.assign_coords(pretrain_steps=budgets).where(known)

    def changed(losses: xr.DataArray) -> xr.DataArray:
        """Later / earlier - 1 of what is above rounding."""
        above = losses.clip(min=floor)
        return of_later(above) / above - 1

    after, tuned = (dataset[f"{task}_loss_after"].where(~lost_lanes(dataset)) for task in ("pretrain", "finetune"))
    found = {
        "later_steps": of_later(budgets.reset_coords(drop=True)),
        "base_change": changed(dataset["pretrain_loss_before"]),
        "result_change": changed(after),
        "finetune_change": changed(tuned),
        "result_rise": (of_later(after) - after) / dataset["zero_loss"],
    }
    if "predicted_pretrain_loss_after" in dataset:
        found["predicted_result_change"] = changed(dataset["predicted_pretrain_loss_after"])
    worse = (found["result_change"] > margin) & (found["result_rise"] > least_rise)
    found["behaves"] = worse & (found["base_change"] < 0)
    found["share"] = found["behaves"].all("seed").sum("pretrain_steps") / max(int(known.sum()), 1)
    found["matched_steps"] = _matched(dataset["inflection_steps"].median("seed", skipna=False), budgets, known, turn)
    told = {"factor": factor, "turn": turn, "margin": margin, "least_rise": least_rise}
    return label(dataset.assign(found), LABELS).assign_attrs(told)


def partners(budgets: Int[np.ndarray, " budgets"], factor: float) -> Float[np.ndarray, " budgets"]:
    """The index of the budget nearest to factor x each, in the logarithm; NaN beyond the last or where it is the same.

    A partner is taken only where factor x budget is within half a step of the axis, so that the last budgets have none.
    """
    log = np.log(budgets.astype(np.float64))
    wanted = log + np.log(factor)
    nearest = np.abs(log[None, :] - wanted[:, None]).argmin(axis=1)
    reach = log[-1] + (np.diff(log)[-1] / 2 if len(log) > 1 else 0.0)
    there = (nearest > np.arange(len(log))) & (wanted <= reach)
    return np.where(there, nearest, np.nan)


def _matched(inflection: xr.DataArray, budgets: xr.DataArray, known: xr.DataArray, turn: float) -> xr.DataArray:
    """The earlier budget nearest to inflection / turn; NaN where not every seed turns, it is off, or has no pair."""
    wanted = inflection / turn
    nearest = abs(xr.ufuncs.log(budgets / wanted.fillna(1.0))).argmin("pretrain_steps")
    steps = budgets[nearest].drop_vars("pretrain_steps")
    # On a coarse axis the nearest budget may lie beyond the inflection: that is no pair of a later turn.
    before = (steps < inflection) | (turn <= 1)
    return steps.where(known[nearest] & before & (wanted >= budgets[0].item()))


def find(dataset: xr.Dataset) -> Finding:
    """Which pairs behave as OLMo-1B's did, at the rate where most do.

    Not seen where no pair of stable runs does in every seed; nobody can tell where there is no such pair.
    """
    data = dataset.isel(regularization=0)
    trust, margin, ratio = distrust(data), data.attrs["margin"], data["later_steps"] / data["pretrain_steps"]
    pairs, checked = int(ratio.notnull().sum()), (*diverged(data), *rechecked(data))
    if not pairs:
        told = f"No two of these budgets are a factor {data.attrs['factor']:g} apart: there is no pair to look at"
        return Finding(told, "cannot tell", {"pairs": 0}, checked, trust)
    known = int(data["result_change"].notnull().all("seed").any("learning_rate").sum())
    if not known:
        told = "Nothing can be said of any pair: one of its runs diverged or is beyond the edge of stability"
        return Finding(f"{told}; smaller rates may tell", "cannot tell", {"pairs": pairs}, checked, trust)
    cell = data.isel(learning_rate=int(data["share"].argmax("learning_rate")))
    rate, share, longer = float(cell["learning_rate"]), float(cell["share"]), f"{between(ratio, 2)} times"
    numbers = {"pairs": pairs, "factor": float(ratio.median()), "share": share, "learning_rate": rate}
    if not share:
        whom = f"none of {known} pairs{' of stable runs' * bool(lost_lanes(data).any())}"
        told = f"{longer} the pre-training makes the fine-tuned model over {percent(margin)} worse in {whom}"
        return Finding(told, "not seen", numbers, checked, trust)
    keep = data["behaves"].all("seed")
    rises = (data["finetune_change"] > _WORSE).all("seed") & keep
    numbers |= {"behaving": int(keep.sum()), "worse on fine-tuning": int(rises.sum())}
    told = (
        f"{longer} the pre-training lowers the base loss, yet makes the fine-tuned model over {percent(margin)} worse "
        f"on the pre-training task, for {_whom(cell)} at rate {rate:.2g}; on the fine-tuning task it is "
        f"worse in {int(rises.sum()) or 'none'} of all {int(keep.sum())} such pairs"
    )
    return Finding(told, "seen", numbers, (*_elsewhere(cell), *_closed_form(data), *checked), trust)


def _whom(cell: xr.Dataset) -> str:
    """The pairs that behave so: from where to where if they are all that lie there, else their share."""
    keep = cell["behaves"].all("seed")
    first, last = cell["pretrain_steps"].values[keep][[0, -1]]
    whole = first < last and bool(keep.sel(pretrain_steps=slice(first, last)).all())
    return f"all pairs from {first} to {last} steps" if whole else f"{percent(float(cell['share']))} of the pairs"


def _elsewhere(cell: xr.Dataset) -> Iterator[str]:
    """What the longer one does in pairs before and after those that behave so."""
    there = cell.sel(pretrain_steps=cell["later_steps"].notnull())
    moved, budgets = there["result_change"].median("seed"), there["pretrain_steps"]
    keep = budgets.where(there["behaves"].all("seed"), drop=True)
    early, late = moved[budgets < keep[0]], moved[budgets > keep[-1]]
    if early.size:
        better = int((early < 0).sum())
        yield f"In {better} of {early.size} earlier pairs the longer one is better after fine-tuning, too."
    if late.size:
        yield f"Later pairs change by {percent(float(abs(late).max()))} at most."


def _closed_form(data: xr.Dataset) -> Iterator[str]:
    """Whether the same pairs are worse in closed form."""
    if "predicted_result_change" not in data:
        return
    moved, earlier = data["predicted_result_change"], data["predicted_pretrain_loss_after"]
    rise = moved * earlier.clip(min=data.attrs["rounding_floor"]) / data["zero_loss"]
    predicted, simulated = (
        ((ratio > data.attrs["margin"]) & (size > data.attrs["least_rise"])).all("seed")
        for ratio, size in ((moved, rise), (data["result_change"], data["result_rise"]))
    )
    described = moved.notnull().all("seed")
    if described.any():
        same = float((predicted == simulated).where(described).mean())
        yield f"The closed form says the same of {100 * same:.1f} % of the {int(described.sum())} pairs it describes."


def table(dataset: xr.Dataset) -> list[str]:
    """By rate the share of the pairs, and the pair whose inflection lies nearest to where OLMo-1B's did."""
    data = dataset.isel(regularization=0)
    turn = f"turn ({data.attrs['turn']:g} wanted)"
    heads = ("rate", "pairs", "matched, steps", turn, "base", "fine-tuning", "result", "seeds")
    rows = []
    for at in range(data.sizes["learning_rate"]):
        cell = data.isel(learning_rate=at)
        share = "unstable" if lost_lanes(cell).all() else percent(float(cell["share"]))
        rows.append([f"{float(cell['learning_rate']):.2g}", share, *_pair(cell)])
    return tabular(heads, rows)


def _pair(cell: xr.Dataset) -> list[str]:
    """The matched pair of one rate, and what changes in it: medians over seeds."""
    first = float(cell["matched_steps"])
    if np.isnan(first):
        return ["none", *[""] * 5]
    pair = cell.sel(pretrain_steps=first)
    moved = (change(float(pair[f"{what}_change"].median())) for what in ("base", "finetune", "result"))
    behaving = f"{int(pair['behaves'].sum())} of {cell.sizes['seed']}"
    turn = float(cell["inflection_steps"].median("seed")) / first
    return [f"{first:.0f} -> {float(pair['later_steps']):.0f}", f"{turn:.3g}", *moved, behaving]


experiment = Experiment("checkpoint_pair", __doc__, Config, compute, find, table, CLAIMS)
run, main = experiment.run, experiment.main

if __name__ == "__main__":
    sys.exit(main())
