"""Scores of alarms and monitors, with bootstrap intervals over transfers: cells of one transfer are not independent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata

Sample = Int[np.ndarray, " transfers"]
Scores = dict[str, np.ndarray]

NEAR = 1.0
"""e-folds before the inflection within which an alarm is timely; those before are early."""


@dataclass(frozen=True, eq=False)
class Family:
    """What is scored. Cells are (rate, strength), flattened."""

    budgets: Float[np.ndarray, "transfers checkpoints"]
    inflection: Float[np.ndarray, "transfers cells"]
    harmful: Bool[np.ndarray, "transfers cells"]
    harmless: Bool[np.ndarray, "transfers cells"]
    """Cells that are neither are left out."""
    loss: Float[np.ndarray, "transfers checkpoints cells"]
    """Pre-training loss after fine-tuning over that of the zero map."""
    forgetting: Float[np.ndarray, "transfers checkpoints cells"]
    """Likewise."""
    base: Float[np.ndarray, "transfers checkpoints"]
    """Base loss over that of the first checkpoint."""
    alarms: Int[np.ndarray, "monitors transfers cells thresholds"]
    """Checkpoint, or the number of checkpoints: never."""
    peaks: Float[np.ndarray, "monitors transfers cells"]
    values: Float[np.ndarray, "monitors transfers cells checkpoints"]
    needs: int
    """Checkpoints before an alarm on growth can ring."""

    @property
    def reachable(self) -> Bool[np.ndarray, "transfers cells"]:
        """Harmful cells that turn no earlier than an alarm on growth can ring."""
        if self.needs > self.budgets.shape[1]:
            return np.zeros_like(self.harmful)
        return self.harmful & (self.inflection >= self.budgets[:, [self.needs - 1]])

    @property
    def leads(self) -> Float[np.ndarray, "monitors transfers cells thresholds"]:
        """ln(inflection / alarm budget), e-folds, of harmful cells with an alarm; else NaN."""
        ahead = np.log(self.inflection)[..., None] - np.log(self.at_alarm(self.budgets))
        return np.where(self.harmful[..., None] & self.rang, ahead, np.nan)

    @property
    def rang(self) -> Bool[np.ndarray, "monitors transfers cells thresholds"]:
        """Whether there was an alarm."""
        return self.alarms < self.budgets.shape[1]

    def stopped(self, places: Int[np.ndarray, "monitors transfers cells thresholds"]) -> np.ndarray:
        """The regret of stopping at given checkpoints."""
        transfers, cells = np.ogrid[: self.loss.shape[0], : self.loss.shape[2]]
        at = self.loss[transfers[..., None], places, cells[..., None]]
        return at - self.loss.min(axis=1)[..., None]

    def at_alarm(self, curve: Float[np.ndarray, "transfers checkpoints"]) -> np.ndarray:
        """A curve at the checkpoints of the alarms; at the last one where there is none."""
        places = np.minimum(self.alarms, curve.shape[1] - 1)
        return curve[np.arange(len(curve))[:, None, None], places]


def alarm_scores(family: Family) -> Callable[[Sample], Scores]:
    """Shares of early, timely, late and missed alarms among harmful cells, of false ones among harmless; lead; regret.

    Returns:
      A function of a sample of transfers -> scores, each of shape (monitors, thresholds).
    """
    leads, rang = family.leads, family.rang
    harmful, harmless = family.harmful[..., None], family.harmless[..., None]
    kinds = {
        "early": leads > NEAR,
        "timely": (leads >= 0) & (leads <= NEAR),
        "late": leads < 0,
        "missed": harmful & ~rang,
    }
    per_transfer = {name: kind.sum(axis=2) for name, kind in kinds.items()}
    false, cells = (harmless & rang).sum(axis=2), harmful.sum(axis=1)
    reachable = family.reachable
    reached, within_reach = ((leads >= 0) & reachable[..., None]).sum(axis=2), reachable.sum(axis=1)
    calm = harmless.sum(axis=1)
    scored = harmful | harmless
    learned = np.where(scored & rang, family.at_alarm(family.base), np.nan)
    stopped = family.stopped(np.minimum(family.alarms, family.budgets.shape[1] - 1))
    regrets, told = np.where(harmful, stopped, 0.0).sum(axis=2), (leads, learned)

    def score(sample: Sample) -> Scores:
        shares = {
            name: _ratio(kind[:, sample].sum(axis=1), cells[sample].sum(axis=0)) for name, kind in per_transfer.items()
        }
        shares["in_time"] = shares["early"] + shares["timely"]
        shares["false_alarm"] = _ratio(false[:, sample].sum(axis=1), calm[sample].sum(axis=0))
        shares["informedness"] = shares["in_time"] - shares["false_alarm"]
        in_reach = _ratio(reached[:, sample].sum(axis=1), within_reach[sample].sum(axis=0))
        shares["in_time_of_reachable"] = in_reach
        shares["informedness_of_reachable"] = in_reach - shares["false_alarm"]
        medians = (quantiles(each[:, sample].reshape(len(each), -1, each.shape[-1]), (0.5,))[0] for each in told)
        return {
            **shares,
            **dict(zip(("lead", "base_loss_at_alarm"), medians, strict=True)),
            "regret_of_harmful": _ratio(regrets[:, sample].sum(axis=1), cells[sample].sum(axis=0)),
        }

    return score


def monitor_scores(family: Family) -> Callable[[Sample], Scores]:
    """Separation of harmful from harmless cells, and rank correlations with forgetting; a constant has correlation 0.

    * separation: chance that the peak of a harmful cell exceeds that of a harmless one, ties counted half; a peak is
      what the monitor's own alarm looks at
    * separation_of_values: the same of the value at the last checkpoint, one statistic for all monitors
    * correlation_along: over the checkpoints of a cell; median over scored cells
    * correlation_across: over transfers at the last checkpoint; median over cells

    Returns:
      A function of a sample of transfers -> scores, each of shape (monitors,).
    """
    scored = family.harmful | family.harmless
    along = correlations(family)
    read, forgot = family.values[..., -1], family.forgetting[:, -1]

    def score(sample: Sample) -> Scores:
        bad, fine = family.harmful[sample].ravel(), family.harmless[sample].ravel()
        peaks, last = (x[:, sample].reshape(len(x), -1) for x in (family.peaks, read))
        kept = scored[sample].ravel()
        across = spearman(*(np.swapaxes(x, -2, -1) for x in (read[:, sample], forgot[sample])))
        return {
            "separation": separation(peaks[:, bad], peaks[:, fine]),
            "separation_of_values": separation(last[:, bad], last[:, fine]),
            "correlation_along": _middle(along[:, sample], kept),
            "correlation_across": np.median(across, axis=-1),
        }

    return score


def separation(bad: Float[np.ndarray, "monitors _"], fine: Float[np.ndarray, "monitors _"]) -> np.ndarray:
    """Chance that one of the first exceeds one of the second, ties counted half; NaN where either is empty."""
    count = bad.shape[1]
    ranks = rankdata(np.concatenate([bad, fine], axis=1), axis=1)[:, :count]
    return _ratio(ranks.sum(axis=1) - count * (count + 1) / 2, np.full(len(bad), count * fine.shape[1]))


def paired_spreads(family: Family, reference: int) -> Callable[[Sample], Scores]:
    """Spread of leads over the harmful cells in which a monitor and the reference both ring, and its excess.

    * spread_in_common: standard deviation of the leads over these cells
    * spread_above_halved: the same less that of the reference over the same cells

    Args:
      family: whose leads are compared.
      reference: position of the monitor that the others are held against.

    Returns:
      A function of a sample of transfers -> scores, each of shape (monitors, thresholds).
    """
    leads = family.leads
    beside = np.broadcast_to(leads[reference], leads.shape)
    unknown = np.isnan(leads) | np.isnan(beside)
    pair = [np.where(unknown, np.nan, x) for x in (leads, beside)]

    def score(sample: Sample) -> Scores:
        own, other = (_deviation(x[:, sample].reshape(len(x), -1, x.shape[-1])) for x in pair)
        return {"spread_in_common": own, "spread_above_halved": own - other}

    return score


def correlations(family: Family) -> np.ndarray:
    """Rank correlation of each monitor with forgetting along every cell.

    Forgetting is taken to 1e-9 of the zero map's loss and values to nine digits, so that rounding has no rank.
    """
    forgot = np.round(np.moveaxis(family.forgetting, 1, 2), 9)
    values = np.asarray([[significant(values) for values in monitor] for monitor in family.values])
    return spearman(values, forgot)


def spearman(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Rank correlation along the last axis; 0 where one of the two is constant."""
    ranks = [rankdata(values, axis=-1) for values in (first, second)]
    one, other = (rank - rank.mean(axis=-1, keepdims=True) for rank in ranks)
    size = np.sqrt(np.sum(one**2, axis=-1) * np.sum(other**2, axis=-1))
    return np.divide(np.sum(one * other, axis=-1), size, out=np.zeros_like(size), where=size > 0)


def spread_of_inflections(family: Family) -> Callable[[Sample], Scores]:
    """How much ln inflection varies within a transfer, over rate and strength: no monitor of pre-training can see it.

    within: standard deviation about the transfer's mean, of transfers with two harmful cells or more; the least spread
    of leads of any alarm that rings once per transfer.
    """
    logs, counts = np.where(family.harmful, np.log(family.inflection), np.nan), family.harmful.sum(axis=1)
    counts = np.where(counts > 1, counts, 0)
    means = np.nansum(logs, axis=1) / np.maximum(counts, 1)
    inside = np.where(counts > 0, np.nansum((logs - means[:, None]) ** 2, axis=1), 0.0)

    def score(sample: Sample) -> Scores:
        freedom = counts[sample].sum() - np.count_nonzero(counts[sample])
        return {"within": np.sqrt(_ratio(inside[sample].sum(), freedom))}

    return score


def with_intervals(score: Callable[[Sample], Scores], transfers: int, resamples: int, seed: int) -> Scores:
    """Each score with its bootstrap interval over transfers, along a last axis: estimate, 2.5 % and 97.5 %."""
    whole = score(np.arange(transfers))
    rng = np.random.default_rng(seed)
    drawn = [score(rng.integers(transfers, size=transfers)) for _ in range(resamples)]
    return {
        name: np.stack(
            [value, *quantiles(np.stack([one[name] for one in drawn], axis=-2 if value.ndim else 0), (0.025, 0.975))],
            -1,
        )
        for name, value in whole.items()
    }


def quantiles(values: np.ndarray, levels: tuple[float, ...]) -> np.ndarray:
    """Quantiles along the last axis but one (of a vector, along it) that pass over NaN; NaN where nothing is left."""
    rows = values[..., :, None] if values.ndim == 1 else values
    ordered = np.sort(rows, axis=-2)  # NaN last
    count = np.sum(~np.isnan(ordered), axis=-2)
    found = []
    for level in levels:
        place = level * np.maximum(count - 1, 0)
        low = np.floor(place).astype(int)
        high = np.minimum(low + 1, np.maximum(count - 1, 0))
        below, above = (np.take_along_axis(ordered, at[..., None, :], axis=-2)[..., 0, :] for at in (low, high))
        found.append(below + (place - low) * (above - below))
    return np.stack(found)[..., 0] if values.ndim == 1 else np.stack(found)


def significant(values: np.ndarray, digits: int = 9) -> np.ndarray:
    """Values rounded to significant digits."""
    size = np.abs(values)
    power = 10.0 ** (digits - 1 - np.floor(np.log10(np.where(size > 0, size, 1.0))))
    return np.round(values * power) / power


def _deviation(values: np.ndarray) -> np.ndarray:
    """Standard deviation along the last axis but one, passing over NaN."""
    known = ~np.isnan(values)
    count = known.sum(axis=-2)
    mean = _ratio(np.where(known, values, 0.0).sum(axis=-2), count)
    return np.sqrt(_ratio(np.where(known, (values - mean[..., None, :]) ** 2, 0.0).sum(axis=-2), count))


def _middle(values: np.ndarray, kept: np.ndarray) -> np.ndarray:
    flat = values.reshape(len(values), -1)[:, kept]
    return np.median(flat, axis=1) if kept.any() else np.full(len(values), np.nan)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.full(np.broadcast_shapes(part.shape, whole.shape), np.nan), where=whole > 0)
