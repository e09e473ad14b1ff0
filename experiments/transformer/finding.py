"""What happened to the transformer: sensitivity, loss after fine-tuning, and what its monitors said of it."""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np
import xarray as xr

from linsim.finding import Finding
from linsim.monitoring.alarm import Alarm

from ..words import between, counted, diverged, percent, spread, undecided
from .cross_entropy import effects, in_words


class Growth(NamedTuple):
    """How sensitivity to noise changes along pre-training."""

    factor: float
    """Median over seeds of the rise of the loss at the end / at the first budget."""
    seeds: int
    """In which it grows by more than two standard errors."""
    told: str


def find(dataset: xr.Dataset) -> Finding:
    """Whether more pre-training hurts at some rate in most seeds, and whether sensitivity to relative noise grows.

    Not seen where no seed turns at any rate; nobody can tell where half of them or fewer turn at every rate, where
    every run from the largest budget diverged, or where budgets are too few for a turn.
    """
    alarms, beside = _alarms(dataset), effects(dataset)
    lines = (_absolute_noise(dataset), in_words(beside), _monitors(dataset), _told(dataset, alarms))
    details = (*lines, *diverged(dataset))
    if (nothing := undecided(dataset, details=details)) is not None:
        return nothing
    growth, seeds = _growth(dataset, "rise_under_relative_noise"), dataset.sizes["seed"]
    turned = dataset["inflection_steps"].notnull()
    worst = dataset.isel(learning_rate=int(turned.sum("seed").argmax("learning_rate")))
    turning = worst["inflection_steps"].notnull()
    count, rate = int(turning.sum()), float(worst["learning_rate"])
    numbers = {
        "growth": growth.factor,
        "sensitive": growth.seeds,
        "turned": count,
        "seeds": seeds,
        **alarms,
        **beside.numbers,
    }
    sensitive = f"Sensitivity to relative noise {growth.told}"
    if not count:
        return Finding(f"{sensitive}; more pre-training never hurts within these budgets", "not seen", numbers, details)
    numbers |= {"learning_rate": rate, "harm": (harm := float(worst["harm"].where(turning).median()))}
    hurt = f"at rate {rate:g}, {count} of {counted(seeds, 'seed')} end {percent(harm)} above their best"
    return Finding(f"{sensitive}; {hurt}", "seen" if 2 * count > seeds else "cannot tell", numbers, details)


def table(dataset: xr.Dataset) -> list[str]:
    """The loss after fine-tuning at every rate; medians over seeds, and in brackets the whole range."""
    first, last = (int(dataset["pretrain_steps"][end]) for end in (0, -1))
    lines = [f"{'fine-tuning rate':>16} | nats after {first} steps | smallest, at steps | after {last} steps | harm"]
    for place, rate in enumerate(dataset["learning_rate"].values):
        curve, harm = dataset["pretrain_loss_after"][:, place], dataset["harm"][place]
        if not np.isfinite(curve).all():
            lines.append(f"{rate:>16.2g} | diverged")
            continue
        best = float(dataset["pretrain_steps"][curve.argmin("pretrain_steps")].median())
        smallest = f"{spread(curve.min('pretrain_steps'))}, {best:.0f}"
        lines.append(f"{rate:>16.2g} | {spread(curve[0])} | {smallest} | {spread(curve[-1])} | {spread(harm)}")
    return lines


def _growth(dataset: xr.Dataset, name: str) -> Growth:
    """Of the rise under the middle one of the scales."""
    noise = next(dim for dim in map(str, dataset[name].dims) if dim.endswith("_noise"))
    rise, error = (dataset[each].isel({noise: dataset.sizes[noise] // 2}) for each in (name, f"{name}_error"))
    factor = float((rise[-1] / rise[0]).median())
    count = int((rise[-1] - rise[0] > 2 * np.hypot(error[0], error[-1])).sum())
    told = f"grows {factor:.2g} times" if count else f"does not grow ({factor:.2g} times)"
    told += ", in some seeds only" if 0 < count < rise.sizes["seed"] else ""
    middle = rise.median("seed")
    peak = int(middle.argmax("pretrain_steps"))
    if count and peak < len(middle) - 1:
        fallen = percent(1 - float(middle[-1] / middle[peak]))
        told += f", and falls by {fallen} from {int(middle['pretrain_steps'][peak])} steps on"
    return Growth(factor, count, told)


def _absolute_noise(dataset: xr.Dataset) -> str:
    """Sensitivity to absolute noise, and how far the scale of the weights is behind it."""
    plain, levelled = (_growth(dataset, f"rise_{how}").told for how in ("under_absolute_noise", "at_first_scale"))
    grown = _middle(dataset["stream_scale"][-1] / dataset["stream_scale"][0])
    scaled = f"with the residual stream scaled back from {grown} times, which changes no output"
    return f"Sensitivity to absolute noise {plain}; {scaled}, it {levelled}."


def _monitors(dataset: xr.Dataset) -> str:
    """How far every monitor moves, and how it goes with forgetting; medians over rates and seeds."""
    told = [
        f"{name} {_middle(one['monitor'][-1] / one['monitor'][0])}, {_middle(one['rank_correlation'])}"
        for name, one in ((name, dataset.sel(measure=name)) for name in dataset["measure"].values)
    ]
    clock = _middle(dataset["budget_rank_correlation"])
    return f"Growth of monitors and rank correlation with forgetting (a clock's: {clock}): {'; '.join(told)}."


def _alarms(dataset: xr.Dataset) -> dict[str, float]:
    """The alarms on each monitor of each seed against the earliest turn of that seed at any rate, counted."""
    turns, rings = dataset["inflection_steps"].min("learning_rate"), dataset["alarm_steps"]
    rung, turned = rings.notnull(), turns.notnull()
    in_time = rung & (rings < turns)
    counts = {
        "alarms_in_time": in_time,
        "alarms_late": rung & turned & ~in_time,
        "alarms_missing": ~rung & turned,
        "alarms_false": rung & ~turned,
        "alarms_quiet": ~rung & ~turned,
    }
    return {name: int(which.sum()) for name, which in counts.items()}


def _told(dataset: xr.Dataset, alarms: dict[str, float]) -> str:
    lead = dataset["alarm_lead"].min("learning_rate")
    said = {
        "alarms_in_time": f"ring before the first turn, by {between(lead.where(lead > 0), 2)} e-folds of budget",
        "alarms_late": "ring only after it",
        "alarms_missing": "stay silent although harm follows",
        "alarms_false": "ring although no harm follows",
        "alarms_quiet": "stay silent, and no harm follows",
    }
    parts = [f"{alarms[name]} {what}" for name, what in said.items() if alarms[name]]
    needs, budgets = Alarm(**json.loads(dataset.attrs["config"])["alarm"]).needs, dataset["pretrain_steps"].values
    earliest = f"before {budgets[needs - 1]} steps" if needs <= len(budgets) else "with so few budgets"
    return f"Of {dataset['alarm_steps'].size} alarms {'; '.join(parts)}. None can ring {earliest}."


def _middle(values: xr.DataArray) -> str:
    return f"{float(values.median()):.2g}"
