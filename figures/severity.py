"""How far harm and excess range over the alternatives of each question, by one recipe and at equal effort."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from linsim.theory.over_seeds import over_seeds

from .panels.axes import LEAST_HARM
from .panels.canvas import new_figure
from .panels.looks import GREY, looks
from .picture import Picture

_NEEDED = {"question", "case", "name", "recipe", "seed", "harm", "excess"}
_APART = 0.34  # of the two recipes of a case, in rows
_LABELS = {"harm": "harm of the longest budget", "excess": "excess, in units of the zero network's loss"}


def _paint(dataset: xr.Dataset) -> Figure:
    """A row for each case, grouped by question; a marker for each alternative."""
    cases = list(dict.fromkeys(zip(dataset["question"].values, dataset["case"].values, strict=True)))
    places = _places([question for question, _ in cases])
    figure = new_figure(11.0, 1.6 + 0.46 * float(places.max() + 1))
    both = figure.subplots(1, 2, sharey=True, width_ratios=(1.7, 1))
    styles = looks(dataset.sizes["recipe"], sizes=(5.0,))
    for axes, name in zip(both, _LABELS, strict=True):
        for place, (question, case) in zip(places, cases, strict=True):
            of = (dataset["question"].values == question) & (dataset["case"].values == case)
            for at, look in enumerate(styles):
                offset = _APART * (at - (len(styles) - 1) / 2)
                row = dataset.isel(alternative=np.flatnonzero(of), recipe=at)
                _draw_range(axes, row[name], row["name"].values, float(place) + offset, look, named=name == "harm")
        _scale(axes, dataset[name], 120 if name == "harm" else 4)
        axes.set_xlabel(_LABELS[name])
        axes.grid(axis="y", visible=False)
    _label_rows(both[0], cases, places)
    recipes = zip(dataset["recipe"].values, styles, strict=True)
    handles = [
        Line2D([], [], label=f"{recipe}: median of each alternative, with 95 % interval over seeds", **look.points)
        for recipe, look in recipes
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8)
    return figure


def _places(questions: list[Any]) -> np.ndarray:
    """Rows from above, with a gap where the question changes."""
    changes = np.array([0] + [int(a != b) for a, b in itertools.pairwise(questions)])
    return np.arange(len(questions)) + 1.0 * np.cumsum(changes)


def _draw_range(axes: Axes, values: xr.DataArray, names: np.ndarray, place: float, look: Any, named: bool) -> None:
    told = [over_seeds(each) for each in values.transpose("alternative", "seed").values]
    middles, lows, highs = (np.array([getattr(each, end) for each in told]) for end in ("middle", "low", "high"))
    known = np.flatnonzero(np.isfinite(middles))
    if not known.size:
        axes.text(0.5, place, "not told", transform=axes.get_yaxis_transform(), color=GREY, va="center", ha="center")
        return
    shown = np.maximum(middles[known], LEAST_HARM)
    ends = np.maximum(np.fmin(lows, middles)[known], LEAST_HARM), np.maximum(np.fmax(highs, middles)[known], LEAST_HARM)
    lines: dict[str, Any] = {"elinewidth": 0.8, "capsize": 2.0, "ecolor": look.color, "zorder": 2}
    axes.errorbar(shown, np.full(known.size, place), xerr=(shown - ends[0], ends[1] - shown), fmt="none", **lines)
    axes.hlines(place, shown.min(), shown.max(), color=look.color, linewidth=2.2, alpha=0.5)
    axes.plot(shown, np.full(known.size, place), **look.points)
    if named and np.ptp(middles[known]) > 0:
        beyond = ((np.argmin(shown), "right", -5, ends[0].min()), (np.argmax(shown), "left", 5, ends[1].max()))
        for at, side, apart, end in beyond:
            words: dict[str, Any] = {"textcoords": "offset points", "ha": side, "va": "center", "fontsize": 6.5}
            axes.annotate(str(names[known[at]]), (end, place), (apart, 0), color=look.color, **words)


def _scale(axes: Axes, values: xr.DataArray, room: float) -> None:
    """Percent on a logarithmic axis, what is next to nothing at its lower end, with room for names beside it."""
    finite = values.values[np.isfinite(values.values)]
    top = max(float(finite.max(initial=0.0)), 1.0)
    powers = np.arange(np.log10(LEAST_HARM), np.floor(np.log10(top)) + 1)
    said = [f"{100 * 10**power:,.10g} %".replace(",", " ") for power in powers]
    axes.set(xscale="log", xlim=(LEAST_HARM / room, top * room / 3))
    axes.set_xticks(10**powers, [f"\N{LESS-THAN OR SLANTED EQUAL TO}{said[0]}", *said[1:]])
    axes.tick_params(axis="x", which="minor", bottom=False)
    axes.tick_params(axis="x", labelsize=8)


def _label_rows(axes: Axes, cases: list[tuple[Any, Any]], places: np.ndarray) -> None:
    """The names of cases, and above each group that of its question."""
    axes.set_yticks(places, [str(case) for _, case in cases])
    axes.set_ylim(places[-1] + 0.6, -1.2)
    for at, (question, _) in enumerate(cases):
        if at == 0 or question != cases[at - 1][0]:
            where: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "center"}
            axes.text(-0.02, places[at] - 0.75, str(question), fontweight="bold", fontsize=9, **where)


picture = Picture("severity", "a result of severity", _NEEDED, _paint)
draw, save = picture.draw, picture.save
