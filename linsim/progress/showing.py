"""Who hears of progress: a function that was given, and people by a bar, in a notebook without being asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from linsim.errors import require, require_callable
from linsim.progress.bar import in_notebook, progress_bar

Progress = Callable[[int, int], None]
"""Called with (done, in all) as long work goes on; of training, steps summed over lanes."""


def is_shown(progress: bool | None, report: Progress | None) -> bool:
    """Whether a bar is wanted: as said, else in a notebook where nobody else listens; `InvalidInput` for neither."""
    require(progress is None or isinstance(progress, bool), "progress", progress, "True, False or None")
    if report is not None:
        require_callable("report", report, "a function of (done, in all), or None", takes=2)
    return (report is None and in_notebook()) if progress is None else progress


def telling(*listeners: Progress | None) -> Progress:
    """Whoever tells this tells all listeners there are."""

    def told(done: int, total: int) -> None:
        for listener in listeners:
            if listener is not None:
                listener(done, total)

    return told


@contextmanager
def showing(progress: bool | None, report: Progress | None, doing: str) -> Iterator[Progress]:
    """What work reports to, which tells `report` and a bar where one is wanted.

    Args:
      progress: whether to show a bar; None shows one in a notebook, unless `report` listens already.
      report: whom else to tell.
      doing: what the bar says.
    """
    if not is_shown(progress, report):
        yield telling(report)
        return
    with progress_bar(doing) as bar:
        yield telling(bar, report)
