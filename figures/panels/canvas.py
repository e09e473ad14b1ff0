"""The sheet that a picture is drawn on: one style, no display, the same bytes from every run."""

from __future__ import annotations

import textwrap
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from linsim.errors import RunFailed

_STYLE = Path(__file__).parent.parent / "style.mplstyle"
_UNDATED: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
}  # what would differ between two runs or two machines
_LETTERS_PER_INCH = 9.2  # of a title


def style() -> AbstractContextManager[None]:
    """The look of all figures; a context, so that nobody else's settings change or matter."""
    return matplotlib.style.context(["default", str(_STYLE)])


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, that needs no display."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def entitle(figure: Figure, sentence: str) -> None:
    """Write a sentence above all panels, in as many lines as it takes; a number keeps its percent sign."""
    words, room = sentence.replace(" %", "\N{NO-BREAK SPACE}%"), int(_LETTERS_PER_INCH * figure.get_figwidth())
    figure.suptitle(textwrap.fill(words, room, break_on_hyphens=False), x=0.012, ha="left")


def settle(figure: Figure) -> Figure:
    """The figure with its axes where the layout puts them, to a millionth of its size.

    The layout of a nested grid is found up to rounding, in an order that differs between runs; the last bits of a
    position would change the names of clip paths in the SVG.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine(None)  # "none" would leave an engine that does nothing, with which saving draws twice
    for axes in figure.axes:
        left, bottom, width, height = (round(float(edge), 6) for edge in axes.get_position(original=True).bounds)
        axes.set_position((left, bottom, width, height))
    return figure


def write(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write FOLDER/NAME.png and .svg, the same bytes every time; returns both paths.

    Raises:
      RunFailed: the folder cannot be written, or the disk is full; then no picture is left half-written.
    """
    paths = [folder / f"{name}.{kind}" for kind in _UNDATED]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, metadata in zip(paths, _UNDATED.values(), strict=True):
            figure.savefig(path, metadata=metadata)
    except OSError as error:
        for path in filter(Path.is_file, paths):
            path.unlink()
        raise RunFailed(f"out: {folder}/{name} could not be drawn ({error.strerror or error})") from error
    return paths
