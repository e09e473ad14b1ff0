"""Is extra pre-training harmful on handwritten digits?

    python -m experiments.digits --out DIR

A linear network learns to name digits from their pixels, then is fine-tuned on a shifted task. The data are the 1,797
images of 8 x 8 pixels that scikit-learn ships (extra `data`); inputs and one-hot outputs are centred, since the network
has no biases. The default shift is the usual split of continual learning: pre-train on 0-4, fine-tune on 5-9.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import xarray as xr
from jaxtyping import Float

from linsim.commands.building import build_chart
from linsim.commands.config import (
    FinetuneConfig,
    NetworkConfig,
    PretrainConfig,
    RefinedConfig,
    TrainingConfig,
    TurnConfig,
    require_choices,
)
from linsim.errors import InvalidInput, require_integer
from linsim.finding import Finding
from linsim.labels import lost_lanes
from linsim.progress.showing import Progress
from linsim.tasks import LinearTask, Transfer

from .experiment import Experiment
from .overtraining_chart import closed_form, table
from .words import between_budgets, distrust, diverged, percent, rechecked, spread, undecided

Samples = tuple[Float[np.ndarray, "n d_in"], Float[np.ndarray, "n d_out"]]
_SIDE = 8
CLASSES = 10


@dataclass(frozen=True)
class Config(TrainingConfig, TurnConfig):
    """A chart on handwritten digits."""

    shift: Literal["new_digits", "rotated", "inverted"] = "new_digits"
    """Fine-tuning task: digits 5-9 after pre-training on 0-4; all digits turned by 90 degrees after all upright; or all
    digits white on black after black on white."""
    dim: int | None = None
    """Largest principal components of the pre-training images that are kept as inputs; default all 64."""
    seeds: int = 3
    """Number of random initial weights."""
    network: NetworkConfig = field(default_factory=lambda: NetworkConfig(init="gaussian", tau=4.0))
    pretrain: PretrainConfig = field(
        default_factory=lambda: RefinedConfig(learning_rate=0.05, steps=20_000, first=20, budgets=24)
    )
    finetune: FinetuneConfig = field(
        default_factory=lambda: FinetuneConfig(
            steps=500,
            rates=10,
            lowest_rate=1e-4,
            highest_rate=0.1,
            strengths=5,
            lowest_strength=0.1,
            highest_strength=10.0,
        )
    )


def compute(config: Config, report: Progress | None = None) -> xr.Dataset:
    """The chart on digits; `InvalidInput` for a field outside its domain."""
    require_choices(config)
    return build_chart(config, build_transfer(config), report)


def build_transfer(config: Config) -> Transfer:
    """Both tasks from the images."""
    images, labels = load()
    early = labels < CLASSES // 2
    turned = np.rot90(images.reshape(-1, _SIDE, _SIDE), axes=(1, 2)).reshape(images.shape)
    first, second = {
        "new_digits": ((images[early], labels[early]), (images[~early], labels[~early])),
        "rotated": ((images, labels), (turned, labels)),
        "inverted": ((images, labels), (1 - images, labels)),
    }[config.shift]
    components = images.shape[1] if config.dim is None else config.dim
    require_integer("dim", components, at_least=1, at_most=images.shape[1])
    _, _, directions = np.linalg.svd(first[0] - first[0].mean(axis=0), full_matrices=False)
    kept = np.eye(images.shape[1]) if config.dim is None else directions[:components].T
    (X, Y), (X_ft, Y_ft) = (_samples(pixels @ kept, names) for pixels, names in (first, second))
    return Transfer(LinearTask.from_data(X, Y), LinearTask.from_data(X_ft, Y_ft))


def load() -> tuple[Float[np.ndarray, "n pixels"], np.ndarray]:
    """Images with grey values in [0, 1], and their labels."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise InvalidInput("digits", "scikit-learn is not installed", "pip install 'linsim[data]'") from error
    data = load_digits()
    return data.data / 16.0, data.target


def _samples(pixels: Float[np.ndarray, "n d_in"], labels: np.ndarray) -> Samples:
    """Centred inputs and centred one-hot outputs."""
    outputs = np.eye(CLASSES)[labels]
    return pixels - pixels.mean(axis=0), outputs - outputs.mean(axis=0)


def find(dataset: xr.Dataset) -> Finding:
    """Whether extra pre-training was harmful here, where most, and why; of curves that turn for every seed.

    Not seen where no cell of stable runs turns and nearly all are resolved; nobody can tell where there is no such
    cell, or where a turn may lie between budgets.
    """
    details, trust = (*closed_form(dataset), *diverged(dataset), *rechecked(dataset)), distrust(dataset)
    if (nothing := undecided(dataset, details=details, trust=trust)) is not None:
        return nothing
    usable = ~lost_lanes(dataset).any(["pretrain_steps", "seed"])
    turned = dataset["inflection_steps"].notnull().all("seed") & usable
    share, cells = float(turned.mean()), int(usable.sum())
    if not cells:
        sentence = "Nothing can be said of extra pre-training: every cell has a run that diverged or is unstable"
        return Finding(f"{sentence}; smaller rates may tell", "cannot tell", {}, details, trust)
    resolved = int((dataset["resolved"].all("seed") & usable).sum())
    if not turned.any() and (sentence := between_budgets(cells, resolved)):
        return Finding(sentence, "cannot tell", {"cells": cells, "resolved": resolved}, details, trust)
    if not turned.any():
        sentence = "Extra pre-training was harmful nowhere: no curve of stable runs turns for every seed"
        return Finding(sentence, "not seen", {"share": share}, details, trust)
    harm = dataset["harm"].median("seed").where(turned)
    cell = dataset.isel(harm.argmax(["learning_rate", "regularization"]))
    best = int(cell["pretrain_loss_after"].median("seed").argmin("pretrain_steps"))
    rate, strength = float(cell["learning_rate"]), float(cell["regularization"])
    longest, shorter = int(dataset["pretrain_steps"][-1]), int(dataset["pretrain_steps"][best])
    numbers = {"share": share, "learning_rate": rate, "regularization": strength, "harm": float(harm.max())}
    sentence = (
        f"Extra pre-training was harmful on {percent(share)} of the cells, most at rate {rate:.2g} and strength "
        f"{strength:.2g}: {longest} steps cost {spread(100 * cell['harm'], 2)} % against {shorter} steps"
    )
    numbers |= {"longest": longest, "best": shorter}
    return Finding(sentence, "seen", numbers, (*_why(cell, best), *details), trust)


def _why(cell: xr.Dataset, best: int) -> list[str]:
    """What happened to the losses of the worst cell between the best and the longest budget."""
    watched = [cell[name].median("seed") for name in ("pretrain_loss_before", "forgetting", "finetune_loss_after")]
    before, forgetting, tuned = (float(curve[-1] - curve[best]) for curve in watched)
    overlap = _overlap(cell)
    return [
        f"Why: between the two the pre-training loss before fine-tuning changed by {before:+.4f} and forgetting by "
        f"{forgetting:+.4f}; the fine-tuning loss changed by {tuned:+.4f}. The second target has an overlap of "
        f"{overlap:+.2f} with the first (1: the same map, 0: unrelated, -1: its opposite), so fine-tuning "
        f"{'undoes' if overlap < -0.05 else 'overwrites'} what was learned: the more was learned, the more there is to "
        "lose."
    ]


def _overlap(dataset: xr.Dataset) -> float:
    """Correlation of the two targets as maps of the pre-training inputs."""
    first, second = dataset["pretrain_target"].values, dataset["finetune_target"].values
    seen = dataset["input_covariance"].values
    lengths = np.sqrt(np.sum((first @ seen) * first) * np.sum((second @ seen) * second))
    return float(np.sum((first @ seen) * second) / lengths)


experiment = Experiment("digits", __doc__, Config, compute, find, table, figure="overtraining_chart")
run, main = experiment.run, experiment.main

if __name__ == "__main__":
    sys.exit(main())
