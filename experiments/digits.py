"""Is extra pre-training harmful on handwritten digits?

    python -m experiments.digits --out DIR

A linear network learns to name digits from their pixels, then is fine-tuned on a shifted task. The data are the 1,797
images of 8 x 8 pixels that scikit-learn ships (extra `data`); inputs and one-hot outputs are centred, since the network
has no biases. The default shift is the usual split of continual learning: pre-train on 0-4, fine-tune on 5-9.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import xarray as xr
from jaxtyping import Float

from linsim.commands.building import build_chart
from linsim.commands.config import FinetuneConfig, NetworkConfig, PretrainConfig, TrainingConfig, require_choices
from linsim.commands.summary import summarise as summarise_chart
from linsim.dynamics.training import Progress
from linsim.errors import InvalidInput, require_integer
from linsim.tasks import LinearTask, Transfer

from .command import command

Samples = tuple[Float[np.ndarray, "n d_in"], Float[np.ndarray, "n d_out"]]
_SIDE, _CLASSES = 8, 10


@dataclass(frozen=True)
class Config(TrainingConfig):
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
        default_factory=lambda: PretrainConfig(learning_rate=0.05, steps=20_000, first=20, budgets=24)
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


def run(config: Config, report: Progress | None = None) -> xr.Dataset:
    """The chart on digits; `InvalidInput` for a field outside its domain."""
    require_choices(config)
    return build_chart(config, build_transfer(config), report)


def build_transfer(config: Config) -> Transfer:
    """Both tasks from the images."""
    images, labels = _load()
    early = labels < _CLASSES // 2
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


def _load() -> tuple[Float[np.ndarray, "n pixels"], np.ndarray]:
    """Images with grey values in [0, 1], and their labels."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise InvalidInput("digits", "scikit-learn is not installed", "pip install 'linsim[data]'") from error
    data = load_digits()
    return data.data / 16.0, data.target


def _samples(pixels: Float[np.ndarray, "n d_in"], labels: np.ndarray) -> Samples:
    """Centred inputs and centred one-hot outputs."""
    outputs = np.eye(_CLASSES)[labels]
    return pixels - pixels.mean(axis=0), outputs - outputs.mean(axis=0)


def summarise(dataset: xr.Dataset) -> str:
    """The chart's table, then whether extra pre-training was harmful here, and why."""
    return f"{summarise_chart(dataset)}\n\n{_verdict(dataset)}"


def _verdict(dataset: xr.Dataset) -> str:
    if dataset["diverged"].all():
        return "Nothing can be said: every run diverged."
    usable = ~dataset["diverged"].any(["pretrain_steps", "seed"])
    turned = dataset["inflection_steps"].notnull().all("seed") & usable
    harm = dataset["harm"].median("seed").where(turned)
    if not turned.any():
        return "Extra pre-training was harmful nowhere: no curve without diverged runs turns for every seed."
    rate, strength = np.unravel_index(int(np.nanargmax(harm.values)), harm.shape)
    cell = dataset.isel(learning_rate=rate, regularization=strength)
    spread = f"{float(cell['harm'].min()):.1%} to {float(cell['harm'].max()):.1%} over {dataset.sizes['seed']} seeds"
    best = int(cell["pretrain_loss_after"].median("seed").argmin("pretrain_steps"))
    watched = [cell[name].median("seed") for name in ("pretrain_loss_before", "forgetting", "finetune_loss_after")]
    before, forgetting, tuned = (float(curve[-1] - curve[best]) for curve in watched)
    last = int(dataset["pretrain_steps"][-1])
    return (
        f"Extra pre-training was harmful on {float(turned.mean()):.0%} of the cells, most at rate "
        f"{float(cell['learning_rate']):.2g} and strength {float(cell['regularization']):.2g}: {last} steps cost "
        f"{spread} against {int(dataset['pretrain_steps'][best])} steps.\n"
        f"Why: between the two the pre-training loss before fine-tuning changed by {before:+.4f} and forgetting by "
        f"{forgetting:+.4f}; the fine-tuning loss changed by {tuned:+.4f}. The second target has an overlap of "
        f"{_overlap(dataset):+.2f} with the first (1: the same map, 0: unrelated, -1: its opposite), so fine-tuning "
        f"{'undoes' if _overlap(dataset) < -0.05 else 'overwrites'} what was learned: the more was learned, the more "
        "there is to lose."
    )


def _overlap(dataset: xr.Dataset) -> float:
    """Correlation of the two targets as maps of the pre-training inputs."""
    first, second = dataset["pretrain_target"].values, dataset["finetune_target"].values
    seen = dataset["input_covariance"].values
    lengths = np.sqrt(np.sum((first @ seen) * first) * np.sum((second @ seen) * second))
    return float(np.sum((first @ seen) * second) / lengths)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    return command(Config, run, "digits", __doc__, summarise, arguments, figure="overtraining_chart")


if __name__ == "__main__":
    sys.exit(main())
