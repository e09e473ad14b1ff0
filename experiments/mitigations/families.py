"""Families of shift: how a fine-tuning task differs from that of pre-training, for transfers drawn by a seed."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from linsim.errors import require
from linsim.shifts import Rescale, Rotate, Shift, shifted
from linsim.spectra import power_law
from linsim.tasks import LinearTask, Transfer, random_basis

from ..digits import CLASSES, load

Family = Literal["tail", "head", "removed", "amplified", "rotated_inputs", "rotated_both", "random", "digits"]
FAMILIES: tuple[Family, ...] = get_args(Family)
_DEGREES = 60.0
_STRONGEST = 2.0
"""Singular value of the strongest mode, as of the power law."""


def pretrained_on(family: Family) -> str:
    """What decides the pre-training task beside the seed: families of one kind share checkpoints."""
    return "digits" if family == "digits" else ""


def drawn(family: Family, dim: int, factor: float, label_noise: float, seeds: tuple[int, int]) -> Transfer:
    """A transfer of a family.

    Args:
      family: tail, head: the weaker three quarters or the stronger quarter of the modes are multiplied; removed: every
        other mode is 0; amplified: all are doubled; rotated_inputs, rotated_both: singular vectors turn by 60 degrees
        within pairs of modes, those of the inputs or both; random: the same strengths in other random bases; digits:
        five handwritten digits drawn at random, and then the other five, as `experiments.digits` poses them.
      dim: inputs and outputs; of digits that many principal components, and ten outputs.
      factor: on modes of tail and head.
      label_noise: of pre-training.
      seeds: of what is drawn.
    """
    rng = np.random.default_rng(seeds)
    if family == "digits":
        return _digits(dim, label_noise, rng)
    bases = [random_basis(dim, rng) for _ in range(4)]
    strengths = power_law(dim)
    task = LinearTask.create(strengths, left=bases[0], right=bases[1], label_noise=label_noise)
    strong = max(dim // 4, 1)
    shifts: dict[str, Shift] = {
        "tail": Rescale(range(strong + 1, dim + 1), factor),
        "head": Rescale(range(1, strong + 1), factor),
        "removed": Rescale(range(2, dim + 1, 2), 0.0),
        "amplified": Rescale(range(1, dim + 1), 2.0),
        "rotated_inputs": Rotate(_DEGREES),
        "rotated_both": Rotate(_DEGREES, "both"),
    }
    if family in shifts:
        return shifted(task, shifts[family])
    return Transfer(task, LinearTask.create(strengths, left=bases[2], right=bases[3]))


def _digits(dim: int, label_noise: float, rng: np.random.Generator) -> Transfer:
    """In units in which the largest variance of the inputs is 1, and the strongest mode as strong as elsewhere."""
    images, labels = load()
    require(dim <= images.shape[1], "dim", dim, f"at most {images.shape[1]}, the pixels of a digit")
    early = np.isin(labels, rng.permutation(CLASSES)[: CLASSES // 2])
    centred = [images[which] - images[which].mean(axis=0) for which in (early, ~early)]
    _, sizes, directions = np.linalg.svd(centred[0], full_matrices=False)
    scale = sizes[0] / np.sqrt(len(centred[0]))
    inputs = [pixels @ directions[:dim].T / scale for pixels in centred]
    outputs = [np.eye(CLASSES)[labels[which]] for which in (early, ~early)]
    tasks = [
        LinearTask.from_data(pixels, names - names.mean(axis=0)) for pixels, names in zip(inputs, outputs, strict=True)
    ]
    root = np.linalg.cholesky(tasks[0].input_covariance)
    unit = _STRONGEST / np.linalg.norm(tasks[0].target @ root, 2)
    first, second = (replace(task, strengths=unit * task.strengths, label_noise=label_noise) for task in tasks)
    return Transfer(first, second)
