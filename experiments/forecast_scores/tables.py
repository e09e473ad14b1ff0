"""The stored tables of transfers outside the prior, and of small transformers; what makes the former.

    python -m experiments.forecast_scores.tables

sweeps 80 transfers of each domain of `transfers`, at three rates of fine-tuning, from 22 budgets.
"""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from linsim.forecasting.columns import COLUMNS

STORED = Path(__file__).with_name("tables.npz")
TRANSFORMERS = Path(__file__).with_name("transformers.csv")
TRANSFERS = 80
CALIBRATION = 30
"""The first of every domain widen the intervals; the others judge."""
TRANSFORMER = "transformer"
_PARTS = ("budgets", "losses", "zero")
_LEAST = 1e-9  # of the zero network's loss, below which a loss is rounding
_SOURCES = ("pretrain_loss_before", "finetune_loss_before", "pretrain_loss_after", "finetune_loss_after")


class Curves(NamedTuple):
    """All losses of one domain."""

    budgets: Float[np.ndarray, "runs budgets"]
    """Each the square root of 2 above the one before, but for rounding."""
    losses: Float[np.ndarray, "columns runs budgets"]
    group: Int[np.ndarray, " runs"]
    """Transfer, or pre-training, which several runs share."""
    zero: Float[np.ndarray, " runs"]
    """Loss of the zero network; of a transformer the first loss, which is nearly that of guessing by frequency."""


@cache
def stored() -> dict[str, Curves]:
    """Domain -> its curves, those of transformers last."""
    found: dict[str, Curves] = {}
    for name, (budgets, losses, zero) in _archive().items():
        transfers, rates = losses.shape[:2]
        flat = np.moveaxis(losses.reshape(transfers * rates, *losses.shape[2:]), 1, 0).astype(np.float64)
        each = (budgets.astype(np.float64), np.arange(transfers), zero)
        steps, group, scale = (np.repeat(values, rates, axis=0) for values in each)
        found[name] = Curves(steps, np.maximum(flat, _LEAST * scale[:, None]), group, scale)
    return found | {TRANSFORMER: _transformers()}


def _transformers() -> Curves:
    with TRANSFORMERS.open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = list(dict.fromkeys(row["run"] for row in rows))
    runs = [[row for row in rows if row["run"] == name] for name in names]
    budgets = np.array([[float(row["budget"]) for row in run] for run in runs])
    losses = np.array([[[float(row[name]) for row in run] for run in runs] for name in COLUMNS])
    group = np.array([int(run[0]["pretraining"]) for run in runs])
    return Curves(budgets, losses, group, losses[0, :, 0])


def main(arguments: Sequence[str] | None = None) -> int:
    """Sweep all domains, or those that are named, and store."""
    from .transfers import DOMAINS, tables  # JAX is needed only here

    chosen, started = (sys.argv[1:] if arguments is None else arguments) or list(DOMAINS), time.perf_counter()
    known = _archive() if STORED.exists() else {}
    for domain in chosen:
        results = [tables(domain, number, 0).mean("seed", keep_attrs=True) for number in range(TRANSFERS)]
        budgets = [one["pretrain_steps"].values for one in results]
        losses = [np.stack([_by_rate(one, name) for name in _SOURCES], axis=1) for one in results]
        zero = [one.attrs["zero_loss"] for one in results]
        known[domain] = np.array(budgets, np.int32), np.array(losses, np.float32), np.array(zero)
        parts = zip(*(known[name] for name in DOMAINS if name in known), strict=True)
        arrays: dict[str, Any] = dict(zip(_PARTS, map(np.stack, parts), strict=True))
        np.savez_compressed(STORED, domain=np.array([name for name in DOMAINS if name in known]), **arrays)
        print(f"{domain}: {time.perf_counter() - started:.0f} s", flush=True)
    return 0


def _archive() -> dict[str, tuple[np.ndarray, ...]]:
    with np.load(STORED) as archive:
        names, *parts = (archive[key] for key in ("domain", *_PARTS))
    return {str(name): tuple(each) for name, *each in zip(names, *parts, strict=True)}


def _by_rate(one: xr.Dataset, name: str) -> Float[np.ndarray, "rates budgets"]:
    """Losses, of untuned checkpoints the same at all rates."""
    curve = one[name].squeeze(drop=True).transpose(..., "pretrain_steps").values
    return np.broadcast_to(curve, (one.sizes["learning_rate"], curve.shape[-1]))


if __name__ == "__main__":
    sys.exit(main())
