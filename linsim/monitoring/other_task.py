"""The loss of the fine-tuning task at an untuned checkpoint, and its ratio to the base loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from linsim.errors import InvalidInput, brief_error, require
from linsim.measures.estimates import Estimate, from_samples
from linsim.monitoring.trees import Batch, Params, require_one_number, shapes_of, spread

OF_BOTH = ("finetune_loss", "loss_ratio")
"""Measures that need microbatches of the fine-tuning task."""


def require_taken(
    loss: Callable[[Any, Batch], Any], params: Params, batches: Sequence[Batch], size: Callable[[Batch], int]
) -> list[int]:
    """How much each microbatch counts; `InvalidInput` names the one that the loss does not take.

    Args:
      loss: (params, batch) -> mean loss.
      params: of the checkpoint.
      batches: of the fine-tuning task.
      size: of a batch that the loss takes.
    """
    sizes = []
    for number, batch in enumerate(batches):
        field = f"finetune[{number}]"
        try:
            value = jax.eval_shape(loss, params, batch)
            sizes.append(size(batch))
        except Exception as error:  # whatever a user's code raises
            shapes = ", ".join(map(str, shapes_of(batch).values()))
            allowed = f"a microbatch that the loss takes; it fails with {brief_error(error)}"
            raise InvalidInput(field, f"shapes {shapes}", allowed) from error
        require_one_number(value)
    return sizes


def readings(
    value: Any, params: Params, batches: Sequence[Batch], sizes: Sequence[int], base: Estimate
) -> dict[str, Estimate]:
    """Both measures with their standard errors; that of a ratio to first order, of errors that are independent.

    Args:
      value: (params, batch) -> mean loss.
      params: of the checkpoint.
      batches: of the fine-tuning task.
      sizes: how much each counts.
      base: the base loss.
    """
    losses = []
    for number, batch in enumerate(batches):
        placed, rows = spread(params, batch)
        losses.append(float(jax.device_get(value(placed, rows))))
        finite = bool(np.isfinite(losses[-1]))
        require(finite, "finetune_loss", f"{losses[-1]} of batch {number}", "a finite number")
    own = (
        from_samples(np.array(losses), np.asarray(sizes, np.float64))
        if len(losses) > 1
        else Estimate(np.float64(losses[0]), np.float64(0.0))
    )
    require(float(base.mean) != 0, "loss_ratio", "a base loss of 0", "a base loss that is not 0")
    ratio = own.mean / base.mean
    error = np.hypot(own.error / base.mean, ratio * base.error / base.mean)
    return dict(zip(OF_BOTH, (own, Estimate(ratio, error)), strict=True))
