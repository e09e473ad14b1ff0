"""Does more pre-training without labels hurt the representation once a new head is trained on it?

    python -m experiments.new_heads --out DIR

pre-trains W by a tied autoencoder, the spectral contrastive loss and whitening, puts a new head H = 0 on checkpoints
and trains both on ||H W - B||^2. Singular values of B are --ratios times the limits c of pre-training; it asks for all
directions or for the weak half, along the modes of pre-training or in a random basis. The representation loss is read
after a short flow time that is the same for all checkpoints, and after one in which all of them learn the target.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from linsim.commands.cli import Drawing
from linsim.errors import require, require_axis, require_integer, require_number
from linsim.labels import PLAIN, Label, label, texts
from linsim.progress.showing import Progress
from linsim.tasks import random_basis

from ..experiment import Experiment
from .finding import find, table
from .reading import read
from .training import OBJECTIVES, headed, limits, pretrained, representation_loss, supervised_loss

CLAIMS = ("representation-mode", "new-head", "new-head-harm")
BASES, ASKED, DURATIONS = ("modes", "random"), ("all", "weak half"), ("short", "long")
OUTER = ("bases", "asked", "ratio", "pretrain_steps", "seed")
LOSS = "of the representation's loss"
LABELS = {
    "objective": Label("objective of pre-training"),
    "bases": Label("input basis of the new head's target"),
    "asked": Label("directions that the target asks for"),
    "ratio": Label("target of the new head over the limit of pre-training, β/c", PLAIN),
    "duration": Label("how long the new head is trained"),
    "seed": Label("initial weights, with the target's bases"),
    "pretrain_loss_before": Label("representation loss before fine-tuning", LOSS),
    "pretrain_loss_after": Label("representation loss after fine-tuning", LOSS),
    "zero_loss": Label("representation loss of W = 0", LOSS),
    "finetune_left": Label("share of the head's loss that is left", PLAIN),
    "strength_before": Label("strength of a mode over its limit, before fine-tuning", PLAIN),
    "strength_after": Label("strength of a mode over its limit, after fine-tuning", PLAIN),
    "limit": Label("strength of a mode that pre-training ends at, c", "squared weight"),
    "best": Label("smallest representation loss over budgets", LOSS),
    "last": Label("representation loss from the largest budget", LOSS),
    "threshold_hardly": Label("ratio from which on learned in full is worse than hardly learned", PLAIN),
    "threshold_nothing": Label("ratio from which on learned in full is worse than W = 0", PLAIN),
    "right_hardly": Label("whether learned in full is worse than hardly learned iff β > 2c/3"),
    "right_nothing": Label("whether learned in full is worse than W = 0 iff β > √2 c"),
    "mode_right_hardly": Label("the same of a mode: worse than hardly learned iff β > 2c/3"),
    "mode_right_nothing": Label("the same of a mode: worse than none iff β > √2 c"),
    "best_strength": Label("strength over its limit from which a mode ends at the limit", PLAIN),
}


@dataclass(frozen=True)
class Config:
    """Representations, targets, and how long both are trained."""

    dim: int = 5
    """Modes, as many hidden units and outputs."""
    seeds: int = 10
    """Number of initial weights, each with bases of its own."""
    seed: int = 0
    """Of all that is drawn."""
    exponent: float = 0.5
    """The data have variances i^(-exponent): S of the autoencoder, C of the contrastive loss, G of whitening."""
    initial_scale: float = 0.02
    """Standard deviation of the initial weights, times the square root of their inputs."""
    learning_rate: float = 0.02
    """Of pre-training, in flow time per step of Runge-Kutta."""
    steps: int = 400
    """Largest budget."""
    budgets: int = 14
    """Number of budgets, spaced evenly in log(steps), after the first, which is one step."""
    ratios: tuple[float, ...] = (0.1, 0.4, 0.6, 0.75, 1.0, 1.3, 1.6, 2.0)
    """Singular values of the target over the limits of pre-training, β/c, increasing."""
    finetune_rate: float = 0.08
    """Of fine-tuning, in flow time per step of Runge-Kutta."""
    short: int = 6
    """Steps of fine-tuning that are called short."""
    long: int = 1000
    """Steps of fine-tuning that are called long."""


def compute(config: Config, report: Progress | None = None) -> xr.Dataset:
    """Losses over objectives, targets and budgets, and what they come to; `InvalidInput` for a bad field."""
    _check(config)
    data = np.arange(1, config.dim + 1) ** -config.exponent
    budgets = np.unique(np.geomspace(1, config.steps, config.budgets).round().astype(int))
    parts = []
    for at, objective in enumerate(OBJECTIVES):
        checkpoints = _checkpoints(config, objective, data, budgets)
        parts.append(_tuned(config, objective, data, budgets, checkpoints))
        if report is not None:
            report(at + 1, len(OBJECTIVES))
    found = xr.concat(parts, xr.DataArray(texts(OBJECTIVES), dims="objective", name="objective"))
    found = found.assign_attrs(
        short=config.short * config.finetune_rate, long=config.long * config.finetune_rate, rate=config.learning_rate
    )
    return label(read(found), LABELS)


def _checkpoints(config: Config, objective: Any, data: np.ndarray, budgets: np.ndarray) -> np.ndarray:
    """W over (hidden, modes, budgets, seeds)."""
    drawn = [np.random.default_rng([config.seed, sample]) for sample in range(config.seeds)]
    weights = jnp.stack([jnp.asarray(rng.standard_normal((config.dim,) * 2)) for rng in drawn], axis=-1)
    weights = weights * config.initial_scale / np.sqrt(config.dim)
    kept, done = [], 0
    for steps in budgets:
        weights = pretrained(weights, data, config.learning_rate, objective, int(steps) - done)
        kept.append(np.asarray(weights))
        done = int(steps)
    return np.stack(kept, axis=2)


def _tuned(
    config: Config, objective: Any, data: np.ndarray, budgets: np.ndarray, checkpoints: np.ndarray
) -> xr.Dataset:
    """All targets on all checkpoints of an objective."""
    limit, dim, known = limits(data, objective), config.dim, jnp.asarray(data)
    outer = (len(BASES), len(ASKED), len(config.ratios), *checkpoints.shape[2:])
    targets = np.empty((dim, dim, *outer))
    for bases, asked, ratio, seed in itertools.product(*map(range, (*outer[:3], config.seeds))):
        targets[:, :, bases, asked, ratio, :, seed] = target(
            config, limit, BASES[bases], ASKED[asked], config.ratios[ratio], seed
        )[..., None]
    begun = np.broadcast_to(checkpoints[:, :, None, None, None], targets.shape)
    flat = [jnp.asarray(each.reshape(dim, dim, -1)) for each in (begun, targets)]
    weights, head, found = flat[0], jnp.zeros_like(flat[0]), []
    for steps in (config.short, config.long - config.short):
        weights, head = headed(weights, head, flat[1], config.finetune_rate, steps)
        found.append((weights, head))

    def shaped(values: jax.Array) -> np.ndarray:
        return np.asarray(values).reshape(*values.shape[:-1], *outer)

    before = shaped(representation_loss(flat[0], known, objective))
    after = np.stack([shaped(representation_loss(layer, known, objective)) for layer, _ in found])
    whole = np.sum(targets**2, axis=(0, 1))
    left = np.stack([shaped(supervised_loss(layer, top, flat[1])) for layer, top in found]) / whole
    strengths = [np.sum(shaped(layer) ** 2, axis=0) / limit[:, None, None, None, None, None] for layer, _ in found]
    zero = float(representation_loss(jnp.zeros((dim, dim, 1)), known, objective)[0])
    own = np.sum(checkpoints**2, axis=0) / limit[:, None, None]
    return xr.Dataset(
        {
            "pretrain_loss_before": (("pretrain_steps", "seed"), before[0, 0, 0]),
            "pretrain_loss_after": (("duration", *OUTER), after),
            "finetune_left": (("duration", *OUTER), left),
            "diverged": (("duration", *OUTER), ~(np.isfinite(after) & np.isfinite(left))),
            "strength_before": (("mode", "pretrain_steps", "seed"), own),
            "strength_after": (("mode", *OUTER), strengths[1]),
            "limit": (("mode",), limit),
            "zero_loss": ((), zero),
        },
        {
            "bases": texts(BASES),
            "asked": texts(ASKED),
            "ratio": list(config.ratios),
            "duration": texts(DURATIONS),
            "pretrain_steps": budgets,
            "mode": np.arange(1, dim + 1),
            "seed": np.arange(config.seeds),
        },
    )


def target(config: Config, limit: np.ndarray, bases: str, asked: str, ratio: float, seed: int) -> np.ndarray:
    """B = sum_i beta_i u_i v_i^T, with beta_i = ratio c_i, or 0 on the half of the modes that is learned first."""
    rng = np.random.default_rng([config.seed, seed, 1])
    left, right = (random_basis(config.dim, rng) for _ in "ab")
    late = np.arange(config.dim) >= config.dim // 2  # all three learn modes in the order of their variances
    strengths = ratio * limit * (late if asked == "weak half" else True)
    return (left * strengths) @ (right if bases == "random" else np.eye(config.dim)).T


def _check(config: Config) -> None:
    require_integer("dim", config.dim, at_least=2, at_most=100)
    require_integer("seeds", config.seeds, at_least=1, at_most=10**4)
    require_integer("seed", config.seed, at_least=0, at_most=10**5)
    require_number("exponent", config.exponent, at_least=0, at_most=10)
    for name in ("initial_scale", "learning_rate", "finetune_rate"):
        require_number(name, getattr(config, name), above=0, at_most=1e6)
    require_integer("steps", config.steps, at_least=1, at_most=10**8)
    require_integer("budgets", config.budgets, at_least=1, at_most=10**4)
    require_axis("ratios", config.ratios, above=0)
    require_integer("long", config.long, at_least=2, at_most=10**8)
    allowed = f"at least 1, and below --long, {config.long}"
    require_integer("short", config.short, at_least=1, at_most=10**8)
    require(config.short < config.long, "short", config.short, allowed)


experiment = Experiment("new_heads", __doc__, Config, compute, find, table, CLAIMS, flags=Drawing)
run, main = experiment.run, experiment.main
