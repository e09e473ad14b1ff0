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

import dataclasses
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, Int

from linsim.commands.building import budgets
from linsim.commands.config import PretrainConfig as Budgets
from linsim.commands.config import require_choices
from linsim.errors import fields_of, require, require_axis, require_integer, require_number
from linsim.progress.showing import Progress
from linsim.storage.provenance import provenance

from ..command import command
from .config import Config
from .language import Language, draw_language
from .measuring import Measured
from .model import Model
from .phases import Phase, finetune, pretrain
from .result import Noisy, label, watch
from .summary import summarise


class Laboratory(NamedTuple):
    """What a configuration stands for."""

    model: Model
    languages: tuple[Language, Language]
    """Of pre-training and of fine-tuning."""
    budgets: Int[np.ndarray, " budgets"]
    phases: tuple[Phase, Phase]
    """Pre-training and fine-tuning."""


def run(config: Config, report: Progress | None = None) -> xr.Dataset:
    """Losses, sensitivities and inflection points of a configuration.

    Raises:
      InvalidInput: a field outside its domain.
    """
    laboratory = build(config)
    model, languages, axis, (first, second) = laboratory
    _, _, seeds, lanes = config.size()
    rates = config.finetune.learning_rates
    root = jax.random.key(config.seed)
    pretraining = int(axis[-1]) * seeds
    total = pretraining + len(axis) * len(rates) * seeds * second.steps
    # Some accelerators round the factors of float32 products to 10 bits otherwise.
    with jax.default_matmul_precision("highest"):
        measured = Measured.of(model, languages, config.evaluation, jax.random.fold_in(root, 0))
        checkpoints = pretrain(
            model,
            first,
            axis,
            _keys(root, 1, seeds),
            _keys(root, 2, seeds),
            lanes,
            report and (lambda done: report(done, total)),
        )
        before = measured.losses(checkpoints)
        same, stream_scale = measured.at_first_scale(checkpoints)
        absolute, relative, normed = (
            measured.rises(weights, jax.random.fold_in(root, 3), scales, units, config.noise.pairs)
            for weights, scales, units in (
                (checkpoints, config.noise.absolute, False),
                (checkpoints, config.noise.relative, True),
                (same, config.noise.absolute, False),
            )
        )
        readings = measured.monitors(checkpoints, config.monitors, jax.random.fold_in(root, 5))
        after = finetune(
            measured,
            second,
            checkpoints,
            rates,
            _keys(root, 4, seeds),
            lanes,
            report and (lambda done: report(pretraining + done, total)),
        )
    noisy = Noisy((config.noise.absolute, config.noise.relative), absolute, relative, normed, stream_scale)
    dataset = watch(label(axis, rates, before, after, noisy), readings, config.alarm)
    return dataset.assign_attrs(_attributes(config, laboratory))


def build(config: Config) -> Laboratory:
    """The model, the two languages and the two phases; `InvalidInput` for a field outside its domain."""
    require_choices(config)
    size = config.size()
    require_integer("seeds", size.seeds, at_least=1, at_most=1000)
    require_integer("lanes", size.lanes, at_least=1, at_most=1000)
    require_integer("seed", config.seed, at_least=0, at_most=2**32 - 2)
    require_integer("evaluation", config.evaluation, at_least=1, at_most=10**5)
    for name in ("layers", "width", "heads"):
        require_integer(f"model.{name}", getattr(config.model, name), at_least=1, at_most=4096)
    require_integer("model.context", config.model.context, at_least=2, at_most=4096)
    require(config.model.width % config.model.heads == 0, "model.heads", config.model.heads, "a divisor of the width")
    for name, phase in (("pretrain", config.pretrain), ("finetune", config.finetune)):
        require_integer(f"{name}.warmup", phase.warmup, at_least=1, at_most=10**6)
        require_integer(f"{name}.batch", phase.batch, at_least=1, at_most=10**5)
    require_number("pretrain.learning_rate", config.pretrain.learning_rate, above=0, at_most=1e3)
    require_integer("finetune.steps", config.finetune.steps, at_least=1, at_most=10**6)
    require_axis("finetune.learning_rates", config.finetune.learning_rates, above=0)
    require_axis("noise.absolute", config.noise.absolute, above=0)
    require_axis("noise.relative", config.noise.relative, above=0)
    require_integer("noise.pairs", config.noise.pairs, at_least=2, at_most=10**5)
    require_integer("monitors.microbatches", config.monitors.microbatches, at_least=2, at_most=10**5)
    require_integer("monitors.sequences", config.monitors.sequences, at_least=1, at_most=10**5)
    require_integer("monitors.probes", config.monitors.probes, at_least=1, at_most=10**5)
    require_number("monitors.noise", config.monitors.noise, above=0)
    require_integer("monitors.lanczos", config.monitors.lanczos, at_least=2, at_most=10**4)
    spoken = config.language
    with fields_of("language", {}):
        language = draw_language(spoken.tokens, spoken.exponent, spoken.last, spoken.context, config.seed)
        shifted = language.shifted(spoken.shift, spoken.where, config.seed + 1)
    before, after = config.pretrain, config.finetune
    axis = budgets(Budgets(first=before.first, steps=size.steps, budgets=size.budgets))
    phases = (
        Phase(language.tables(shifted.kept), before.learning_rate, before.warmup, before.batch, int(axis[-1])),
        Phase(shifted.tables(shifted.kept), after.learning_rates[0], after.warmup, after.batch, after.steps),
    )
    return Laboratory(Model(config.model, spoken.tokens), (language, shifted), axis, phases)


def _keys(root: Array, purpose: int, seeds: int) -> Array:
    """One key a seed; those of the first seeds do not depend on how many there are."""
    return jax.random.split(jax.random.fold_in(root, purpose), seeds)


def _attributes(config: Config, laboratory: Laboratory) -> dict[str, Any]:
    """All that the numbers came from."""
    model, (first, second), _, _ = laboratory
    length = config.model.context
    return {
        "config": json.dumps(dataclasses.asdict(config), default=str),
        "size": json.dumps(config.size()._asdict()),
        "parameters": model.parameters(),
        "tokens_per_step": config.pretrain.batch * length,
        "finetune_steps": config.finetune.steps,
        "entropies": json.dumps([first.entropy(length), second.entropy(length)]),
        "changed_share_of_text": float(first.frequencies[~second.kept].sum()),
        "loss_convention": "nats a token above the entropy of the language; 0 is a perfect model",
        "solver_reason": f"solver: Adam in float32, {model.parameters()} parameters; a transformer has no closed form",
        **provenance(),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    return command(Config, run, "transformer", __doc__, summarise, arguments)
