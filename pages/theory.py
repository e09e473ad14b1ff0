"""The page on which the theory is played with: the default problem in closed form, computed in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xarray as xr

from linsim.finding import Finding
from linsim.labels import label
from linsim.storage.store import DATA, load

from .page import assembled
from .tables import tables

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
    """The finding, and the table of its cases."""
    finding = Finding.of(sizes)
    league, _ = tables(label(sizes))
    return {"sentence": finding.sentence, "details": list(finding.details), "table": league[0] if league else None}
