"""Drawn tasks at equal fine-tuning loss: such as only amplify features, and such as remove some of them as well."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import xarray as xr

from linsim import network
from linsim.labels import PLAIN, Label, lost_lanes, texts
from linsim.phase import Phase
from linsim.problem import Problem, stack_seeds
from linsim.progress.showing import Progress
from linsim.sweeping.along import Ready, along
from linsim.sweeping.sweep import chart
from linsim.tasks import LinearTask, Transfer

from .fronts import matched

KINDS = ("amplified", "removed too")
_MODES, _STEPS, _TAU = 4, 500, 5.0
_BUDGETS = np.unique(np.round(np.geomspace(50, 20_000, 24)).astype(int))
_RATES, _STRENGTHS = np.geomspace(2e-5, 2e-2, 40), np.array([0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2])
_LEVELS = np.array([0.05, 0.1, 0.25])  # of the fine-tuning loss before tuning
LABELS = {
    "family": Label("what fine-tuning does to the features of a drawn task"),
    "family_method": Label("what holds fine-tuning back on drawn tasks"),
    "family_target": Label("fine-tuning loss / that before tuning", PLAIN),
    "family_harm": Label("loss at the largest budget / smallest - 1 at equal fine-tuning loss", PLAIN),
}


def family(number: int, removed: float, seed: int, report: Progress | None) -> dict[str, xr.DataArray]:
    """Harm at equal fine-tuning loss of every drawn task, by a smaller rate alone and with the product penalty too.

    Features have strengths within 0.3 to 1 and are multiplied by 1.5 to 4; of the second kind one to three are
    multiplied by `removed` instead. NaN where the loss is not reached from every budget.

    Args:
      number: of tasks of each kind.
      removed: factor on the features that are removed; from 1.5 on they are amplified as well, and the kinds are alike.
      seed: of the draws.
      report: progress.
    """

    def prepare(family: str, drawn: int) -> Ready:
        rng = np.random.default_rng([seed, drawn])
        sigma, ratio = rng.uniform(0.3, 1, _MODES), rng.uniform(1.5, 4, _MODES)
        if family != KINDS[0]:
            ratio[rng.permutation(_MODES)[: rng.integers(1, _MODES)]] = removed
        task = LinearTask.create(sigma)
        transfer = Transfer(task, LinearTask.create(sigma * ratio))
        start = stack_seeds([network.identity((_MODES,) * 3, _TAU)])
        problem = Problem(transfer, start, Phase(0.01), Phase(_RATES[0]), _BUDGETS, _STEPS)
        return partial(_harm, problem)

    axes: dict[str, Sequence[str] | Sequence[int]] = {"family": KINDS, "drawn": range(number)}
    return {"family_harm": along(axes, prepare, report)["family_harm"].drop_vars("drawn")}


def _harm(problem: Problem, report: Progress | None = None) -> xr.Dataset:
    """Of both methods at every level."""
    swept = chart(problem, _RATES, _STRENGTHS, rechecked=0, predicted=False, report=report).isel(seed=0)
    order = ("learning_rate", "regularization", "pretrain_steps")
    kept = swept.where(~lost_lanes(swept)).transpose(*order, ...)
    after, tuned = (kept[f"{task}_loss_after"].values for task in ("pretrain", "finetune"))
    levels = (_LEVELS * problem.transfer.learned_loss)[:, None]
    least = np.array([matched(after[:, :many], tuned[:, :many], levels) for many in (1, len(_STRENGTHS))])
    harm = least[..., -1] / least.min(axis=-1) - 1  # NaN where a budget does not reach the level
    coords = {"family_method": texts(["rate alone", "any strength"]), "family_target": _LEVELS}
    return xr.Dataset({"family_harm": (("family_method", "family_target"), harm)}, coords)
