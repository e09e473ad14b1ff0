"""Beyond linear: does a small transformer become harder to fine-tune, the longer it is pre-trained?

    python -m experiments.transformer --out DIR

pre-trains once per seed on a synthetic language with a long tail, at a constant rate: the number of tokens would
otherwise be confounded with the annealing of the rate. From the checkpoint of every budget it measures how sensitive
the loss is to noise on the parameters and reads the monitors, then fine-tunes with one recipe at several rates on a
language in which half of the contexts follow another law. Losses are in nats a token above the entropy of the language,
which is known, so that 0 is a perfect model.

    python -m experiments.transformer --language.tokens 24 --language.shift 1 --seed 1 --out DIR

is where an inflection may be expected: with 576 contexts instead of 4,096 the base loss comes near its floor, so that
it cannot fall faster than forgetting grows, and every context follows another law, so that nothing that fine-tuning
teaches helps the first language. Its tokens keep their odds, and the last token its own effect.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, Int

from linsim.commands.building import budgets
from linsim.commands.cli import Drawing
from linsim.commands.config import PretrainConfig, require_choices
from linsim.errors import fields_of, require, require_axis, require_integer, require_number
from linsim.labels import texts
from linsim.progress.showing import Progress
from linsim.storage.provenance import provenance

from ..experiment import Experiment
from .config import Config
from .finding import find, table
from .language import Language, draw_language
from .measuring import DIVERGED, MEASURES, Evaluation
from .model import Model
from .result import assemble
from .training import Regime, finetune, pretrain


class Laboratory(NamedTuple):
    """What a configuration stands for."""

    model: Model
    languages: tuple[Language, Language]
    """Of pre-training and of fine-tuning."""
    budgets: Int[np.ndarray, " budgets"]
    regimes: tuple[Regime, Regime]
    """Of pre-training and of fine-tuning."""


def compute(config: Config, report: Progress | None = None) -> xr.Dataset:
    """Losses, sensitivities, monitors and turns of a configuration; `InvalidInput` for a field outside its domain."""
    laboratory = build(config)
    model, languages, axis, (first, second) = laboratory
    seeds, lanes = config.size().seeds, config.size().lanes
    tuning, noise, root = config.finetune, config.noise, jax.random.key(config.seed)
    total, taken = seeds * (int(axis[-1]) + len(axis) * len(tuning.learning_rates) * tuning.steps), 0

    def done(steps: int) -> None:
        nonlocal taken
        taken += steps
        if report is not None:
            report(taken, total)

    # Some accelerators round the factors of float32 products to 10 bits otherwise.
    with jax.default_matmul_precision("highest"):
        evaluation = Evaluation.of(model, languages, config.evaluation, jax.random.fold_in(root, 0))
        initial, read = _keys(root, 1, seeds), _keys(root, 2, seeds)
        rate = config.pretrain.learning_rate
        checkpoints = pretrain(model, first, rate, axis, initial, read, lanes, done)
        before = evaluation.losses(checkpoints)
        levelled, scale = evaluation.at_first_scale(checkpoints)
        estimates = {
            name: evaluation.rises(weights, jax.random.fold_in(root, 3), scales, relative, noise.pairs)
            for name, weights, scales, relative in (
                ("rise_under_absolute_noise", checkpoints, noise.absolute, False),
                ("rise_under_relative_noise", checkpoints, noise.relative, True),
                ("rise_at_first_scale", levelled, noise.absolute, False),
            )
        }
        readings = evaluation.monitors(checkpoints, config.monitors, jax.random.fold_in(root, 5))
        tuned = finetune(
            evaluation, second, tuning.learning_rates, tuning.steps, checkpoints, _keys(root, 4, seeds), lanes, done
        )
    estimates["monitor"] = jax.tree.map(lambda values: np.moveaxis(values, -1, 0), readings)
    found = {
        **{f"{name}_loss_before": values for name, values in before._asdict().items()},
        **{f"{name}_loss_after": values for name, values in tuned.losses._asdict().items()},
        **{name: estimate.mean for name, estimate in estimates.items()},
        **{f"{name}_error": estimate.error for name, estimate in estimates.items()},
        "displacement": tuned.displacement,
        "diverged": evaluation.diverged(tuned.losses),
        "stream_scale": scale,
    }
    axes = {
        "pretrain_steps": axis,
        "learning_rate": np.asarray(tuning.learning_rates, np.float64),
        "seed": np.arange(seeds),
        "absolute_noise": np.asarray(noise.absolute, np.float64),
        "relative_noise": np.asarray(noise.relative, np.float64),
        "measure": texts(MEASURES),
    }
    return assemble(axes, found, config.alarm).assign_attrs(_attributes(config, laboratory))


def build(config: Config) -> Laboratory:
    """The model, the two languages and how they are trained on; `InvalidInput` for a field outside its domain."""
    require_choices(config)
    size, shape, spoken = config.size(), config.model, config.language
    for name, value, least, most in (
        ("seeds", size.seeds, 1, 1000),
        ("lanes", size.lanes, 1, 1000),
        ("seed", config.seed, 0, 2**32 - 2),
        ("evaluation", config.evaluation, 1, 10**5),
        ("model.layers", shape.layers, 1, 4096),
        ("model.width", shape.width, 1, 4096),
        ("model.heads", shape.heads, 1, 4096),
        ("model.context", shape.context, 2, 4096),
        ("pretrain.warmup", config.pretrain.warmup, 1, 10**6),
        ("pretrain.batch", config.pretrain.batch, 1, 10**5),
        ("finetune.warmup", config.finetune.warmup, 1, 10**6),
        ("finetune.batch", config.finetune.batch, 1, 10**5),
        ("finetune.steps", config.finetune.steps, 1, 10**6),
        ("noise.pairs", config.noise.pairs, 2, 10**5),
        ("monitors.microbatches", config.monitors.microbatches, 2, 10**5),
        ("monitors.sequences", config.monitors.sequences, 1, 10**5),
        ("monitors.probes", config.monitors.probes, 1, 10**5),
        ("monitors.lanczos", config.monitors.lanczos, 2, 10**4),
    ):
        require_integer(name, value, at_least=least, at_most=most)
    require(shape.width % shape.heads == 0, "model.heads", shape.heads, "a divisor of the width")
    require_number("pretrain.learning_rate", config.pretrain.learning_rate, above=0, at_most=1e3)
    require_axis("finetune.learning_rates", config.finetune.learning_rates, above=0)
    require_axis("noise.absolute", config.noise.absolute, above=0)
    require_axis("noise.relative", config.noise.relative, above=0)
    require_number("monitors.noise", config.monitors.noise, above=0)
    with fields_of("language", {}):
        language = draw_language(spoken.tokens, spoken.exponent, spoken.last, spoken.context, config.seed)
        shifted = language.shifted(spoken.shift, spoken.where, config.seed + 1)
    axis = budgets(PretrainConfig(first=config.pretrain.first, steps=size.steps, budgets=size.budgets))
    regimes = (
        Regime(language.tables(shifted.kept), config.pretrain.warmup, config.pretrain.batch),
        Regime(shifted.tables(shifted.kept), config.finetune.warmup, config.finetune.batch),
    )
    return Laboratory(Model(shape, spoken.tokens), (language, shifted), axis, regimes)


def _keys(root: Array, purpose: int, seeds: int) -> Array:
    """One key a seed; those of the first seeds do not depend on how many there are."""
    return jax.random.split(jax.random.fold_in(root, purpose), seeds)


def _attributes(config: Config, laboratory: Laboratory) -> dict[str, Any]:
    """All that the numbers came from."""
    model, (first, second), *_ = laboratory
    length = config.model.context
    return {
        "size": json.dumps(config.size()._asdict()),
        "parameters": model.parameters(),
        "tokens_per_step": config.pretrain.batch * length,
        "finetune_steps": config.finetune.steps,
        "entropies": json.dumps([first.entropy(length), second.entropy(length)]),
        "changed_share_of_text": float(first.frequencies[~second.kept].sum()),
        "loss_convention": "nats a token above the entropy of the language; 0 is a perfect model",
        "diverged_means": f"a final loss that is not finite, or above {DIVERGED:g} x that of uniform guessing",
        "solver_reason": f"solver: Adam in float32, {model.parameters()} parameters; a transformer has no closed form",
        **provenance(),
    }


experiment = Experiment("transformer", __doc__, Config, compute, find, table, flags=Drawing, precision="float32")
run, main = experiment.run, experiment.main
