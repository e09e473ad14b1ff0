"""Compiling the default chart, with an empty cache of compiled programs and with a full one.

    python -m benchmarks.compilation [--json FILE] [--quick]

Ours is a process that finds the programs of an earlier one in the folder JAX_COMPILATION_CACHE_DIR, the peer one that
finds it empty. Counted are the seconds that XLA compiles, or reads what was compiled, by JAX's own monitoring.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable

import jax

from benchmarks.racing import Row, main
from linsim.commands.building import build_chart
from linsim.commands.config import ChartConfig, FinetuneConfig
from linsim.commands.transfers import build_transfer


def measure(quick: bool) -> dict[str, float]:
    """Seconds of compilation and programs of the default chart, and seconds in all."""
    spent: list[float] = []

    def listen(event: str, duration_secs: float, **_: object) -> None:
        if event.endswith("backend_compile_duration"):
            spent.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(listen)
    config = ChartConfig(finetune=FinetuneConfig(rates=3, strengths=2, steps=5)) if quick else ChartConfig()
    started = time.perf_counter()
    build_chart(config, build_transfer(config))
    return {"compiling": sum(spent), "programs": len(spent), "all": time.perf_counter() - started}


def rows(quick: bool) -> Iterable[Row]:
    """One row: seconds of compilation, twice in processes that share a cache."""
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "JAX_COMPILATION_CACHE_DIR": folder, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        call = [sys.executable, "-m", "benchmarks.compilation", "--once", *(["--quick"] * quick)]
        empty, full = (
            json.loads(
                subprocess.run(call, env=env, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
            )
            for _ in range(2)
        )
    ours, peer = 1 / full["compiling"], 1 / empty["compiling"]
    ratio = ours / peer
    note = (
        f"{empty['programs']:.0f} programs: {empty['compiling']:.2f} s of {empty['all']:.2f} s with an empty cache, "
        f"{full['compiling']:.2f} s of {full['all']:.2f} s with a full one"
    )
    yield Row("default chart, compilation", 1, "charts compiled", ours, peer, ratio, ratio, ratio, None, note)


if __name__ == "__main__":
    if "--once" in sys.argv:
        print(json.dumps(measure("--quick" in sys.argv)))
        sys.exit(0)
    sys.exit(main(rows, __doc__))
