"""Results of a transformer with numbers written by hand: nothing is trained, nothing is compiled."""

import dataclasses
import json

import numpy as np

from experiments.transformer.measuring import MEASURES, Losses
from experiments.transformer.phases import Finetuned
from experiments.transformer.result import Noisy, label, watch
from linsim.measures.estimates import Estimate
from linsim.monitoring.alarm import Alarm

BUDGETS = np.asarray([50, 100, 200, 400, 600, 800, 1000, 1200, 1400])
RATES = (1e-4, 1e-3)
SEEDS = 2


def falling(power=-0.3):
    """A base loss over (budget, seed), the second seed 10 % above the first."""
    return (BUDGETS / 50.0)[:, None] ** power * np.asarray([1.0, 1.1])


def turning(at=400, steepness=0.1):
    """A loss over (budget, rate, seed) that falls throughout at the first rate and turns at the second."""
    u = 1 + steepness * np.log(BUDGETS / at)[:, None] ** 2 * np.ones(SEEDS)
    return np.stack([falling(), u], axis=1)


def result(after=None, diverged=None, noise=lambda b: b**0.3, monitors=None, alarm=None, error=0.02):
    """A dataset as `experiments.transformer` makes it.

    Args:
      after: losses after fine-tuning over (budget, rate, seed); default no turn.
      diverged: of the same shape.
      noise: budget / first budget -> rise under noise, in units of its first value.
      monitors: name -> function of the budget; default constant.
      alarm: default the standard one.
      error: relative standard error of rises and monitors.
    """
    after = np.stack([falling()] * 2, axis=1) if after is None else after
    diverged = np.zeros(after.shape, bool) if diverged is None else diverged
    rise = 0.1 * noise(BUDGETS / 50.0)[:, None, None] * np.ones((SEEDS, 2)) * [1.0, 4.0]
    noisy = Noisy(
        ((0.01, 0.02), (0.1, 0.2)),
        *[Estimate(factor * rise, error * rise) for factor in (1.0, 2.0, 3.0)],
        stream_scale=0.1 * (1 + BUDGETS / 1400.0)[:, None] * np.ones(SEEDS),
    )
    curves = dict.fromkeys(MEASURES, np.ones_like) | (monitors or {})
    values = np.stack([np.broadcast_to(curves[name](BUDGETS * 1.0)[:, None], (9, 2)) for name in MEASURES], -1)
    finetuned = Finetuned(Losses(after, after, after / 2), np.ones(after.shape), diverged)
    dataset = label(BUDGETS, RATES, Losses(falling(), falling(), falling() * 2), finetuned, noisy)
    dataset = watch(dataset, Estimate(values, error * np.abs(values)), alarm or Alarm())
    config = json.dumps({"alarm": dataclasses.asdict(alarm or Alarm())})
    return dataset.assign_attrs(config=config, parameters=99, entropies=json.dumps([2.0, 2.1]))
