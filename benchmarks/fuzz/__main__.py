"""Give linsim what nobody thought of, for so many seconds: command lines, data, checkpoints, stores, the Python API.

    python -m benchmarks.fuzz --seconds 60
    python -m benchmarks.fuzz --again KIND SEED
    python -m benchmarks.fuzz --prove

What comes of an example must be a refusal in one line, or a right answer without a warning. An example is decided by
its kind and a number. Those that showed a fault are kept in seeds.txt, beside this file, and come first in every later
run. --prove puts a fault of each kind into linsim, one after another, and tells after how many examples it is found.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.fuzz import api, checkpoints, configurations, data, stores
from benchmarks.fuzz.kinds import Kind

KINDS: dict[str, Kind] = {room.KIND.name: room.KIND for room in (configurations, data, checkpoints, stores, api)}
KEPT = Path(__file__).with_name("seeds.txt")
PATIENCE = 60.0
"""Seconds in which a fault put in on purpose must be found."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; exit status 1 where there is a fault, or one put in on purpose is not found."""
    parser = argparse.ArgumentParser(prog="benchmarks.fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long; kept examples are tried in any case")
    parser.add_argument("--kinds", nargs="+", choices=[*KINDS], default=[*KINDS], help="default all of them")
    parser.add_argument("--seed", type=int, help="of the first example; default 0 where CI is set, else drawn")
    parser.add_argument("--again", nargs=2, metavar=("KIND", "SEED"), help="one example")
    parser.add_argument("--prove", action="store_true", help="find faults that are put in on purpose")
    asked = parser.parse_args(arguments)
    if asked.again:
        kind, seed = asked.again
        found = _fault(KINDS[kind], int(seed))
        print(found or "nothing is wrong")
        return int(found is not None)
    first = asked.seed if asked.seed is not None else 0 if os.environ.get("CI") else int.from_bytes(os.urandom(4))
    kinds = [KINDS[name] for name in asked.kinds]
    if asked.prove:
        return int(sum(_proved(kind, first) for kind in kinds) < len(kinds))
    return int(_fuzzed(kinds, first, asked.seconds) > 0)


def _fuzzed(kinds: Sequence[Kind], first: int, seconds: float) -> int:
    """Number of faults."""
    faults, begun = 0, time.monotonic()
    tried, taken = {kind.name: 0 for kind in kinds}, {kind.name: 0.0 for kind in kinds}
    kept = [each for each in _kept() if each[0] in tried]
    for name, seed in kept:
        faults += _told(KINDS[name], seed)
    while time.monotonic() - begun < seconds:
        name = min(taken, key=lambda each: taken[each])
        started = time.monotonic()
        if _told(KINDS[name], first + tried[name]):
            faults += 1
            _keep(name, first + tried[name])
        tried[name] += 1
        taken[name] += time.monotonic() - started
    counts = ", ".join(f"{count} {name}" for name, count in tried.items())
    print(f"{counts} from seed {first}, and {len(kept)} kept examples: {faults or 'no'} fault{'s' * (faults != 1)}")
    return faults


def _proved(kind: Kind, first: int) -> bool:
    """Whether a fault of a kind that is put in on purpose is found."""
    begun, number = time.monotonic(), 0
    with kind.plant():
        while time.monotonic() - begun < PATIENCE:
            number += 1
            if found := _fault(kind, first + number - 1):
                print(
                    f"{kind.name}: {(kind.plant.__doc__ or '').strip()} Found by example {number}: {found}", flush=True
                )
                return True
    print(f"{kind.name}: {(kind.plant.__doc__ or '').strip()} Not found by {number} examples", flush=True)
    return False


def _told(kind: Kind, seed: int) -> bool:
    """Whether an example shows a fault, which is told."""
    if (found := _fault(kind, seed)) is None:
        return False
    print(f"{kind.name} {seed}: {found}", flush=True)
    return True


def _fault(kind: Kind, seed: int) -> str | None:
    with tempfile.TemporaryDirectory() as folder:
        return kind.fault(seed, Path(folder))


def _kept() -> Iterator[tuple[str, int]]:
    for line in KEPT.read_text(encoding="utf-8").splitlines() if KEPT.exists() else ():
        name, seed = line.split()[:2]
        yield name, int(seed)


def _keep(name: str, seed: int) -> None:
    with KEPT.open("a", encoding="utf-8") as file:
        file.write(f"{name} {seed}\n")


if __name__ == "__main__":
    sys.exit(main())
