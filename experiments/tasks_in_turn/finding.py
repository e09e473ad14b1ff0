"""Whether forgetting is worst for tasks that are neither alike nor unlike, and whether a new head is the reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import xarray as xr

from linsim.finding import Finding, Verdict
from linsim.theory.over_seeds import OverSeeds, over_seeds
from linsim.theory.turns import LEAST_EXCESS

from ..words import NEGLIGIBLE, few_seeds, interval, joined, percent, tabular

COPIED = "copied"
LEARNED = 1e-3
"""Loss of the second task, over that of the zero network, up to which it counts as learned: it is matched there."""


class Peak(NamedTuple):
    """Where forgetting is worst between the least and the most similar tasks, by one head."""

    overlap: float
    gains: tuple[OverSeeds, OverSeeds]
    """By how much it is above that of the least, and of the most similar tasks."""

    @property
    def verdict(self) -> Verdict:
        """Seen where both are material in their intervals, not seen where one is not."""
        least = max(LEAST_EXCESS, NEGLIGIBLE)
        if any(not gain.seeds for gain in self.gains):
            return "cannot tell"
        if all(gain.ends[0] > least for gain in self.gains):
            return "seen"
        return "not seen" if any(gain.ends[1] <= least for gain in self.gains) else "cannot tell"


def matched(dataset: xr.Dataset) -> xr.DataArray:
    """Forgetting where the second task was learned; NaN elsewhere."""
    return dataset["forgetting"].where(dataset["second_loss"] <= LEARNED)


def peak(dataset: xr.Dataset, head: str) -> Peak | None:
    """None where there are no tasks in between, or the least or the most similar pair is not known."""
    values = matched(dataset).sel(head=head).transpose("overlap", "seed").values
    known = np.isfinite(values).any(axis=1)
    if len(values) < 3 or not known[[0, -1]].all() or not known[1:-1].any():
        return None
    middle = np.array([np.nanmedian(row) if told else -np.inf for row, told in zip(values, known, strict=True)])
    at = 1 + int(np.argmax(middle[1:-1]))
    gains = over_seeds(values[at] - values[0]), over_seeds(values[at] - values[-1])
    return Peak(float(dataset["overlap"][at]), gains)


def find(dataset: xr.Dataset) -> Finding:
    """Whether with a fresh head the first task is forgotten most between the least and the most similar second task.

    Seen where it is for some scale of the head and not with a copied head; not seen where it is for none; nobody can
    tell otherwise.
    """
    heads = [str(head) for head in dataset["head"].values]
    told = {head: peak(dataset, head) for head in heads}
    verdicts = {head: "cannot tell" if each is None else each.verdict for head, each in told.items()}
    fresh = [head for head in heads if head != COPIED]
    seen = [head for head in fresh if verdicts[head] == "seen"]
    control = verdicts.get(COPIED, "cannot tell")
    details = tuple(_beside(dataset))
    counts = {"heads": len(fresh), "seen": len(seen)}
    if seen and control == "not seen":
        head = seen[0]
        each = told[head]
        losses = matched(dataset).sel(head=head).median("seed")
        ends = f"{float(losses[0]):.2g}, {float(losses.max()):.2g} and {float(losses[-1]):.2g}"
        overlap = 0.0 if each is None else each.overlap
        first, last = (f"{float(dataset['overlap'][at]):g}" for at in (0, -1))
        sentence = (
            f"With a fresh head forgetting is worst between: {ends} of the zero loss at overlap {first}, {overlap:g} "
            f"and {last}; with a copied head it is not"
        )
        return Finding(sentence, "seen", counts | {"overlap": overlap, "worst": float(losses.max())}, details)
    if all(verdicts[head] == "not seen" for head in fresh):
        sentence = "With a fresh head forgetting is nowhere worse than at one end of the similarities that were tried"
        return Finding(sentence, "not seen", counts, details)
    why = "a copied head shows it too" if seen and control == "seen" else "tasks are not learned, or seeds differ"
    return Finding(f"Whether forgetting is worst in between cannot be told: {why}", "cannot tell", counts, details)


def table(dataset: xr.Dataset) -> list[str]:
    """Forgetting over the overlap, by heads, with the closed form."""
    losses = matched(dataset)
    heads = ("head", *(f"o = {overlap:g}" for overlap in dataset["overlap"].values), "worst between")
    rows = []
    for head in map(str, dataset["head"].values):
        told = [_number(float(each)) for each in losses.sel(head=head).median("seed").values]
        each = peak(dataset, head)
        rows.append([head, *told, "cannot tell" if each is None else each.verdict])
    for head, name in ((COPIED, "theory, copied"), (str(dataset["head"].values[-1]), "theory, from 0")):
        if head in dataset["head"].values:
            theory = dataset["predicted_forgetting"].sel(head=head).values
            rows.append([name, *(_number(float(value)) for value in theory), ""])
    return tabular(heads, rows)


def _number(value: float) -> str:
    return f"{value:.3g}" if np.isfinite(value) else "unknown"


def _beside(dataset: xr.Dataset) -> Iterator[str]:
    """Four tasks in turn, and reversal."""
    steps, count = dataset.attrs["task_steps"], dataset.sizes["task"]
    losses, ends = dataset["turn_loss"], steps * np.arange(1, count + 1)
    if count > 1 and bool(np.isfinite(losses).all()):
        first = [interval(losses.sel(turn_steps=end).isel(task=0), 1) for end in ends]
        yield f"Loss of the first of {count} tasks after each of them, over the zero network's: {', '.join(first)}."
        off = abs(losses - dataset["predicted_turn_loss"]).sel(turn_steps=ends).max()
        exact = abs(losses - dataset["exact_turn_loss"]).max()
        yield (
            f"At the end of each it is that of the task just solved, within {float(off):.2g}; the exact solution, "
            f"iterated, is off by {float(exact):.2g} on the way."
        )
    for start in map(str, dataset["start"].values):
        times = dataset["reversal_time"].sel(start=start)
        parts = [interval(times.sel(budget=budget), 1) for budget in times["budget"].values]
        theory = float(dataset["predicted_reversal_time"].sel(start=start))
        named = start if not start[0].isdigit() else f"l = {start}"
        told = f"; in closed form {theory:.3g}" if np.isfinite(theory) else ""
        lost = float(times.isnull().mean())
        never = f"; never in {percent(lost)} of runs" if lost else ""
        yield f"Flow time to reverse a task, {named}, over steps on it before: {', '.join(parts)}{told}{never}."
    yield f"Steps before: {joined([f'{budget:g}' for budget in dataset['budget'].values])}."
    yield from few_seeds(dataset.sizes["seed"])
