"""Whether two commits compute the same: every variable that both keep, held against each other.

    python -m benchmarks.agreement OLD_RESULTS NEW_RESULTS [NAME ...]

Both are folders of results, NAME/data.zarr each. To make them, and their pictures with them, at the defaults of every
experiment of the gallery:

    git worktree add ../before COMMIT
    (cd ../before && python -m figures --out pictures)
    python -m figures --out pictures
    python -m benchmarks.agreement ../before/results results

A line an experiment says how many variables were compared, how many numbers were left out, and the largest deviation:
relative to the largest finite size of its variable, and absolute. Lines below it name what disagrees, and which
variables or types are others than before. Numbers agree to 1e-10 in float64 and 1e-5 in float32, NaN and infinite ones
in the same places; flags, names and whole numbers exactly. Lanes that diverged, or that are flagged as unstable, beyond
the edge of stability, are left out: there descent is chaotic, and only their flags are compared. So is what a
variable without budgets makes of them. Exit status 1 where anything disagrees or a result is missing.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from linsim.errors import InvalidInput, require
from linsim.storage import store

TOLERANCES = {8: 1e-10, 4: 1e-5}
"""By the bytes of a number."""

_FLAGS = ("diverged", "unstable")
_BUDGETS = ("pretrain_steps", "width_pretrain_steps", "stage")  # axes that summaries of a curve have lost
_CLOSED_FORM = "predicted_"  # what no lane decides


class Deviation(NamedTuple):
    """How far a variable has moved."""

    name: str
    relative: float
    """To the largest finite size of the variable before."""
    absolute: float
    place: str
    """Where, in words."""


@dataclass
class Agreement:
    """What comparing two results of one experiment has shown."""

    deviations: list[Deviation] = field(default_factory=list)
    """Of every variable compared."""
    left_out: int = 0
    """Numbers beyond the edge of stability."""
    changes: list[str] = field(default_factory=list)
    """Variables that are new, gone or renamed, and types and axes that are others: to be told, not wrong."""
    faults: list[str] = field(default_factory=list)
    """What disagrees."""

    @property
    def worst(self) -> Deviation:
        """The largest relative deviation."""
        return max(self.deviations, key=lambda deviation: deviation.relative, default=Deviation("", 0.0, 0.0, ""))


def compare(old: xr.Dataset, new: xr.Dataset) -> Agreement:
    """Hold two results of one experiment against each other, variable by variable."""
    found = Agreement()
    gone, added = (sorted(map(str, set(one.variables) - set(two.variables))) for one, two in ((old, new), (new, old)))
    beyond = [
        variable.variable
        for dataset in (old, new)
        for name, variable in dataset.data_vars.items()
        if str(name).endswith(_FLAGS) and variable.dtype == bool
    ]
    pairs = {str(name): str(name) for name in old.variables if name in new.variables}
    renamed = _renamed(old, new, gone, added)
    for name, other in sorted((pairs | renamed).items()):
        _compare_variable(found, old[name], new[other].variable, beyond)
    for kind, names in (
        ("gone", [name for name in gone if name not in renamed]),
        ("new", [name for name in added if name not in renamed.values()]),
        ("renamed", [f"{name} -> {other}" for name, other in renamed.items()]),
    ):
        if names:
            found.changes.append(f"{kind}: {', '.join(names)}")
    return found


def _renamed(old: xr.Dataset, new: xr.Dataset, gone: Sequence[str], added: Sequence[str]) -> dict[str, str]:
    """Of variables that are gone, those whose very values stand in a new one, the one of the most similar name."""
    found: dict[str, str] = {}
    for name in gone:
        before = old[name].values
        told = before.size > 1 and bool(np.any(before != before.flat[0]))  # equal values say nothing
        same = [other for other in added if told and other not in found.values() and _alike(before, new[other].values)]
        if same:
            (found[name],) = difflib.get_close_matches(name, same, n=1, cutoff=0.0)
    return found


def _alike(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether two arrays agree to the tolerance."""
    if before.shape != after.shape or before.dtype.kind != after.dtype.kind:
        return False
    if before.dtype.kind != "f":
        return bool(np.all(before == after))
    size = np.max(np.abs(before), initial=0.0, where=np.isfinite(before))
    return np.allclose(after, before, rtol=0.0, atol=_allowed(before, after) * size, equal_nan=True)


def _compare_variable(found: Agreement, was: xr.DataArray, new: xr.Variable, beyond: list[xr.Variable]) -> None:
    """Add to what was found what one variable shows."""
    name = str(was.name)
    if was.dtype != new.dtype:
        found.changes.append(f"{name}: {new.dtype}, was {was.dtype}")
    if was.dims != new.dims:
        found.changes.append(f"{name}: over {', '.join(map(str, new.dims))}; was over {', '.join(map(str, was.dims))}")
    if set(was.dims) == set(new.dims):
        new = new.transpose(*was.dims)
    if was.shape != new.shape:
        found.faults.append(f"{name}: shape {new.shape}, was {was.shape}")
    elif {was.dtype.kind, new.dtype.kind} <= set("fiu"):
        _compare_numbers(found, was, new.values, ~_left_out(was, beyond))
    else:
        found.deviations.append(Deviation(name, 0.0, 0.0, ""))
        if differ := int(np.count_nonzero(was.values != new.values)):
            found.faults.append(f"{name}: {differ} of {was.size} are others")


def _compare_numbers(found: Agreement, was: xr.DataArray, new: np.ndarray, kept: np.ndarray) -> None:
    """Add how far the kept ones of some numbers have moved, and where one is NaN or infinite and the other is not."""
    before, after = was.values.astype(np.float64), new.astype(np.float64)
    finite = np.isfinite(before) & np.isfinite(after)
    same = finite | (before == after) | (np.isnan(before) & np.isnan(after))
    moved = np.where(kept & finite, np.abs(np.where(finite, after, 0.0) - np.where(finite, before, 0.0)), 0.0)
    most, size = (float(np.max(values, initial=0.0)) for values in (moved, np.abs(before)[kept & finite]))
    relative = 0.0 if most == 0 else most / size if size else np.inf
    found.left_out += int(np.count_nonzero(~kept))
    found.deviations.append(Deviation(str(was.name), relative, most, _place(was, moved) if most else ""))
    if lost := int(np.count_nonzero(kept & ~same)):
        found.faults.append(f"{was.name}: {lost} of {was.size} are NaN or infinite in one of the two only")
    if relative > (allowed := _allowed(was.values, new)):
        place = f" at {found.deviations[-1].place}" if was.ndim else ""
        found.faults.append(f"{was.name}: {relative:.2g} of its largest size, {most:.2g}{place}; allowed {allowed:g}")


def _allowed(before: np.ndarray, after: np.ndarray) -> float:
    """Tolerance of two arrays: that of the less precise one; none between whole numbers."""
    return max((TOLERANCES.get(each.itemsize, 0.0) for each in (before, after) if each.dtype.kind == "f"), default=0.0)


def _left_out(variable: xr.DataArray, beyond: list[xr.Variable]) -> np.ndarray:
    """Where a variable tells of lanes beyond the edge of stability; without budgets, where any budget's lane is."""
    out = xr.zeros_like(variable.variable, dtype=bool)
    if variable.name not in variable.coords and _CLOSED_FORM not in str(variable.name):
        for flag in beyond:
            lost = [dim for dim in flag.dims if dim in _BUDGETS and dim not in variable.dims]
            lengths = {dim: length for dim, length in flag.sizes.items() if dim not in lost}
            if lengths.items() <= variable.sizes.items():
                out = out | flag.any(lost)
    return out.transpose(*variable.dims).values


def _place(variable: xr.DataArray, moved: np.ndarray) -> str:
    """Where something moved most, by the labels of the axes."""
    at = np.unravel_index(int(np.argmax(moved)), moved.shape)
    named = [
        f"{dim}={variable[dim].values[index] if dim in variable.coords else index}"
        for dim, index in zip(variable.dims, at, strict=True)
    ]
    return ", ".join(named)


def _names(folder: Path) -> list[str]:
    require(folder.is_dir(), "results", str(folder), "a folder of results, NAME/data.zarr each")
    return sorted(path.parent.name for path in folder.glob(f"*/{store.DATA}"))


def _told(name: str, found: Agreement) -> str:
    """A line on an experiment, and what is to be said below it."""
    worst = found.worst
    most = f"{worst.relative:8.2g} {worst.absolute:8.2g}  {worst.name if worst.absolute else ''}"
    line = f"{name:<26}{len(found.deviations):9}{found.left_out:10}  {most}".rstrip()
    below = [f"    DISAGREES {fault}" for fault in found.faults] + [f"    {change}" for change in found.changes]
    return "\n".join([line, *below])


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; exit status 0, 1 for a disagreement or a missing result, 2 for a bad argument."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, metavar="OLD_RESULTS", help="results of the commit before")
    parser.add_argument("new", type=Path, metavar="NEW_RESULTS", help="results of the commit after")
    parser.add_argument("names", nargs="*", metavar="NAME", help="experiments to compare; default all of OLD_RESULTS")
    given = parser.parse_args(arguments)
    wrong: list[str] = []
    try:
        before, after = _names(given.old), _names(given.new)
        wanted = given.names or before
        require(bool(wanted), "OLD_RESULTS", str(given.old), "a folder with results in it")
        print(f"{'experiment':<26}{'variables':>9}{'left out':>10}  {'relative':>8} {'absolute':>8}  largest of")
        for name in wanted:
            if name not in before or name not in after:
                wrong.append(name)
                print(f"{name:<26}no result in {given.new if name in before else given.old}")
                continue
            found = compare(store.load(given.old / name), store.load(given.new / name))
            print(_told(name, found), flush=True)
            wrong += [name] * bool(found.faults)
    except InvalidInput as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{len(wanted) - len(wrong)} of {len(wanted)} agree")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
