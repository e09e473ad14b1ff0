"""The figure of any result, by the module that draws its experiment."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import xarray as xr
from matplotlib.figure import Figure

from linsim.errors import brief, require
from linsim.storage import store

from .gallery import GALLERY, OTHERS, Entry

_OF_CHARTS = "overtraining_chart"


def plot(result: xr.Dataset | Path | str) -> Figure:
    """The figure of a result, with what was found as its title.

    Args:
      result: what an experiment or `linsim.chart` returned, or the folder that holds it.

    Raises:
      InvalidInput: there is no figure of such results, or there are variables missing that it needs.
    """
    known = isinstance(result, xr.Dataset | Path | str)
    require(known, "result", brief(result), "a dataset, or the folder that holds one")
    dataset = result if isinstance(result, xr.Dataset) else store.load(result)
    name = dataset.attrs.get("experiment", _OF_CHARTS)
    entries = (*GALLERY, *OTHERS)
    entry = next((each for each in entries if (each.experiment or each.name) == name), Entry(name))
    try:
        drawing = import_module(entry.drawn_by)
    except ModuleNotFoundError as error:
        require(error.name != entry.drawn_by, "result", f"one of {name}", "results of an experiment that has a figure")
        raise
    figure: Figure = drawing.draw(dataset)
    return figure
