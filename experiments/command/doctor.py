"""Tell what linsim runs on here, and whether it computes what it should: versions, devices, cache, a small known chart.

linsim doctor
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from linsim.commands.reading import OneLineParser
from linsim.errors import DISTRUSTED, InvalidInput

# ||P - A||^2 after plain steps W <- W - eta grad in NumPy alone, from e^-2 I: A = diag(2, 1, 2/3), fine-tuned towards
# diag(2, 4, 8/3) for 20 steps; by budget (50, 200 steps at rate 0.01), then fine-tuning rate (0.005, 0.02).
_KNOWN = (1.4122648893515264, 9.03445951473691, 2.44322959894207, 12.543775264689245)
_CLOSE = 1e-12
"""Relative: some hundred steps in float64 differ in the last few bits."""
_WIDTHS = {"avx512f": 512, "avx2": 256}


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line.

    Args:
      arguments: without the program's name; None means sys.argv.

    Returns:
      Exit status 0; 2 where JAX is told to run on what is not here; 4 where the check says not to trust what is
      computed here.
    """
    OneLineParser(prog="linsim doctor", description=(__doc__ or "").partition("\n")[0]).parse_args(arguments)
    try:
        return _tell()
    except InvalidInput as error:
        print(error, file=sys.stderr)
        return 2


def _tell() -> int:
    for name, told in _facts():
        print(f"{name:<12}{told}", flush=True)
    started = time.perf_counter()
    apart = deviation()
    taken = f"in {time.perf_counter() - started:.1f} s"
    print(f"{'cache':<12}{_cache()}")
    if apart <= _CLOSE:
        print(f"{'check':<12}4 losses as they should be, to {apart:.0e}, {taken}")
        return 0
    print(f"{'check':<12}DO NOT TRUST WHAT IS COMPUTED HERE: 4 losses are off by {apart:.0e} of their size, {taken}")
    return DISTRUSTED


def deviation() -> float:
    """Largest relative error of a small chart whose losses are known."""
    import numpy as np

    import linsim as ls

    problem = ls.Problem(
        transfer=ls.shifted(ls.LinearTask.create(ls.power_law(3)), ls.Rescale([2, 3], factor=4.0)),
        initial=ls.stack_seeds([ls.identity((3, 3, 3), tau=2.0)]),
        pretrain=ls.Phase(0.01),
        finetune=ls.Phase(0.005),
        budgets=np.array([50, 200]),
        finetune_steps=20,
    )
    with ls.running(recheck=0):
        result = ls.sweep(problem, {"learning_rate": [0.005, 0.02]}, solver="dense", progress=False)
    error = float(np.max(np.abs(result["pretrain_loss_after"].values.ravel() / _KNOWN - 1)))
    return error if np.isfinite(error) else np.inf


def _facts() -> Iterator[tuple[str, str]]:
    """What there is, quickest first."""
    import linsim

    where = Path(linsim.__file__).parents[1]
    yield "linsim", f"{linsim.__version__}, from {where}"
    yield "python", f"{platform.python_version()}, {sys.executable}"

    import jax
    import psutil

    from linsim.precision import require_platform
    from linsim.storage.provenance import provenance
    from linsim.storage.room import memory_left

    require_platform()
    told = provenance()
    versions = json.loads(told["versions"])
    yield "packages", ", ".join(f"{name} {versions[name]}" for name in versions if name not in ("python", "linsim"))
    yield "revision", told["git_revision"]
    yield "devices", f"{told['device']}, {jax.default_backend()}"
    yield "processor", f"{os.cpu_count()} cores, vectors of {_vectors()}"
    total = psutil.virtual_memory().total
    yield "memory", f"{memory_left() / 2**30:.1f} GB free of {total / 2**30:.1f} GB"


def _vectors() -> str:
    """Width of the processor's vectors, on which the speed of many lanes depends."""
    if platform.machine() in ("arm64", "aarch64"):
        return "128 bits"
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        return "unknown width"
    return next((f"{bits} bits" for name, bits in _WIDTHS.items() if name in flags), "128 bits")


def _cache() -> str:
    """Where compiled programs are kept, and how much there is."""
    import jax

    from linsim.storage.compiled import keep_programs

    keep_programs()
    folder: str | None = jax.config.values["jax_compilation_cache_dir"]
    if not folder:
        return "none: programs are compiled anew in every process"
    try:
        sizes = [entry.stat().st_size for entry in os.scandir(folder) if entry.is_file()]
    except OSError as error:
        return f"{folder}, which cannot be read ({error.strerror}); programs are compiled anew"
    return f"{folder}, {len(sizes)} files, {sum(sizes) / 2**20:.1f} MB"
