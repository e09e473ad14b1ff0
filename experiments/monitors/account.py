"""One transfer's account: what fine-tuning did from every checkpoint, what the monitors read, and when they rang."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int
from numpy.lib.stride_tricks import sliding_window_view
from scipy.stats import t as student

from linsim.labels import lost_lanes
from linsim.measure import Measure
from linsim.monitoring.alarm import Alarm
from linsim.sweeping.sweep import chart
from linsim.theory.turns import locate

from ..words import distrust
from .family import STRENGTHS, Member
from .values import LINE, MONITORS, read_monitors, rehearsal_of

HARMLESS, HARMFUL, LOST, UNRESOLVED, REHEARSED = 0, 1, 2, 3, 4
OUTCOMES = ("harmless", "harmful", "diverged or unstable", "unresolved", "rehearsed")
"""Of a cell (rate, strength); unresolved: harm within the error of its minibatch runs. The first two are scored."""

_CERTAIN = 0.99  # level at which the harm of several minibatch runs must differ from 0


@dataclass(frozen=True, eq=False)
class Account:
    """Axes: rate, strength, checkpoint, threshold of the alarm. Losses are means over minibatch runs."""

    loss_before: Float[np.ndarray, " checkpoints"]
    loss_after: Float[np.ndarray, "checkpoints rates strengths"]
    inflection: Float[np.ndarray, "rates strengths"]
    predicted: Float[np.ndarray, "rates strengths"]
    """In closed form; NaN where there is none."""
    harm: Float[np.ndarray, "rates strengths"]
    outcome: Int[np.ndarray, "rates strengths"]
    values: dict[str, Float[np.ndarray, "rates checkpoints"]]
    alarms: dict[str, Int[np.ndarray, "rates thresholds"]]
    """Checkpoint of the first alarm, or the number of checkpoints where there is none."""
    peaks: dict[str, Float[np.ndarray, " rates"]]
    """How alarming the run was at its worst: the largest bound; of a rehearsal its harm."""
    distrust: str
    """What the chart's own check says against it; empty where all is well."""


def account(
    member: Member,
    alarm: Alarm,
    thresholds: Float[np.ndarray, " thresholds"],
    harmful: float,
    measures: Sequence[Measure],
) -> Account:
    """Pre-train, read the monitors, fine-tune from every checkpoint.

    Args:
      member: of the family.
      alarm: for the monitors that are watched for growth, at each of the thresholds.
      thresholds: on the growth.
      harmful: harm above which a cell is harmful.
      measures: what the monitors read.
    """
    problem = member.problem
    result = chart(problem, member.rates, np.asarray(STRENGTHS), measures=measures, tolerance=None)
    values = read_monitors(problem, result)
    rehearsed = rehearsal_of(result)["pretrain_loss_after"].values
    watched = {name: _watch(problem.budgets, value, alarm) for name, value in values.items()}
    alarms, peaks = {}, {}
    for name, monitor in MONITORS.items():
        alarms[name], peaks[name] = _ring(
            monitor.rule, values[name], watched[name], rehearsed, alarm, thresholds, harmful
        )
    loss, floor = result["pretrain_loss_after"].mean("seed").values, result.attrs["rounding_floor"]
    lost = np.asarray(lost_lanes(result).any(["pretrain_steps", "seed"]))
    turning = locate(problem.budgets, np.where(lost, np.nan, loss), scale=result.attrs["zero_loss"], floor=floor)
    # A rise that is not material has no turn to foresee.
    harm = np.where(np.isnan(turning.steps) & ~np.isnan(turning.harm), 0.0, turning.harm)
    return Account(
        result["pretrain_loss_before"].mean("seed").values,
        loss,
        turning.steps,
        result["predicted_inflection_steps"].values[..., 0],
        harm,
        _outcomes(result, harm, lost, harmful),
        values,
        alarms,
        peaks,
        distrust(result),
    )


def _outcomes(
    result: xr.Dataset, harm: np.ndarray, lost: np.ndarray, harmful: float
) -> Int[np.ndarray, "rates strengths"]:
    """Whether each cell is harmful, beyond the error of its minibatch runs where there are several."""
    outcome = np.where(harm > harmful, HARMFUL, HARMLESS)
    curves = result["pretrain_loss_after"].values
    runs = curves.shape[-1]
    if runs > 1:
        best = np.argmin(curves.mean(axis=-1), axis=0)
        rises = curves[-1] - np.take_along_axis(curves, best[None, ..., None], axis=0)[0]
        error = rises.std(axis=-1, ddof=1) / np.sqrt(runs) * student.ppf(_CERTAIN, runs - 1)
        outcome = np.where((outcome == HARMFUL) & ~(rises.mean(axis=-1) > error), UNRESOLVED, outcome)
    outcome = np.where(lost, LOST, outcome)
    outcome[len(outcome) // 2, 0] = REHEARSED
    return outcome


def _watch(budgets: np.ndarray, values: np.ndarray, alarm: Alarm) -> Float[np.ndarray, "rates checkpoints"]:
    return np.stack([alarm.watch(budgets, value).lower for value in values])


def _ring(
    rule: str,
    values: np.ndarray,
    bounds: np.ndarray,
    rehearsed: np.ndarray,
    alarm: Alarm,
    thresholds: np.ndarray,
    harmful: float,
) -> tuple[Int[np.ndarray, "rates thresholds"], Float[np.ndarray, " rates"]]:
    """First alarms and how alarming the run was, by the rule of the monitor; `fixed` rings elsewhere."""
    rates, checkpoints = values.shape
    never, calm = np.full((rates, len(thresholds)), checkpoints), np.zeros(rates)
    match rule:
        case "growth":
            firsts = [[first_run(bound > level, alarm.consecutive) for level in thresholds] for bound in bounds]
            return np.asarray(firsts), np.max(bounds, axis=1, initial=-np.inf, where=~np.isnan(bounds))
        case "half":
            return np.full_like(never, first_run(values[0] >= 0.5, 1)), calm
        case "line":
            return np.full_like(never, first_run(values[0] > LINE, 1)), calm + np.log(values[0].max())
        case "turn":
            least = np.minimum.accumulate(rehearsed)
            rises = np.append(False, np.diff(rehearsed) > 0) & (rehearsed > (1 + harmful) * least)
            return np.full_like(never, first_run(rises, alarm.consecutive)), calm + rehearsed[-1] / least[-1] - 1
        case _:
            return never, calm


def first_run(flags: Bool[np.ndarray, " checkpoints"], length: int) -> int:
    """Where the first run of `length` flags is complete; the number of flags where there is none."""
    if length > len(flags):
        return len(flags)
    complete = sliding_window_view(flags, length).all(axis=1)
    return int(np.argmax(complete)) + length - 1 if complete.any() else len(flags)
