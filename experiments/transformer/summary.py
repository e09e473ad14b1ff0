"""What happened to the transformer, in some lines of text: each would say the opposite if the numbers did."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr

from linsim.monitoring.alarm import Alarm


def summarise(dataset: xr.Dataset) -> str:
    """Sensitivity, loss after fine-tuning and monitors: medians over seeds, and in brackets the whole range."""
    first, last = (int(dataset["pretrain_steps"][end]) for end in (0, -1))
    base = dataset["pretrain_loss_before"]
    return "\n".join(
        [
            f"A transformer of {dataset.attrs['parameters']} parameters, {_count(dataset.sizes['seed'], 'seed')}; "
            f"losses in nats a token above the language's entropy of {json.loads(dataset.attrs['entropies'])[0]:.3f}",
            f"Pre-training loss from {_range(base[0])} at {first} steps to {_range(base[-1])} at {last}.",
            "",
            *(
                _sensitivity(dataset, f"rise_under_{kind}_noise", f"The rise of the loss under {kind} noise of")
                for kind in ("absolute", "relative")
            ),
            _stream(dataset),
            "",
            *_rates(dataset),
            "",
            _inflection(dataset),
            "",
            *_monitors(dataset),
            "",
            _alarms(dataset),
        ]
    )


def _sensitivity(dataset: xr.Dataset, name: str, said: str) -> str:
    """Whether the rise of the loss under noise grows along pre-training; the middle one of the scales."""
    kind = "relative_noise" if "relative_noise" in dataset[name].dims else "absolute_noise"
    rise, error = (dataset[each].isel({kind: dataset.sizes[kind] // 2}) for each in (name, f"{name}_error"))
    growth = rise[-1] / rise[0]
    uncertain = float(np.abs(growth * np.hypot(error[0] / rise[0], error[-1] / rise[-1])).max())
    beyond = rise[-1] - rise[0] > 2 * np.hypot(error[0], error[-1])
    verb = "grows" if bool(beyond.all()) else "grows for some seeds only" if bool(beyond.any()) else "does not grow"
    steps, middle = dataset["pretrain_steps"].values, rise.median("seed").values
    peak = int(np.argmax(middle))
    late = (
        ""
        if peak == len(steps) - 1
        else f", from {steps[peak]} steps on it falls by {1 - middle[-1] / middle[peak]:.0%}"
    )
    return (
        f"{said} {float(rise[kind]):g} {verb}: by a factor {_range(growth, 2)}, standard error up to {uncertain:.2f}, "
        f"by over two of them {_of(int(beyond.sum()), rise.sizes['seed'])}{late}."
    )


def _stream(dataset: xr.Dataset) -> str:
    """How far the scale of the weights is behind the rise under absolute noise."""
    scale = dataset["stream_scale"]
    return _sensitivity(
        dataset,
        "rise_at_first_scale",
        f"The residual stream's scale changes by a factor {_range(scale[-1] / scale[0], 2)}; put back to its first "
        "value, which leaves the function as it is, the rise under absolute noise of",
    )


def _rates(dataset: xr.Dataset) -> list[str]:
    first, last = (int(dataset["pretrain_steps"][end]) for end in (0, -1))
    lines = [
        f"{'fine-tuning rate':>16} | loss after, {first} steps | smallest, at steps | loss after, {last} steps | harm"
    ]
    for rate in range(dataset.sizes["learning_rate"]):
        curve = dataset["pretrain_loss_after"][:, rate]
        if not np.isfinite(curve).all():
            lines.append(f"{float(dataset['learning_rate'][rate]):>16.2g} | diverged")
            continue
        best = dataset["pretrain_steps"][curve.argmin("pretrain_steps")]
        cells = (
            _range(curve[0]),
            f"{_range(curve.min('pretrain_steps'))}, {float(best.median()):.0f}",
            _range(curve[-1]),
            _range(dataset["harm"][rate]),
        )
        lines.append(f"{float(dataset['learning_rate'][rate]):>16.2g} | " + " | ".join(cells))
    return lines


def _inflection(dataset: xr.Dataset) -> str:
    """At which rates the curve turns, and how many runs diverged."""
    turned = dataset["inflection_steps"].notnull()
    threshold, seeds = dataset.attrs["noise_of_training"], dataset.sizes["seed"]
    told = []
    for rate in np.flatnonzero(turned.any("seed")):
        of_rate = turned[rate]
        steps, harm = (dataset[name][rate].where(of_rate) for name in ("inflection_steps", "harm"))
        told.append(
            f"at rate {float(dataset['learning_rate'][rate]):.2g} {_of(int(of_rate.sum()), seeds)}, after "
            f"{float(steps.median()):.0f} steps, harm {float(harm.min()):.1%} to {float(harm.max()):.1%}"
        )
    where = f"An inflection appears {'; '.join(told)}" if told else "No inflection appears: at no rate, for no seed"
    diverged = int(dataset["diverged"].sum())
    return (
        f"{where}. Harm up to {threshold:.0%} counts as noise of training. "
        f"{diverged} of {dataset['diverged'].size} fine-tuning runs diverged."
    )


def _monitors(dataset: xr.Dataset) -> list[str]:
    lines = [f"{'monitor':>16} | last / first value | standard error | rank correlation with forgetting | alarm rings"]
    for name in dataset["measure"].values:
        value, error = (dataset[part].sel(measure=name) for part in ("monitor", "monitor_error"))
        rings = dataset["alarm_steps"].sel(measure=name)
        rung = rings.dropna("seed")
        first = f", first at {float(rung.min()):.0f} steps" if rung.size else ""
        cells = (
            _range(value[-1] / value[0], 2),
            f"{float(np.median(np.abs(error / value))):.0%}",
            _range(dataset["rank_correlation"].sel(measure=name), 2),
            _of(rung.size, rings.size) + first,
        )
        lines.append(f"{name:>16} | " + " | ".join(cells))
    clock = _range(dataset["budget_rank_correlation"], 2)
    return [*lines, f"(The budget itself has a rank correlation of {clock} with forgetting.)"]


def _alarms(dataset: xr.Dataset) -> str:
    """The alarm on each monitor of each seed against the earliest turn at any rate of that seed."""
    turns = dataset["inflection_steps"].min("learning_rate")
    rings = dataset["alarm_steps"]
    rung, turned = rings.notnull(), turns.notnull()
    lead: Any = np.log(turns / rings)
    in_time, late = rung & (lead > 0), rung & (lead <= 0)
    false, missed, quiet = rung & ~turned, ~rung & turned, ~rung & ~turned
    told = [
        (in_time, f"ring before the first turn of their seed, by {_range(lead.where(in_time), 2)} e-folds of budget"),
        (late, "ring only after it"),
        (missed, "stay silent although harm follows"),
        (false, "ring although no harm follows: false alarms"),
        (quiet, "stay silent, and no harm follows"),
    ]
    parts = [f"{int(which.sum())} {said}" for which, said in told if bool(which.any())]
    needs, budgets = Alarm(**json.loads(dataset.attrs["config"])["alarm"]).needs, dataset["pretrain_steps"].values
    earliest = (
        f"before its budget {needs}, {budgets[needs - 1]} steps" if needs <= len(budgets) else "with so few budgets"
    )
    return f"Of {rings.size} alarms (monitor and seed) {'; '.join(parts)}. None can ring {earliest}."


def _range(values: Any, digits: int = 3) -> str:
    """Median over what is known (smallest to largest)."""
    known = values.values[np.isfinite(values.values)]
    if known.size == 0:
        return "unknown"
    middle, low, high = (f"{float(each):.{digits}f}" for each in (np.median(known), known.min(), known.max()))
    return middle if low == high else f"{middle} ({low} to {high})"


def _of(count: int, total: int) -> str:
    return f"in {count} of {_count(total, 'seed')}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
