"""Stages fine-tuned on tasks whose singular vectors have turned: on one side, on both alike, and against each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr

from linsim.labels import PLAIN, Label, lost_lanes
from linsim.progress.showing import Progress
from linsim.shifts import Rotate, Side, shifted
from linsim.sweeping.along import Ready, along
from linsim.tasks import LinearTask, Transfer
from linsim.theory.stages import turned_harm

SIDES: tuple[Side, ...] = ("right", "both", "opposite")
LABELS = {
    "rotate_side": Label("singular vectors that turn"),
    "turned_harm": Label("(L_n - L_(n-1)) / sigma_n^2 on a task that has turned", PLAIN),
    "turned_limit": Label("the same to convergence, in closed form", PLAIN),
}


def turned(
    task: LinearTask,
    order: np.ndarray,
    angles: Sequence[float],
    stages: Callable[[Transfer], Ready],
    report: Progress | None,
) -> dict[str, xr.DataArray]:
    """Harm of every feature over side and angle, simulated from idealised stages, and what it tends to.

    Args:
      task: of pre-training.
      order: of its features, as they are learned.
      angles: in degrees.
      stages: of a transfer, the chart over stages at one rate and strength.
      report: progress.
    """

    def transfer(rotate_side: Side, rotate_degrees: float) -> Transfer:
        return shifted(task, Rotate(rotate_degrees, rotate_side))

    axes = {"rotate_side": SIDES, "rotate_degrees": [float(angle) for angle in angles]}
    found = along(axes, lambda **at: stages(transfer(**at)), report)
    loss = found["pretrain_loss_after"].where(~lost_lanes(found)).isel(learning_rate=-1, regularization=0, drop=True)
    harm = loss.diff("stage").rename(stage="feature") / xr.DataArray(task.strengths[order] ** 2, dims="feature")
    limits = [[turned_harm(task, transfer(side, angle).finetune)[order] for angle in angles] for side in SIDES]
    limit = xr.DataArray(np.asarray(limits), dims=("rotate_side", "rotate_degrees", "feature"))
    return {"turned_harm": harm.drop_vars("feature", errors="ignore"), "turned_limit": limit}
