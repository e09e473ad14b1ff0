"""The page on which the theory is played with: the default problem in closed form, computed in the browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import xarray as xr

from linsim.finding import Finding
from linsim.storage.store import DATA, load

from .page import assembled

SCRIPTS = ("scales.js", "plot.js", "state.js", "map.js", "table.js", "closed_form.js", "theory.js")
_SIZES = "goldilocks"
_STORED = Path(__file__).parents[1] / "figures" / "stored"


def page(sizes: xr.Dataset | None = None) -> str:
    """The text of the page.

    Args:
      sizes: a result of `goldilocks`, which models of which size are trained for how long; its chapter is left out
        without one.
    """
    data = {} if sizes is None else {_SIZES: _told(sizes)}
    return assembled("Play with the theory of catastrophic overtraining", "theory.html", SCRIPTS, data)


def at_hand() -> xr.Dataset | None:
    """The result of `goldilocks` in results/, or the one that comes with the figures; None where there is none."""
    places = (Path("results") / _SIZES, _STORED / _SIZES)
    found = next((place for place in places if (place / DATA).is_dir()), None)
    return None if found is None else load(found)


def _told(sizes: xr.Dataset) -> dict[str, Any]:
    """The finding, with those of its details that say of every task what came out as a table."""
    finding = Finding.of(sizes)
    tasks = [str(name) for name in sizes["task"].values] if "task" in sizes.coords else []
    rows = [row for line in finding.details if (row := _row(line, tasks))]
    rest = [] if rows else list(finding.details)
    says = {"name": "says", "words": "the usual account", "units": "", "values": [row[0] for row in rows]}
    columns = [{"name": name, "words": name, "units": ""} for name in tasks]
    table = {"axes": [says], "columns": columns, "rows": rows} if rows else None
    return {"sentence": finding.sentence, "details": rest, "table": table}


def _row(line: str, tasks: list[str]) -> list[str] | None:
    """What is said, and what came out on every task, of a line "says - task: told; task: told."; None of others."""
    says, _, told = line.removesuffix(".").partition(" - ")
    found = re.fullmatch("; ".join(f"{re.escape(name)}: (.*)" for name in tasks), told) if tasks else None
    return [says, *found.groups()] if found else None
