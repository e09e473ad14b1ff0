"""What one says of a run that is watched."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from linsim.monitoring.alarm import Alarm


@dataclass(frozen=True)
class Config:
    """What to measure, where, and when to worry."""

    folder: Path = Path("checkpoints")
    """Folder of checkpoints, with the number of training steps in their names."""
    step_pattern: str = ""
    """Regular expression with one group, which holds the steps, such as 'epoch=(\\d+)'; what does not match is left
    out."""
    loss: str = ""
    """MODULE:NAME of the loss."""
    batches: str = ""
    """MODULE:NAME of the held-out microbatches."""
    finetune: str | None = None
    """MODULE:NAME of microbatches of the fine-tuning task, on which untuned checkpoints are measured too, for
    finetune_loss and loss_ratio."""
    template: str | None = None
    """MODULE:NAME of a Flax module or a tree of parameters, whose structure the loss wants and whose names and shapes
    every checkpoint must have."""
    part: str = ""
    """Path of the parameters in a checkpoint that holds more, such as model.params."""
    params: str = ""
    """Regular expression for whole levels of the names of the parameters that are measured, such as layers.1 or
    lora_[ab]; the others are held; default all."""
    by_layer: bool = False
    """Tell every measure of each layer as well."""
    stacked: str = ""
    """Regular expression, likewise, for arrays whose first axis runs over layers."""
    measures: tuple[str, ...] = ()
    """Measures to take; default all that the loss allows."""
    probes: int = 4
    """Random probes of each microbatch."""
    noise: float = 0.01
    """Size gamma of the weight noise of noise_increase."""
    relative: bool = True
    """Noise in units of the root mean square of each array of parameters."""
    lanczos: int = 500
    """Most products with the Hessian for top_eigenvalue."""
    tolerance: float = 1e-3
    """Residual of top_eigenvalue, relative to it."""
    alarm_on: str | None = None
    """Measure that the alarm listens to; default the first that is taken."""
    alarm: Alarm = field(default_factory=Alarm)
    precision: Literal["float32", "float64"] = "float32"
    """Of the parameters."""
    seed: int = 0
    """Seed of the probes, the same at every checkpoint."""
    skip_broken: bool = False
    """Leave out checkpoints that cannot be read or have no finite loss, and say so, instead of stopping there."""
