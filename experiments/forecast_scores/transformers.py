"""Makes the stored tables of small transformers: eight pre-trainings, each fine-tuned in five ways from every budget.

    python -m experiments.forecast_scores.transformers

Each pre-training has a language, initial weights and text of its own; the five ways differ in the share of contexts
that follow another law and in the rate. Losses are in nats a token above the entropy of the language, those after
fine-tuning means over three streams of text.
"""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ..transformer.config import Config, FinetuneSettings, LanguageSettings, PretrainSettings
from ..transformer.experiment import build
from ..transformer.measuring import Evaluation
from ..transformer.model import Shape
from ..transformer.training import finetune, pretrain

TABLE = Path(__file__).with_name("transformers.csv")
COLUMNS = (
    *("run", "pretraining", "strength", "rate", "budget", "base_loss", "finetune_loss_before"),
    *("pretrain_loss_after", "finetune_loss_after", "entropy"),
)
PRETRAININGS, STREAMS = 8, 3
WAYS = ((1.0, 1e-3), (1.0, 3e-3), (1.0, 1e-2), (0.5, 3e-3), (0.25, 3e-3))
"""Share of the contexts that follow another law, rate of fine-tuning."""
SMALL = Config(
    evaluation=128,
    language=LanguageSettings(tokens=24),
    model=Shape(layers=2, width=48),
    pretrain=PretrainSettings(learning_rate=2e-3, steps=4800, first=25, budgets=16),
    finetune=FinetuneSettings(steps=50),
)


def rows(number: int) -> Iterator[tuple[object, ...]]:
    """The rows of one pre-training, of all its ways and budgets."""
    config = replace(SMALL, seed=number, seeds=1)
    root = jax.random.key(number)
    initial, read = (jax.random.split(jax.random.fold_in(root, purpose), 1) for purpose in (1, 2))
    streams = jax.random.split(jax.random.fold_in(root, 4), STREAMS)
    first = build(config)
    checkpoints = pretrain(
        first.model, first.regimes[0], config.pretrain.learning_rate, first.budgets, initial, read, lanes=1
    )
    for share in dict.fromkeys(share for share, _ in WAYS):
        here = build(replace(config, language=replace(config.language, shift=share)))
        evaluation = Evaluation.of(here.model, here.languages, config.evaluation, jax.random.fold_in(root, 0))
        before = evaluation.losses(checkpoints)
        rates = [rate for other, rate in WAYS if other == share]
        several = jax.tree.map(lambda leaf: jnp.repeat(leaf, STREAMS, axis=1), checkpoints)
        tuned = finetune(evaluation, here.regimes[1], rates, config.finetune.steps, several, streams, lanes=1).losses
        entropy = here.languages[0].entropy(config.model.context)
        for at, rate in enumerate(rates):
            for step, budget in enumerate(here.budgets):
                losses = (
                    before.pretrain[step],
                    before.finetune[step],
                    tuned.pretrain[step, at],
                    tuned.finetune[step, at],
                )
                told = [f"{float(np.mean(loss)):.6g}" for loss in losses]
                name = f"{number}-{share:g}-{rate:g}"
                yield name, number, share, rate, int(budget), *told, f"{entropy:.6g}"


def main() -> int:
    """Write the table."""
    with TABLE.open("w", newline="") as file, jax.default_matmul_precision("highest"):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        started = time.perf_counter()
        for number in range(PRETRAININGS):
            writer.writerows(rows(number))
            file.flush()
            print(f"pre-training {number}: {time.perf_counter() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
