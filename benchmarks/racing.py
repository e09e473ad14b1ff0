"""What all benchmarks share: peers take turns in one process, results are compared before times are, rows go to JSON.

    python -m benchmarks.NAME [--json FILE] [--quick]

Only ratios mean anything on another machine. `--quick` races small problems once, to see that everything runs.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np


@dataclass(frozen=True)
class Row:
    """One race: work per second of ours and of a peer, and their ratio."""

    name: str
    """What raced against what, and at which size."""
    work: float
    """Work of one run, in units."""
    unit: str
    """What is counted: mode-steps, multiplications, lane-steps, problems, ..."""
    ours: float
    """Units per second, the median round."""
    peer: float
    """Units per second of the peer, the median round."""
    ratio: float
    """Ours / peer, the median over rounds of the ratio within a round."""
    low: float
    """Lower quartile of that ratio."""
    high: float
    """Upper quartile."""
    peak_share: float | None = None
    """Share of the peak of the device that ours reaches, where the peak is known (see `benchmarks.roofline`)."""
    note: str = ""
    """How far the results of the two are apart, and what else a reader should know."""


def race(
    name: str,
    work: float,
    unit: str,
    ours: Callable[[], Any],
    peer: Callable[[], Any],
    *,
    rounds: int = 7,
    peer_work: float | None = None,
    peak: float | None = None,
    note: str = "",
) -> Row:
    """Let two contenders take turns, after one run of each that does not count (compilation, page faults).

    Args:
      name: of the race.
      work: of one run of ours, in units.
      unit: what is counted.
      ours: runs once and returns when its result is there, or returns JAX arrays that are then waited for.
      peer: likewise.
      rounds: of turns; the order changes from round to round.
      peer_work: of one run of the peer where it does less, such as one lane of many; default the same.
      peak: units per second that the device could do at most.
      note: what to tell beside the figures.
    """
    contenders = (ours, peer)
    for run in contenders:
        jax.block_until_ready(run())
    seconds = np.empty((rounds, 2))
    for turn in range(rounds):
        for which in (0, 1) if turn % 2 == 0 else (1, 0):
            started = time.perf_counter()
            jax.block_until_ready(contenders[which]())
            seconds[turn, which] = time.perf_counter() - started
    speeds = np.asarray([work, work if peer_work is None else peer_work]) / seconds
    low, middle, high = np.percentile(speeds[:, 0] / speeds[:, 1], (25, 50, 75)).tolist()
    fast, slow = np.median(speeds, axis=0).tolist()
    return Row(name, work, unit, fast, slow, middle, low, high, None if peak is None else fast / peak, note)


def main(rows: Callable[[bool], Iterable[Row]], description: str | None, arguments: Sequence[str] | None = None) -> int:
    """Command line of a benchmark: print rows as they come, and write them to --json.

    Args:
      rows: whether to be quick -> the races, in the order of telling.
      description: the module's docstring.
      arguments: command line without the program's name; None means sys.argv.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to this file, too")
    parser.add_argument("--quick", action="store_true", help="small problems, once: to see that everything runs")
    given = parser.parse_args(arguments)
    print(f"{len(jax.devices())} x {jax.devices()[0].device_kind}; ratio > 1: linsim is faster")
    told: list[Row] = []
    for row in rows(given.quick):
        told.append(row)
        peak = "" if row.peak_share is None else f", {row.peak_share:.0%} of peak"
        spread = f"({row.low:.3g} to {row.high:.3g})"
        speeds = f"{row.ours:9.3g} against {row.peer:9.3g} {row.unit}/s"
        print(f"{row.name:<48} {row.ratio:8.3g} x {spread:<18} {speeds}{peak}. {row.note}", flush=True)
    if given.json is not None:
        given.json.write_text(json.dumps([asdict(row) for row in told], indent=1) + "\n")
    return 0 if told else 1


if __name__ == "__main__":
    sys.exit("this is what benchmarks share; run one of them: python -m benchmarks.modes")
