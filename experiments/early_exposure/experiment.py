"""Does mixing the target's data into pre-training keep the target, and when?

    python -m experiments.early_exposure --out DIR

has three phases. Pre-training teaches one feature of the input, with a share of the target's data mixed in; then the
target is trained on until it is learned; then fine-tuning asks for the first feature alone, at --asked. What counts is
the target's loss afterwards, where base, target and what is asked are learned alike. In the target's data both
features go together, so that either can carry it. Controls are one layer, and features that are independent. Beside
the share of pre-training: in which half of it, and splits of one amount of target data at equal compute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from linsim.commands.cli import Drawing
from linsim.errors import require, require_axis, require_integer, require_number
from linsim.labels import PLAIN, STRENGTH, Label, label, texts
from linsim.progress.showing import Progress

from ..experiment import Experiment
from .finding import find, table
from .phases import FEATURES, Part, Place, Plan, Reached

CLAIMS = ("redundant-inputs", "exposure-one-layer")
TIMINGS = ("first half", "throughout", "second half")
_OF = "of the target, over that of the zero network"
_WAYS = (("timed", "by when it is mixed in"), ("split", "by splits at equal compute"))
LABELS = {
    "features": Label("features in the target's data"),
    "depth": Label("number of layers"),
    "share": Label("share of the target's data in pre-training", PLAIN),
    "timing": Label("when the target's data are mixed in"),
    "early": Label("part of the target's data that is seen in pre-training, at equal compute", PLAIN),
    "asked": Label("weight on the known feature that is asked for downstream", STRENGTH),
    "seed": Label("seed of the initial weights"),
    "retained_loss": Label(f"loss after fine-tuning downstream {_OF}", PLAIN),
    "predicted_retained_loss": Label("the same in closed form", PLAIN),
    "target_loss": Label(f"loss before fine-tuning downstream {_OF}", PLAIN),
    "asked_loss": Label("loss of what is asked downstream, after it", "squared output"),
    "base_loss": Label("loss of the base after pre-training, over that of the zero network", PLAIN),
    "base_left": Label("how far that is from where pre-training on this share ends", PLAIN),
    "weight": Label("end-to-end weight before fine-tuning downstream", STRENGTH),
    "feature": Label("feature of the input"),
} | {
    f"{way}_{name}": Label(f"{told}, {of}", PLAIN)
    for way, of in _WAYS
    for name, told in (
        ("retained_loss", f"loss after {_OF}"),
        ("target_loss", f"loss before fine-tuning downstream {_OF}"),
        ("base_left", "how far the loss of the base is from where pre-training on this share of the target ends"),
    )
}


@dataclass(frozen=True)
class Config:
    """Features, phases and shares."""

    depth: tuple[int, ...] = (1, 2, 3)
    """Numbers of layers, increasing."""
    hidden: int = 4
    """Hidden units of every layer."""
    seeds: int = 5
    """Number of initial weights."""
    seed: int = 0
    """Of all that is drawn."""
    initial_scale: float = 0.002
    """Size of the initial end-to-end weights; each of L layers has its L-th root."""
    base_strength: float = 0.8
    """Weight on the known feature that the base teaches; the target's weights on both sum to 1."""
    shares: tuple[float, ...] = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 1.0)
    """Of the target's data in pre-training, increasing, from 0 to 1."""
    asked: tuple[float, ...] = (0.2, 0.8)
    """Weights on the known feature that are asked for downstream, increasing."""
    timed: float = 0.4
    """Share that is mixed in throughout, or twice of it in either half."""
    early: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
    """Parts of the target's data that are seen in pre-training, the rest afterwards, increasing."""
    split_base_steps: int = 2400
    """Steps on the base's data in all splits."""
    split_target_steps: int = 1200
    """Steps on the target's data in all splits."""
    learning_rate: float = 0.02
    """Of all phases, in flow time per step."""
    steps: int = 3000
    """Of pre-training, even."""
    target_steps: int = 800
    """Of training on the target."""
    downstream_steps: int = 1000
    """Of fine-tuning downstream."""


def compute(config: Config, report: Progress | None = None) -> xr.Dataset:
    """Losses over shares, timings and splits, and what theory says; `InvalidInput` for a bad field."""
    _check(config)
    plans = _plans(config)
    found: dict[tuple[str, int], dict[Any, Reached]] = {}
    theory = np.full((len(FEATURES), len(config.depth), len(config.shares), len(config.asked)), np.nan)
    total, done = len(FEATURES) * len(config.depth) * len(plans), 0
    for kind, features in enumerate(FEATURES):
        for at, depth in enumerate(config.depth):
            place = Place(
                features,
                depth,
                *(config.hidden, config.seeds, config.seed, config.initial_scale, config.base_strength),
                *(config.asked, config.learning_rate, config.downstream_steps),
            )
            theory[kind, at] = [place.predicted(share) for share in config.shares]
            reached = found[features, depth] = {}
            for key, plan in plans.items():
                reached[key] = place.follow(plan)
                done += 1
                if report is not None:
                    report(done, total)

    def told(way: str, name: str) -> np.ndarray:
        keys = [key for key in plans if key[0] == way]
        nested = [[[getattr(found[f, d][key], name) for key in keys] for d in config.depth] for f in FEATURES]
        return np.array(nested)

    variables: dict[str, Any] = {"predicted_retained_loss": (("features", "depth", "share", "asked"), theory)}
    for way, prefix in (("share", ""), ("timing", "timed_"), ("early", "split_")):
        outer = ("features", "depth", way, "seed")
        for name, dims in _READ[prefix].items():
            variables[f"{prefix}{name}"] = ((*outer, *dims), told(way, name))
    coords = {
        "features": texts(FEATURES),
        "depth": np.array(config.depth),
        "share": np.array(config.shares),
        "timing": texts(TIMINGS),
        "early": np.array(config.early),
        "asked": np.array(config.asked),
        "seed": np.arange(config.seeds),
        "feature": texts(["known", "new"]),
    }
    return label(xr.Dataset(variables, coords, {"base_strength": config.base_strength, "timed": config.timed}), LABELS)


_READ: dict[str, dict[str, tuple[str, ...]]] = {
    "": {
        **{"retained_loss": ("asked",), "asked_loss": ("asked",)},
        **{"target_loss": (), "base_loss": (), "base_left": (), "weights": ("feature",)},
    },
    "timed_": {"retained_loss": ("asked",), "target_loss": (), "base_left": ()},
    "split_": {"retained_loss": ("asked",), "target_loss": (), "base_left": ()},
}
"""Prefix -> what is told, with its own dimensions."""


def _plans(config: Config) -> Mapping[tuple[str, Any], Plan]:
    half, whole = config.steps // 2, config.steps
    target, base = config.split_target_steps, config.split_base_steps
    plans: dict[tuple[str, Any], Plan] = {}
    for share in config.shares:
        plans["share", share] = Plan((Part(share, whole),), config.target_steps)
    more = (Part(2 * config.timed, half), Part(0.0, half))
    for timing, parts in zip(TIMINGS, (more, (Part(config.timed, whole),), more[::-1]), strict=True):
        plans["timing", timing] = Plan(parts, config.target_steps)
    for early in config.early:
        seen = round(early * target)
        plans["early", early] = Plan((Part(seen / (base + seen), base + seen),), target - seen)
    return plans


def _check(config: Config) -> None:
    require_axis("depth", config.depth, at_least=1)
    for depth in config.depth:
        require_integer("depth", depth, at_least=1, at_most=64)
    for name, most in (("hidden", 10**4), ("seeds", 10**4), ("target_steps", 10**8), ("downstream_steps", 10**8)):
        require_integer(name, getattr(config, name), at_least=1, at_most=most)
    require_integer("seed", config.seed, at_least=0, at_most=10**5)
    for name in ("steps", "split_base_steps", "split_target_steps"):
        require_integer(name, getattr(config, name), at_least=2, at_most=10**8)
    require(config.steps % 2 == 0, "steps", config.steps, "an even number, of which there are halves")
    for name in ("initial_scale", "base_strength", "learning_rate"):
        require_number(name, getattr(config, name), above=0, at_most=1e3)
    for name in ("shares", "early"):
        values = getattr(config, name)
        require_axis(name, values, at_least=0)
        require(max(values) <= 1, name, values, "shares from 0 to 1")
    whole = config.shares[0] == 0 and config.shares[-1] == 1 and len(config.shares) > 2
    require(whole, "shares", config.shares, "shares from 0 to 1 with both and one between")
    require_axis("asked", config.asked, at_least=-1e3)
    require(max(config.asked) <= 1e3, "asked", config.asked, "numbers up to 1000")
    require_number("timed", config.timed, above=0, at_most=0.5)


experiment = Experiment("early_exposure", __doc__, Config, compute, find, table, CLAIMS, flags=Drawing)
run, main = experiment.run, experiment.main
