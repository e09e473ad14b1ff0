"""Are margins harder to unlearn on handwritten digits, too?

    python -m experiments.relabelled_digits --out DIR

trains a two-layer linear network to name digits from the principal components of their images: by cross-entropy with
hard and with smoothed labels, and by squared error. Then half of the digits take each other's names ("relabelled"); or
the other half is all there was to begin with ("new digits"). Both losses are told on the images that are trained on,
where descent decides, and on images held out, where overfitting does as well: pre-training overfits from the budget on
at which its held-out loss is least, and what harm there is by then is told apart. Needs the extra `data`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import numpy as np
import xarray as xr

from linsim.errors import require, require_axis, require_integer, require_number
from linsim.labels import PLAIN, Label, label
from linsim.measures.built_in import FISHER_TRACE, PRODUCT
from linsim.network import gaussian
from linsim.phase import Phase
from linsim.problem import Problem, stack_seeds
from linsim.progress.showing import Progress
from linsim.sweeping.along import Ready, along
from linsim.sweeping.checks.recheck import LANES
from linsim.sweeping.sweep import sweep

from ..digits import CLASSES, load
from ..experiment import Experiment
from ..objectives.curves import fisher_left, matched, noisy, tuned
from ..objectives.tasks import FINETUNE_LOSS_BEFORE, under_noise
from .finding import find, table
from .heldout import harms, heldout
from .images import OBJECTIVES, RELABELLED, SHIFTS, SMOOTHED, Images

CLAIMS = ("hard-label-mode", "flipped-mode", "fisher-peak", "hard-labels-never-turn")
LOSS = "squared output, or nats"
_FINETUNE = "harm to the fine-tuning loss"
_HELDOUT = f"{_FINETUNE} on images held out"
LABELS = {
    "seed": Label("sample of images, with its half of the digits and its initial weights"),
    "objective": Label("training objective"),
    "noise": Label("noise on every weight, gamma", "weight"),
    "pretrain_loss_before": Label("pre-training loss before fine-tuning", LOSS),
    "pretrain_loss_after": Label("pre-training loss after fine-tuning", LOSS),
    "finetune_loss_after": Label("fine-tuning loss after fine-tuning", LOSS),
    "finetune_loss_before": Label("fine-tuning loss before fine-tuning", LOSS),
    "forgetting": Label("rise of the pre-training loss", LOSS),
    "heldout_pretrain_loss_before": Label("pre-training loss on images held out, before fine-tuning", LOSS),
    "heldout_pretrain_loss_after": Label("pre-training loss on images held out, after fine-tuning", LOSS),
    "heldout_finetune_loss_after": Label("fine-tuning loss on images held out, after fine-tuning", LOSS),
    "heldout_finetune_errors": Label("share of the images held out that get a wrong name, after fine-tuning", PLAIN),
    "heldout_finetune_zero_loss": Label("fine-tuning loss of the zero network on images held out", LOSS),
    "kept_loss_after": Label("pre-training loss of the digits that keep their names, after fine-tuning", LOSS),
    "kept_harm": Label("harm to the pre-training loss of the digits that keep their names", PLAIN),
    "loss_under_noise": Label("mean pre-training loss with noise on the weights", LOSS),
    "fisher_trace": Label("trace of the Fisher matrix", "1 / squared weight"),
    "finetune_zero_loss": Label("fine-tuning loss of the zero network", LOSS),
    "counted_finetune_harm": Label(f"{_FINETUNE}, 0 where it is immaterial", PLAIN),
    "counted_heldout_finetune_harm": Label(f"{_HELDOUT}, 0 where it is immaterial", PLAIN),
    "stopped_steps": Label("budget from which on pre-training overfits", "steps"),
    "overfit_harm": Label("harm to the pre-training loss on images held out, before fine-tuning", PLAIN),
    "stopped_finetune_harm": Label(f"{_FINETUNE} by the budget from which on pre-training overfits", PLAIN),
    "stopped_heldout_finetune_harm": Label(f"{_HELDOUT} by the budget from which on pre-training overfits", PLAIN),
    "matched_time": Label("flow time by which the last checkpoint's fine-tuning loss falls to the level", "flow time"),
    "matched_curve": Label("pre-training loss after fine-tuning at matched effort", LOSS),
    "matched_harm": Label("harm at matched effort", PLAIN),
    "matched_finetune_harm": Label(f"{_FINETUNE} at matched effort", PLAIN),
    "tuned_finetune_harm": Label(f"{_FINETUNE} where every budget has its best flow time", PLAIN),
    "tuned_heldout_finetune_harm": Label(f"{_HELDOUT} where every budget has its best flow time", PLAIN),
    "noise_harm": Label("harm under noise", PLAIN),
    "fisher_left": Label("trace of the Fisher matrix at the last budget, over its largest", PLAIN),
}


@dataclass(frozen=True)
class Config:
    """Images, what they are told to be, and how long that is trained."""

    per_digit: int = 40
    """Images of each digit that are trained on; the rest of 1,797 is held out."""
    components: int = 16
    """Principal components of the images that are the inputs, at most 64."""
    hidden: int = 10
    """Hidden units."""
    seeds: int = 5
    """Number of samples: splits, halves of the digits, and initial weights."""
    seed: int = 0
    """Of all that is drawn."""
    smoothing: float = 0.1
    """Share of smoothed labels that is spread evenly, in [0, 1)."""
    initial_scale: float = 0.01
    """Standard deviation of the initial weights, times the square root of their inputs."""
    learning_rate: float = 0.2
    """Of pre-training, in flow time per step."""
    steps: int = 4000
    """Largest budget."""
    first: int = 10
    """Smallest budget."""
    budgets: int = 10
    """Number of budgets, spaced evenly in log(steps)."""
    finetune_steps: int = 100
    """Steps of fine-tuning."""
    times: tuple[float, ...] = tuple(float(2**power) for power in range(-1, 7))
    """Flow times of fine-tuning, increasing; rates are these over the steps."""
    short: float = 1.0
    """Which of them is called short."""
    level: float = 0.3
    """Matched effort: the share of the last checkpoint's fine-tuning loss that is left."""
    noise: tuple[float, ...] = (0.1, 0.3)
    """Noise on every weight, increasing."""


def compute(config: Config, report: Progress | None = None) -> xr.Dataset:
    """Losses of all objectives, shifts and samples, and what they come to; `InvalidInput` for a bad field."""
    images = _check(config)
    budgets = np.unique(np.geomspace(config.first, config.steps, config.budgets).round().astype(int))
    rates = np.asarray(config.times) / config.finetune_steps
    # Made once: programs are shared among objectives and samples, whose images are as many.
    measures = [FINETUNE_LOSS_BEFORE, FISHER_TRACE, under_noise(config.noise)]
    measures += [PRODUCT, PRODUCT.taken("checkpoint", "checkpoint_product")]
    phase = Phase(config.learning_rate)

    def prepare(objective: str, shift: str, sample: int) -> Ready:
        transfer = images.transfer(images.sample(sample), objective, shift)
        widths, key = (config.components, config.hidden, CLASSES), jax.random.key(config.seed * 10_007 + sample)
        start = stack_seeds([gaussian(widths, config.initial_scale, key)])
        problem = Problem(transfer, start, phase, phase, budgets, config.finetune_steps)
        again = (sample, shift) == (0, RELABELLED) and objective != SMOOTHED  # a sample of each program is enough
        return partial(sweep, problem, {"learning_rate": rates}, measures, solver="dense", rechecked=LANES * again)

    axes = {"objective": OBJECTIVES, "shift": SHIFTS, "sample": range(config.seeds)}
    found = along(axes, prepare, report).isel(seed=0, drop=True).rename(sample="seed")
    found = found.assign_attrs(finetune_steps=config.finetune_steps, level=config.level, short=config.short)
    found = found.assign(finetune_zero_loss=_zero_losses(images, config)).merge(matched(found, config.level))
    found = found.assign(heldout(found, images)).drop_vars(["product", "checkpoint_product"])
    told = {"tuned_finetune_harm": tuned(found), "noise_harm": noisy(found), "fisher_left": fisher_left(found)}
    return label(found.assign(told | harms(found)), LABELS)


def _zero_losses(images: Images, config: Config) -> xr.DataArray:
    """What losses on the images that are trained on are large or small against."""
    losses = np.empty((len(OBJECTIVES), len(SHIFTS), config.seeds))
    for place in np.ndindex(losses.shape):
        objective, shift, sample = place
        losses[place] = images.transfer(images.sample(sample), OBJECTIVES[objective], SHIFTS[shift]).finetune.zero_loss
    return xr.DataArray(losses, dims=("objective", "shift", "seed"))


def _check(config: Config) -> Images:
    pixels, digits = load()
    require_integer("per_digit", config.per_digit, at_least=1, at_most=int(np.bincount(digits).min()) - 1)
    most = min(pixels.shape[1], CLASSES * config.per_digit)
    require_integer("components", config.components, at_least=1, at_most=most)
    require_integer("hidden", config.hidden, at_least=1, at_most=10**4)
    require_integer("seeds", config.seeds, at_least=1, at_most=10**4)
    require_integer("seed", config.seed, at_least=0, at_most=10**5)
    require_number("smoothing", config.smoothing, at_least=0, below=1)
    for name in ("initial_scale", "learning_rate"):
        require_number(name, getattr(config, name), above=0, at_most=1e6)
    require_integer("steps", config.steps, at_least=1, at_most=10**9)
    require_integer("first", config.first, at_least=1, at_most=config.steps)
    require_integer("budgets", config.budgets, at_least=1, at_most=10**4)
    require_integer("finetune_steps", config.finetune_steps, at_least=1, at_most=10**9)
    require_axis("times", config.times, above=0)
    listed = ", ".join(map(str, config.times))
    require(config.short in config.times, "short", config.short, f"one of the times {listed}")
    require_number("level", config.level, above=0, below=1)
    require_axis("noise", config.noise, above=0)
    return Images(config.per_digit, config.components, config.smoothing, config.seed)


experiment = Experiment("relabelled_digits", __doc__, Config, compute, find, table, CLAIMS)
run, main = experiment.run, experiment.main
