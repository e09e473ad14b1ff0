"""Peak memory of sweeps to disk, from ten thousand lanes to a million: flat, whatever their number.

    python -m benchmarks.memory [--json FILE]

Every sweep runs in a process of its own: 32 modes, 100 steps, 64 MiB for chunks. The peak is that of the resident
memory, of the interpreter and its libraries too, and therefore also told without what they take before the sweep.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

from linsim import LinearTask, Phase, Problem, Rescale, aligned, power_law, shifted, stack_seeds
from linsim.storage import store
from linsim.sweeping.running import running
from linsim.sweeping.sweep import sweep

LANES = (10_000, 100_000, 1_000_000)
BUDGETS, MODES, STEPS, MEMORY = 10, 32, 100, 2**26


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the numbers there as well")
    parser.add_argument("--lanes", type=int, help="one sweep of so many lanes, in this process")
    arguments = parser.parse_args()
    if arguments.lanes:
        print(json.dumps(measured(arguments.lanes)))
        return
    rows = []
    for lanes in LANES:
        command = [sys.executable, "-m", "benchmarks.memory", "--lanes", str(lanes)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    first = rows[0]["peak_mib"]
    print(f"{'lanes':>9} {'chunks':>7} {'s':>7} {'before, MiB':>12} {'peak, MiB':>10} {'to the first':>13}")
    for row in rows:
        row["ratio"] = row["peak_mib"] / first
        numbers = f"{row['seconds']:7.1f} {row['before_mib']:12.0f} {row['peak_mib']:10.0f} {row['ratio']:13.3f}"
        print(f"{row['lanes']:9d} {row['chunks']:7d} {numbers}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


def measured(lanes: int) -> dict[str, float]:
    """Sweep that many lanes to disk and save them, as an experiment does, in this process."""
    rates = np.geomspace(1e-5, 1e-2, 100)
    strengths = np.linspace(0.0, 1.0, lanes // BUDGETS // len(rates))
    problem = build()
    told = [0]
    before, started = _peak(), time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        kept = Path(scratch) / "kept"
        kept.mkdir()
        with running(keep=kept, memory=MEMORY, watcher=lambda done, _, __: told.append(done)):
            axes = {"learning_rate": rates.tolist(), "product_penalty": strengths.tolist()}
            store.save(sweep(problem, axes), Path(scratch))
        seconds = time.perf_counter() - started
        size = store.view(scratch)["pretrain_loss_after"].size
    peak = _peak()
    return {"lanes": size, "chunks": told[-1], "seconds": seconds, "before_mib": before, "peak_mib": peak}


def build() -> Problem:
    """A task of 32 modes whose weaker ones grow in fine-tuning."""
    task = LinearTask.create(power_law(MODES))
    with jax.enable_x64(True):
        weights = aligned((MODES, MODES, MODES), task, np.full(MODES, 0.01))
    budgets = np.unique(np.geomspace(20, 2000, BUDGETS).astype(int))
    transfer = shifted(task, Rescale(range(9, MODES + 1), factor=4.0))
    return Problem(transfer, stack_seeds([weights]), Phase(0.01), Phase(0.01), budgets, STEPS)


def _peak() -> float:
    """Largest resident memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
