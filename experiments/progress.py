"""Progress of a part as progress of the whole, for experiments that compute several things one after another."""

from __future__ import annotations

from linsim.progress.showing import Progress


def part_of(report: Progress | None, number: int, count: int) -> Progress | None:
    """What one of several equal parts reports to, in thousandths of a part; None where nobody listens.

    Args:
      report: of the whole.
      number: of the part, from 0.
      count: of parts.
    """
    if report is None:
        return None

    def told(done: int, total: int) -> None:
        report(round(1000 * (number + done / total)), 1000 * count)

    return told
