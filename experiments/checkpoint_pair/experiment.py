"""Of two checkpoints, one pre-trained 30 % longer: when is it better before fine-tuning and worse after it?

    python -m experiments.checkpoint_pair --out DIR

takes the case of OLMo-1B, with checkpoints of 2.3 and 3 trillion tokens, to linear networks. Only ratios are compared,
the 1.3 between the budgets and the 1.09 between the inflection point and the earlier one: steps stand for no number of
tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from linsim.commands.building import build_chart, strengths
from linsim.commands.cli import Sweeping
from linsim.commands.config import ChartConfig, FinetuneConfig, NetworkConfig, PretrainConfig
from linsim.commands.transfers import build_transfer
from linsim.errors import require, require_number
from linsim.progress.showing import Progress

from ..command import command
from .summary import summarise

CLAIMS = (
    "shallow-u",
    "weakest-mode-decides",
    "critical-rate-times-steps",
    "larger-rate-earlier-turn",
    "chart-in-closed-form",
    "matrix-solution",
    "chaining",
)


@dataclass(frozen=True)
class Config(ChartConfig):
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


def run(config: Config, report: Progress | None = None) -> xr.Dataset:
    """The chart with its pairs; `InvalidInput` for a field outside its domain."""
    balanced = config.network.init == "lambda_balanced"
    require(config.depth == 2 or not balanced, "depth", config.depth, "2, with --network.init lambda_balanced")
    require_number("factor", config.factor, above=1, at_most=1e6)
    require_number("turn", config.turn, above=0, at_most=1e6)
    require_number("margin", config.margin, at_least=0)
    require_number("least_rise", config.least_rise, at_least=0)
    recipes = strengths(config.finetune)
    allowed = "one strength: recipes differ in their rate"
    require(len(recipes) == 1, "finetune.regularizations", tuple(recipes.tolist()), allowed)
    transfer = build_transfer(config)
    dataset = build_chart(config, transfer, report)
    dataset["zero_loss"] = ((), transfer.pretrain.zero_loss, {"long_name": "pre-training loss of the zero network"})
    numbers = {name: getattr(config, name) for name in ("factor", "turn", "margin", "least_rise")}
    return with_pairs(dataset, **numbers).assign_attrs(numbers)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    return command(Config, run, "checkpoint_pair", __doc__, summarise, arguments, claims=CLAIMS, flags=Sweeping)


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


def with_pairs(dataset: xr.Dataset, factor: float, turn: float, margin: float, least_rise: float = 0.0) -> xr.Dataset:
    """What becomes of every pair (budget, factor x budget): changes relative to the earlier checkpoint, by earlier one.

    A pair behaves as OLMo-1B's did where the base loss is lower and the result, the pre-training loss after
    fine-tuning, larger by more than `margin` of itself and `least_rise` of the zero network's loss. `matched_steps` is
    the earlier budget with the inflection at `turn` times it.
    """
    budgets = dataset["pretrain_steps"].values
    index = partners(budgets, factor)
    known = ~np.isnan(index)
    later = np.where(known, index, 0).astype(int)

    def change(values: xr.DataArray) -> Any:
        """Later / earlier - 1 of losses above what is rounding; NaN where there is no pair."""
        losses = np.maximum(values.values, dataset.attrs["rounding_floor"])
        with np.errstate(invalid="ignore"):
            moved = losses[later] / losses - 1
        moved[~known] = np.nan
        return (values.dims, moved)

    after = dataset["pretrain_loss_after"].where(~dataset["diverged"], np.inf)
    tuned = dataset["finetune_loss_after"].where(~dataset["diverged"], np.inf)
    dataset = dataset.assign(
        later_steps=("pretrain_steps", np.where(known, budgets[later], np.nan), {"long_name": "later budget"}),
        base_change=change(dataset["pretrain_loss_before"]),
        result_change=change(after),
        finetune_change=change(tuned),
    )
    with np.errstate(invalid="ignore"):
        rise = (after.isel(pretrain_steps=later).values - after.values) / float(dataset["zero_loss"])
    rise[~known] = np.nan
    dataset["result_rise"] = after.copy(data=rise).assign_attrs(
        long_name="later - earlier result, over zero_loss", units="1"
    )
    worse = (dataset["result_change"] > margin) & (dataset["result_rise"] > least_rise)
    behaves = worse & (dataset["base_change"] < 0)
    share = behaves.all("seed").sum("pretrain_steps") / max(int(known.sum()), 1)
    matched = _matched(dataset["inflection_steps"].median("seed", skipna=False), budgets, known, turn)
    said = {
        "base_change": "later / earlier - 1 of the pre-training loss before fine-tuning",
        "result_change": "later / earlier - 1 of the pre-training loss after fine-tuning",
        "finetune_change": "later / earlier - 1 of the fine-tuning loss after fine-tuning",
    }
    if "predicted_pretrain_loss_after" in dataset:
        dataset["predicted_result_change"] = change(dataset["predicted_pretrain_loss_after"])
        said["predicted_result_change"] = f"{said['result_change']}, in closed form"
    for name, text in said.items():
        dataset[name].attrs.update(long_name=text, units="1")
    return dataset.assign(
        behaves=behaves.assign_attrs(long_name="base loss lower, result worse by more than the margin and least_rise"),
        share=share.assign_attrs(long_name="share of the pairs that behave so in every seed", units="1"),
        matched_steps=matched,
    )


def _matched(inflection: xr.DataArray, budgets: Any, known: Any, turn: float) -> xr.DataArray:
    """The earlier budget nearest to inflection / turn; NaN where not every seed turns, it is off, or has no pair."""
    wanted = inflection.values / turn
    steps = np.full(wanted.shape, np.nan)
    for at in np.ndindex(wanted.shape):
        if np.isfinite(wanted[at]) and wanted[at] >= budgets[0]:
            nearest = int(np.abs(np.log(budgets / wanted[at])).argmin())
            # On a coarse axis the nearest budget may lie beyond the inflection: that is no pair of a later turn.
            near = known[nearest] and (budgets[nearest] < inflection.values[at] or turn <= 1)
            steps[at] = budgets[nearest] if near else np.nan
    said = {"long_name": "earlier budget of the matched pair", "units": "pre-training steps"}
    return inflection.copy(data=steps).assign_attrs(said)
