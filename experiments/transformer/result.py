"""The transformer's numbers as a labelled Dataset, its inflection points and alarms located."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from scipy.stats import rankdata

from linsim.labels import texts
from linsim.measures.estimates import Estimate
from linsim.monitoring.alarm import Alarm
from linsim.theory.inflection import locate

from .measuring import DIVERGED, MEASURES, Losses
from .phases import Finetuned

NOISE_OF_TRAINING = 0.01
"""Harm up to this counts as the noise of minibatches at a constant rate, not as a turn."""

_BEFORE = ("pretrain_steps", "seed")
_AFTER = ("pretrain_steps", "learning_rate", "seed")
_NATS = {"units": "nats per token"}


class Noisy(NamedTuple):
    """How noise on the parameters raises the loss, over (budget, seed, scale)."""

    scales: tuple[Sequence[float], Sequence[float]]
    """Standard deviations, absolute and relative."""
    absolute: Estimate
    relative: Estimate
    at_first_scale: Estimate
    """Absolute noise on parameters of the same function whose residual stream has the first budget's scale."""
    stream_scale: Float[np.ndarray, "budgets seeds"]


def label(
    budgets: Int[np.ndarray, " budgets"],
    learning_rates: Sequence[float],
    before: Losses,
    after: Finetuned,
    noisy: Noisy,
) -> xr.Dataset:
    """Named axes, units and inflection points; the names are those of a chart where both have the quantity.

    Args:
      budgets: in steps.
      learning_rates: of fine-tuning.
      before: losses of the checkpoints.
      after: what fine-tuning left behind.
      noisy: how noise on the parameters raises the loss.
    """
    losses, forgetting = after.losses, after.losses.pretrain - before.pretrain[:, None]
    inflection = locate(budgets, losses.pretrain, after.diverged, resolution=NOISE_OF_TRAINING)
    variables: dict[str, tuple[tuple[str, ...], np.ndarray, dict[str, str]]] = {
        "pretrain_loss_before": (_BEFORE, before.pretrain, _named("pre-training loss before fine-tuning")),
        "kept_loss_before": (_BEFORE, before.kept, _named("pre-training loss at kept contexts, before fine-tuning")),
        "finetune_loss_before": (_BEFORE, before.finetune, _named("fine-tuning loss before fine-tuning")),
        "pretrain_loss_after": (_AFTER, losses.pretrain, _named("pre-training loss after fine-tuning")),
        "kept_loss_after": (_AFTER, losses.kept, _named("pre-training loss at kept contexts, after fine-tuning")),
        "finetune_loss_after": (_AFTER, losses.finetune, _named("fine-tuning loss after fine-tuning")),
        "forgetting": (_AFTER, forgetting, _named("rise of the pre-training loss")),
        "displacement": (_AFTER, after.displacement, {"long_name": "r.m.s. change of a parameter", "units": "1"}),
        "diverged": (_AFTER, after.diverged, {"long_name": "fine-tuning diverged"}),
        "inflection_steps": (
            _AFTER[1:],
            inflection.steps,
            {"long_name": "inflection point", "units": "pre-training steps"},
        ),
        "harm": (
            _AFTER[1:],
            inflection.harm,
            {"long_name": "loss at the largest budget / smallest loss - 1", "units": "1"},
        ),
    }
    for name, kind, rise, apart in (
        ("rise_under_absolute_noise", "absolute", noisy.absolute, ""),
        ("rise_under_relative_noise", "relative", noisy.relative, ""),
        ("rise_at_first_scale", "absolute", noisy.at_first_scale, ", residual stream at the first budget's scale"),
    ):
        axes, said = (*_BEFORE, f"{kind}_noise"), f"rise of the pre-training loss under {kind} noise{apart}"
        variables[name] = axes, rise.mean, _named(said)
        variables[f"{name}_error"] = axes, rise.error, _named(f"standard error of the {said}")
    scale = {"long_name": "r.m.s. of the embedding of the tokens", "units": "1"}
    variables["stream_scale"] = _BEFORE, noisy.stream_scale, scale
    absolute, relative = (np.asarray(values, np.float64) for values in noisy.scales)
    return xr.Dataset(
        variables,
        coords={
            "pretrain_steps": ("pretrain_steps", budgets, {"long_name": "pre-training budget", "units": "steps"}),
            "learning_rate": (
                "learning_rate",
                np.asarray(learning_rates, np.float64),
                {"long_name": "fine-tuning learning rate", "units": "parameter change per step"},
            ),
            "seed": ("seed", np.arange(before.pretrain.shape[1]), {"long_name": "seed of initial weights and text"}),
            "absolute_noise": ("absolute_noise", absolute, {"long_name": "standard deviation", "units": "1"}),
            "relative_noise": (
                "relative_noise",
                relative,
                {"long_name": "standard deviation / r.m.s. of the array", "units": "1"},
            ),
        },
        attrs={
            "noise_of_training": NOISE_OF_TRAINING,
            "diverged_means": f"a final loss that is not finite, or above {DIVERGED:g} x that of uniform guessing",
        },
    )


def watch(dataset: xr.Dataset, readings: Estimate, alarm: Alarm) -> xr.Dataset:
    """Add the monitors, when the alarm on each of them rings, and how each goes with forgetting.

    Args:
      dataset: as `label` makes it.
      readings: of the monitors, over (budget, seed, measure).
      alarm: judges each monitor of each seed by itself.

    Returns:
      The dataset with `monitor` and `monitor_error` over (measure, budget, seed), `alarm_steps` over (measure, seed),
      NaN where it does not ring, `alarm_lead` over (measure, rate, seed), in e-folds of the budget, NaN unless it rings
      and the curve turns, and `rank_correlation` over the same: Spearman's, of monitor and forgetting over the budgets.
      All that grows with the budget correlates with all else that does: `budget_rank_correlation` is what a clock has.
    """
    values, errors = (np.moveaxis(np.asarray(part), -1, 0) for part in readings)
    budgets, seeds = dataset["pretrain_steps"].values, dataset.sizes["seed"]
    rings = np.full((len(MEASURES), seeds), np.nan)
    if len(budgets) >= alarm.needs:
        for place in np.ndindex(rings.shape):
            curve = (place[0], slice(None), place[1])
            first = alarm.watch(budgets, values[curve], errors[curve]).first
            rings[place] = np.nan if first is None else budgets[first]
    forgetting = dataset["forgetting"].transpose("pretrain_steps", "learning_rate", "seed").values
    correlation = np.full((len(MEASURES), *forgetting.shape[1:]), np.nan)
    for measure, rate, seed in np.ndindex(correlation.shape):
        correlation[measure, rate, seed] = _spearman(values[measure, :, seed], forgetting[:, rate, seed])
    clock = np.asarray([[_spearman(budgets, curve) for curve in rate.T] for rate in np.moveaxis(forgetting, 1, 0)])
    lead = np.log(dataset["inflection_steps"].values / rings[:, None])
    axes = ("measure", "pretrain_steps", "seed")
    each = ("measure", "learning_rate", "seed")
    return dataset.assign(
        monitor=(axes, values, {"long_name": "monitor, on text held out"}),
        monitor_error=(axes, errors, {"long_name": "standard error of the monitor"}),
        alarm_steps=(
            ("measure", "seed"),
            rings,
            {"long_name": "first budget at which the alarm rings", "units": "pre-training steps"},
        ),
        alarm_lead=(each, lead, {"long_name": "ln(inflection point / alarm)", "units": "1"}),
        rank_correlation=(
            each,
            correlation,
            {"long_name": "rank correlation of monitor and forgetting over budgets", "units": "1"},
        ),
        budget_rank_correlation=(
            each[1:],
            clock,
            {"long_name": "rank correlation of budget and forgetting", "units": "1"},
        ),
    ).assign_coords(measure=("measure", texts(MEASURES), {"long_name": "monitor"}))


def _spearman(first: Float[np.ndarray, " budgets"], second: Float[np.ndarray, " budgets"]) -> float:
    """Rank correlation where both are finite; NaN where fewer than three are, or one is constant."""
    usable = np.isfinite(first) & np.isfinite(second)
    ranks = [rankdata(values[usable]) for values in (first, second)]
    if usable.sum() < 3 or min(np.ptp(rank) for rank in ranks) == 0:
        return np.nan
    return float(np.corrcoef(*ranks)[0, 1])


def _named(text: str) -> dict[str, str]:
    return {"long_name": text, **_NATS}
