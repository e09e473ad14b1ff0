"""A sweep to disk of 1e3 to 1e6 lanes, 1,000 steps and 32 modes each: time, lanes a second, peak memory, scaling.

    python -m benchmarks.sweeps [--json FILE] [--quick]

Every size runs in a process of its own, which computes it twice: the first time pays for imports, compilation and
pre-training. The peer of a size is the one before it at the same lanes a second: a ratio of 1 is a linear law. The last
line has the exponent of time over lanes, fitted above the smallest size.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import jax
import numpy as np

from benchmarks.racing import Row, main
from linsim import LinearTask, Phase, Problem, Rescale, power_law, shifted, stack_seeds
from linsim.network import identity
from linsim.sweeping.running import running
from linsim.sweeping.sweep import sweep

MODES, STEPS, BUDGETS = 32, 1000, 20


def build(steps: int = STEPS) -> Problem:
    """Two layers that all learn the same modes, three quarters of which the fine-tuning task wants at four times."""
    task = LinearTask.create(power_law(MODES))
    with jax.enable_x64(True):
        weights = identity((MODES, MODES, MODES), 5.0)
    return Problem(
        transfer=shifted(task, Rescale(range(MODES // 4 + 1, MODES + 1), factor=4.0)),
        initial=stack_seeds([weights]),
        pretrain=Phase(0.005),
        finetune=Phase(0.005),
        budgets=np.unique(np.geomspace(20, 10_000, BUDGETS).astype(int)),
        finetune_steps=steps,
    )


def measure(lanes: int, steps: int) -> dict[str, float]:
    """Seconds of a first and of a second sweep, lanes, and the peak of the resident memory of this process in bytes."""
    problem = build(steps)
    cells = max(lanes // len(problem.budgets), 2)
    strengths = max(round(np.sqrt(cells / 5)), 1)
    axes = {
        "learning_rate": np.geomspace(1e-5, 1e-2, cells // strengths),
        "product_penalty": np.linspace(0, 16, strengths),
    }
    seconds = []
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder, running(keep=Path(folder)):
            started = time.perf_counter()
            result = sweep(problem, axes, precision="float32", rechecked=0)
            seconds.append(time.perf_counter() - started)
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    count = float(result["harm"].size * len(problem.budgets))
    return {"first": seconds[0], "second": seconds[1], "lanes": count, "peak": 1024.0 * int(peak.split()[1])}


def rows(quick: bool) -> Iterable[Row]:
    """One size after another."""
    steps = 20 if quick else STEPS
    found: list[dict[str, float]] = []
    for lanes in (10**3, 10**4) if quick else (10**3, 10**4, 10**5, 10**6):
        call = [sys.executable, "-m", "benchmarks.sweeps", "--size", str(lanes), str(steps)]
        told = subprocess.run(call, capture_output=True, text=True, check=True).stdout
        found.append(json.loads(told.splitlines()[-1]))
        here, before = found[-1], found[max(len(found) - 2, 0)]
        ours, peer = (each["lanes"] / each["second"] for each in (here, before))
        note = f"{here['second']:.2f} s (first time {here['first']:.2f} s), peak {here['peak'] / 1e6:.0f} MB"
        if len(found) > 2:
            above = found[1:]
            along, took = (np.log([each[key] for each in above]) for key in ("lanes", "second"))
            slope = np.polyfit(along, took, 1)[0]
            note += f"; exponent of time over lanes above the smallest so far {slope:.3f}"
        ratio = ours / peer
        name = f"{here['lanes']:.0f} lanes x {steps} steps x {MODES} modes"
        yield Row(name, here["lanes"], "lanes", ours, peer, ratio, ratio, ratio, None, note)


if __name__ == "__main__":
    if "--size" in sys.argv:
        print(json.dumps(measure(*map(int, sys.argv[-2:]))))
        sys.exit(0)
    sys.exit(main(rows, __doc__))
