"""What tuning does to the U: on which tasks curves turn under each rule, and how the tuned rate moves; by samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import xarray as xr

from linsim.finding import Finding
from linsim.labels import counted_harm

from ..words import FEWEST_BUDGETS, between, joined, listed, percent

TURN = 0.05
"""A material turn counts where harm is at least this: less comes from the steps in which pre-training learns modes."""


def find(dataset: xr.Dataset) -> Finding:
    """On which tasks curves that turn at the fixed rate, the control, still turn at the tuned one, in most seeds.

    Not seen where none does, be it that tuning removes every U or that there is none; nobody can tell where budgets are
    too few for a turn, or where runs at the fixed rate diverged or are unstable.
    """
    if (budgets := dataset.sizes["pretrain_steps"]) < FEWEST_BUDGETS:
        told = f"Too few budgets to tell whether tuning removes a U: {budgets}, and it takes {FEWEST_BUDGETS}"
        return Finding(told, "cannot tell", {"budgets": budgets})
    details = tuple(_details(dataset))
    turn, known = (each.sel(trained_on="sample") for each in turning(dataset))
    if not known.sel(rule=["fixed", "tuned"]).any():
        return Finding("Nothing can be said of tuning: every run at the rates allowed diverged", "cannot tell")
    if not known.sel(rule="fixed").any():
        told = "Whether tuning removes a U cannot be told: runs at the fixed rate diverged or are unstable"
        return Finding(told, "cannot tell", {}, details)
    share = turn / known
    turns, gone = share.sel(rule="fixed") > 0.5, share.sel(rule="tuned") < 0.5
    removed, kept = (dataset["factor"].values[turns & where] for where in (gone, ~gone))
    numbers: dict[str, float] = {"removed": len(removed), "kept": len(kept)}
    if not len(removed) and not len(kept):
        told = "At the fixed rate more pre-training does not hurt: there is no U for tuning to remove"
        return Finding(told, "not seen", numbers, details)
    time = dataset["rule_time"].sel(trained_on="sample", rule="tuned")
    last = time.isel(pretrain_steps=-1)
    parts = []
    if len(removed):
        fall = (time.max("pretrain_steps") / last).median("seed").sel(factor=removed)
        numbers |= {"removed_up_to": removed[-1], "least_fall": float(fall.min())}
        parts.append(f"removes the U at {_tasks(removed)}, where the tuned rate falls {between(fall, 2)} times")
    if len(kept):
        limit = dataset.attrs["finetune_steps"] * dataset.attrs["largest_rate"]
        end = last.median("seed").sel(factor=kept) / limit
        numbers |= {"least_end": float(end.min())}
        ends = f"ends at {between(np.round(100 * end))} % of the largest allowed"
        which, it = ("but not", "it") if parts else ("does not remove the U", "the tuned rate")
        parts.append(f"{which} at {_tasks(kept)}, where {it} {ends}")
    return Finding(f"Tuning the rate {', '.join(parts)}", "seen" if len(kept) else "not seen", numbers, details)


def table(dataset: xr.Dataset) -> list[str]:
    """Harm by task and rule."""
    harm = known_harm(dataset).sel(trained_on="sample")
    widths = {str(rule): max(len(str(rule)), 12) + 2 for rule in dataset["rule"].values}
    lines = ["harm (turns)" + "".join(f"{rule:>{width}}" for rule, width in widths.items())]
    for factor in dataset["factor"].values:
        cells = (f"{_cell(harm.sel(factor=factor, rule=rule).values):>{width}}" for rule, width in widths.items())
        lines.append(f"{f'x{factor:g}':>12}" + "".join(cells))
    return lines


def known_harm(dataset: xr.Dataset) -> xr.DataArray:
    """Harm of every curve; NaN where the run from the largest budget diverged, so that there is nothing to compare.

    Where that run diverges at the fixed rate, so does it when stopped at its first step: it descended nowhere. Beyond
    the edge of stability runs at the fixed rate tell nothing either, stopped or not.
    """
    beyond = dataset["unstable"].sel(learning_rate=dataset.attrs["largest_rate"], drop=True)
    stopped = dataset["rule"].isin(["stopped", "stopped within 1 %"])
    harm = counted_harm(dataset, "rule_").where(~(beyond & (stopped | (dataset["rule"] == "fixed"))))
    stop = dataset["rule_time"].isel(pretrain_steps=-1, drop=True) / dataset.attrs["largest_rate"]
    early = (stop < 1.5) & ~np.isfinite(harm.sel(rule="fixed", drop=True))
    return harm.where(np.isfinite(harm) & ~(early & stopped))


def turning(dataset: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """For every rule and task how many curves turn, and of how many harm is known."""
    harm = known_harm(dataset)
    return (harm >= TURN).sum("seed"), harm.notnull().sum("seed")


def _details(dataset: xr.Dataset) -> Iterator[str]:
    """Tasks that say nothing, the population, no limit on the rate, matched loss, early stopping, and theory."""
    _, known = turning(dataset)
    lost = dataset["factor"].values[(known.sel(trained_on="sample", rule="fixed") == 0).values]
    if 0 < len(lost) < dataset.sizes["factor"]:
        told = "diverged or are unstable: whether tuning removes a U there cannot be told."
        yield f"At {_tasks(lost)} runs at the fixed rate {told}"
    limit = dataset.attrs["finetune_steps"] * dataset.attrs["largest_rate"]
    time = dataset["rule_time"].sel(trained_on="population", rule="tuned")
    share = f"the tuned rate is the largest one allowed in {percent(float((time >= 0.999 * limit).mean()))} of the runs"
    yield f"On the population {share}, and {_counted(dataset, 'tuned', 'population')}."
    harm = counted_harm(dataset, "rule_").sel(trained_on="sample", rule="matched")
    most = harm.where(np.isfinite(harm)).max()
    matched = _counted(dataset, "matched") + (f", harm at most {percent(float(most))}" if most.notnull() else "")
    yield f"With any rate {_counted(dataset, 'tuned, any rate')}; at matched fine-tuning loss {matched}."
    yield f"With early stopping {_counted(dataset, 'stopped')}{_beside_tuning(dataset)}."
    yield _theory(dataset)


def _beside_tuning(dataset: xr.Dataset) -> str:
    """How far early stopping is tuning by other means, where it goes anywhere."""
    here = dataset[["rule_time", "rule_pretrain_loss"]].sel(trained_on="sample")
    descended = known_harm(dataset).sel(trained_on="sample", rule="stopped").notnull()
    stopped, tuned = (here.sel(rule=rule).where(descended).map(np.log) for rule in ("stopped", "tuned"))
    apart = abs(stopped - tuned)
    time, loss = (float(np.expm1(each.max())) for each in apart.values())
    if not np.isfinite([time, loss]).all():
        return ""
    return f"; against tuning rate x steps differ by at most {percent(time)}, losses by {percent(loss)}"


def _theory(dataset: xr.Dataset) -> str:
    """The closed form beside the simulation, over the rules that stay below the largest rate, and at last."""
    if "predicted_rule_harm" not in dataset:
        return f"Closed form: {dataset.attrs['prediction']}."
    limited = dataset.sel(rule=["fixed", "tuned", "stopped"])  # which stay below the largest rate allowed
    off = abs(limited["predicted_rule_pretrain_loss"] / limited["rule_pretrain_loss"] - 1).median()
    if off.isnull():
        return "Closed form: nothing to compare, as every run diverged."
    harms = counted_harm(limited, "rule_"), counted_harm(limited, "predicted_rule_")
    known = np.isfinite(harms[0]) & np.isfinite(harms[1])
    same = ((harms[0] >= TURN) == (harms[1] >= TURN)).where(known).mean()
    turn = f", the same curves turn in {percent(float(same))}" if known.any() else ""
    last = dataset["rule_time"].sel(trained_on="sample", rule="tuned").isel(pretrain_steps=-1).median("seed")
    late, ends = dataset["late_time"], ""
    if late.notnull().any():
        ends = f"; tuned rate x steps end at {listed(last.values)}, expected {listed(late.values)}"
    return f"Closed form: losses differ by {percent(float(off))} (median){turn}{ends}."


def _counted(dataset: xr.Dataset, rule: str, on: str = "sample") -> str:
    """How many curves turn, of all tasks together."""
    turn, known = (int(each.sel(rule=rule, trained_on=on).sum()) for each in turning(dataset))
    lost = dataset.sizes["factor"] * dataset.sizes["seed"] - known
    return f"{turn} of {known} curves turn" + f" ({lost} unstable)" * (lost > 0) if known else "all curves are unstable"


def _cell(harm: np.ndarray) -> str:
    """Lower median, and of how many seeds how many turn."""
    known = harm[~np.isnan(harm)]
    if not len(known):
        return "unstable"
    middle = np.quantile(known, 0.5, method="lower")
    return f"{100 * middle:.0f} % ({int((known >= TURN).sum())}/{len(known)})"


def _tasks(factors: Iterable[float]) -> str:
    return joined([f"\N{MULTIPLICATION SIGN}{factor:g}" for factor in factors])
