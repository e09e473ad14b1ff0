"""Command lines of the chart: some flags of a small one have values that nobody meant."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any, get_args

import numpy as np

from benchmarks.fuzz.kinds import Kind, chosen, command_or_fault, put
from experiments import overtraining_chart
from linsim.commands import building
from linsim.commands.flags import Flag, flags_of
from linsim.labels import lost_lanes
from linsim.storage import store

_SMALL = (
    "--dim 3 --pretrain.steps 200 --pretrain.budgets 4 --finetune.steps 20 --finetune.rates 2 --finetune.strengths 1"
)
_NUMBERS = ["0", "-1", "1", "2", "3", "7", "0.5", "0.01", "1e-3", "1e3", "1e9", "1e30", "1e300", "1e400", "nan", "-inf"]
_TEXTS = [
    "",
    "quatsch",
    "None",
    "True",
    "1 2",
    "0.1 0.1",
    "-1 0 1",
    "1,2",
    "ä",
    "\0",
    "--dim",
    "nowhere.npz",
    "1_000",
    "0x10",
]
_SOUND = 0.6  # of the values that a choice allows


@cache
def _flags() -> list[Flag]:
    return [*flags_of(overtraining_chart.experiment.config())]


def _attempt(rng: np.random.Generator, folder: Path) -> str | None:
    arguments = _SMALL.split()
    for flag in (chosen(rng, _flags()) for _ in range(int(rng.integers(1, 4)))):
        arguments += [flag.name, *_value(flag, rng).split(" ")]
    ended = ["--recheck", chosen(rng, ["0", "4", "-1"]), "--no-figure", "--out", str(folder / "out")]
    status, fault = command_or_fault(overtraining_chart.main, [*arguments, *ended])
    if fault is None and status in (0, 4):
        fault = _unknown(folder / "out")
    return fault and f"{fault} [{' '.join(arguments[len(_SMALL.split()) :])!r}]"


def _value(flag: Flag, rng: np.random.Generator) -> str:
    words: list[Any] = [word for word in get_args(flag.hint) if isinstance(word, str)]
    if words and rng.random() < _SOUND:
        return str(chosen(rng, words))
    return str(chosen(rng, _NUMBERS if rng.random() < _SOUND else _TEXTS))


def _unknown(out: Path) -> str | None:
    """Whether losses are not known where nothing is said to have diverged."""
    result = store.load(out)
    known = ~lost_lanes(result)
    losses = [result[name] for name in ("pretrain_loss_after", "finetune_loss_after")]
    lost = sum(int((~np.isfinite(loss) & known).sum()) for loss in losses)
    return f"{lost} losses are not finite and not flagged" if lost else None


def _plant() -> AbstractContextManager[None]:
    """Integers are taken as they come."""
    return put(building, "require_integer", lambda *_, **__: None)


KIND = Kind("configurations", _attempt, _plant)
