"""What all benchmarks share: peers take turns in one process, results are compared before times are, rows go to JSON.

    python -m benchmarks.NAME [--json FILE] [--quick] [--pinned]

Only ratios mean anything on another machine, and a processor decides them: the first line names it, with its vectors.
Two are told: of the time on the wall with all cores, and, by a process that keeps to one core (`--pinned`), of the
processor's time, which other work on the machine hardly touches. `--quick` races small problems once, to see that
everything runs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from linsim.dynamics.kernels import host
from linsim.dynamics.kernels.threads import cores

_PINNED = "--pinned"


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
    cpu_ratio: float | None = None
    """The ratio in seconds of the processor instead of the wall's, both on one core."""
    busy: float | None = None
    """Processor's seconds of the peer over the wall's and the number of cores: little where its threads wait."""


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
    wall, cpu = np.empty((rounds, 2)), np.empty((rounds, 2))
    for turn in range(rounds):
        for which in (0, 1) if turn % 2 == 0 else (1, 0):
            started, worked = time.perf_counter(), time.process_time()
            jax.block_until_ready(contenders[which]())
            wall[turn, which], cpu[turn, which] = time.perf_counter() - started, time.process_time() - worked
    pinned = cores() == 1
    seconds = cpu if pinned else wall
    speeds = np.asarray([work, work if peer_work is None else peer_work]) / seconds
    low, middle, high = np.percentile(speeds[:, 0] / speeds[:, 1], (25, 50, 75)).tolist()
    fast, slow = np.median(speeds, axis=0).tolist()
    share, busy = None if peak is None else fast / peak, float(np.median(cpu[:, 1] / wall[:, 1])) / cores()
    told = middle if pinned else None
    return Row(name, work, unit, fast, slow, middle, low, high, share, note, told, None if pinned else busy)


def processor() -> str:
    """What decides ratios, in words."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    named = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    model = (
        "{model name}, family {cpu family}, model {model}".format(**named) if "cpu family" in named else "a processor"
    )
    return f"{cores()} of the cores of {model}, vectors of {host.bits()} bits"


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
    parser.add_argument(_PINNED, action="store_true", help="on one core alone, in seconds of the processor")
    given = parser.parse_args(arguments)
    alone = {} if given.quick or given.pinned else _on_one_core()
    if given.pinned:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(f"{len(jax.devices())} x {jax.devices()[0].device_kind}, {processor()}; ratio > 1: linsim is faster")
    told: list[Row] = []
    for row in rows(given.quick):
        row = replace(row, cpu_ratio=alone.get(row.name, row.cpu_ratio))
        told.append(row)
        peak = "" if row.peak_share is None else f", {row.peak_share:.0%} of peak"
        spread = f"({row.low:.3g} to {row.high:.3g})"
        speeds = f"{row.ours:9.3g} against {row.peer:9.3g} {row.unit}/s"
        cpu = "" if row.cpu_ratio is None else f", {row.cpu_ratio:.3g} x on one core"
        print(f"{row.name:<48} {row.ratio:8.3g} x {spread:<18} {speeds}{peak}{cpu}. {row.note}", flush=True)
    if given.json is not None:
        given.json.write_text(json.dumps([asdict(row) for row in told], indent=1) + "\n")
    return 0 if told else 1


def _on_one_core() -> dict[str, float | None]:
    """Name of a race -> ratio of the processor's seconds, by this benchmark in a process of its own."""
    if not hasattr(os, "sched_setaffinity"):
        return {}
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "rows.json"
        single = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
        name = f"benchmarks.{Path(sys.argv[0]).stem}"
        command = [sys.executable, "-m", name, _PINNED, "--json", str(told)]
        subprocess.run(command, check=True, env={**os.environ, **single}, stdout=subprocess.DEVNULL)
        return {row["name"]: row["cpu_ratio"] for row in json.loads(told.read_text())}


if __name__ == "__main__":
    sys.exit("this is what benchmarks share; run one of them: python -m benchmarks.modes")
