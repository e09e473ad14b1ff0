"""Runs that are killed at random moments and resumed, held against one that nobody disturbed.

    python -m benchmarks.kills [N] [SEED]

An experiment of a few seconds is run once undisturbed, then N times in a new folder: killed by SIGKILL at a random
moment, resumed, perhaps killed again, until it is complete. Moments of every second run are spread evenly over the time
that it takes, start-up included, those of the others over its chunks and the saving at the end. A line a kill says when
it was and what was there; a line a run whether all variables are bit for bit those of the undisturbed one. Exit status
1 if any are not.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import xarray as xr

from linsim.storage import store
from linsim.storage.places import UNFINISHED

CONFIG = ["--dim", "6", "--network.init", "gaussian", "--network.tau", "2", "--solver", "dense", "--seeds", "24"]
CONFIG += ["--pretrain.steps", "4000", "--pretrain.budgets", "12", "--finetune.steps", "100", "--finetune.rates", "8"]
CONFIG += ["--finetune.strengths", "8", "--memory", "1MB", "--no-figure"]
"""Two blocks of seeds, and some thirty chunks."""

MOST_KILLS = 3
"""Of one run; then it is left alone."""


def main(arguments: list[str]) -> int:
    """Kill, resume, compare, tell."""
    count, seed = (int(given) for given in [*arguments, *("20", "0")[len(arguments) :]])
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "undisturbed"
        started = time.perf_counter()
        _completed(folder)
        lasts = time.perf_counter() - started
        expected = store.load(folder)
        print(f"undisturbed: {lasts:.1f} s; {expected['pretrain_loss_after'].size} lanes", flush=True)
        same = [_disturbed(Path(scratch) / str(run), run, count, lasts, expected, rng) for run in range(count)]
    print(f"{sum(same)} of {count} runs are bit for bit the undisturbed one")
    return 0 if all(same) else 1


def _disturbed(
    folder: Path, run: int, count: int, lasts: float, expected: xr.Dataset, rng: np.random.Generator
) -> bool:
    """One run, killed at least once unless it is quicker than that."""
    chunks = _finished(folder.with_name("undisturbed"), store.DATA)
    after, reached = lasts * (run + rng.random()) / count, round((chunks + 1) * run / max(count - 1, 1))
    for kill in range(MOST_KILLS):
        process = subprocess.Popen(
            _command(folder, resume=kill > 0), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        started = time.perf_counter()
        while process.poll() is None and not _due(folder, chunks, after, started, reached if run % 2 else None):
            time.sleep(0.002)
        if process.poll() is not None:
            print(f"run {run:2d}: over before it was killed, exit status {process.returncode}", flush=True)
            break
        process.kill()
        process.wait()
        print(f"run {run:2d}: killed after {time.perf_counter() - started:5.2f} s, {_found(folder)}", flush=True)
        if rng.random() < 0.5:
            break
        after, reached = lasts * float(rng.random()), int(rng.integers(reached, chunks + 2))
    _completed(folder, resume=True)
    same = _identical(store.load(folder), expected)
    clean = [entry.name for entry in folder.iterdir()] == [store.DATA]
    print(
        f"run {run:2d}: {'the same' if same else 'DIFFERENT'}{'' if clean else ', SOMETHING LEFT BEHIND'}", flush=True
    )
    return same and clean


def _due(folder: Path, chunks: int, after: float, started: float, reached: int | None) -> bool:
    """Whether it is time: after so many seconds, or chunks; one more than there are is the saving."""
    if reached is None:
        return time.perf_counter() - started > after
    return any(folder.glob(".data.zarr.*")) if reached > chunks else _finished(folder) >= reached


def _finished(folder: Path, within: str = f"{UNFINISHED}/*") -> int:
    return sum(
        1 for path in folder.glob(f"{within}/pretrain_loss_after/c/**/*") if path.suffix == "" and path.is_file()
    )


def _command(folder: Path, resume: bool) -> list[str]:
    command = [sys.executable, "-m", "experiments.overtraining_chart", *CONFIG, "--out", str(folder)]
    return [*command, "--resume"] if resume else command


def _completed(folder: Path, resume: bool = False) -> None:
    done = subprocess.run(_command(folder, resume), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"not completed, exit status {done.returncode}: {done.stderr.strip()}")


def _found(folder: Path) -> str:
    """What a killed run left, in words."""
    kept = folder / UNFINISHED
    whole = "data.zarr is whole" if (folder / store.DATA).exists() else ""
    if not kept.exists():
        return whole or ("nothing but the folder" if folder.exists() else "nothing")
    saving = "saving begun" if any(folder.glob(".data.zarr.*")) else ""
    return ", ".join(filter(None, [f"{_finished(folder)} chunks finished", saving, whole]))


def _identical(one: xr.Dataset, other: xr.Dataset) -> bool:
    """The same variables with the same bits, NaN included."""
    return set(one.variables) == set(other.variables) and all(
        one[name].dtype == other[name].dtype and one[name].values.tobytes() == other[name].values.tobytes()
        for name in one.variables
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
