"""Results of a transformer with numbers written by hand: nothing is trained, nothing is compiled."""

import dataclasses
import json

import numpy as np

from experiments.transformer import experiment
from experiments.transformer.measuring import MEASURES
from experiments.transformer.result import assemble
from linsim.labels import texts
from linsim.monitoring.alarm import Alarm

BUDGETS = np.asarray([50, 100, 200, 400, 600, 800, 1000, 1200, 1400])
RATES = (1e-4, 1e-3)
SEEDS = 2


def falling(power=-0.3):
    """A base loss over (budget, seed), the second seed 10 % above the first."""
    return (BUDGETS / 50.0)[:, None] ** power * np.asarray([1.0, 1.1])


def turning(at=400, steepness=0.1):
    """A loss over (budget, rate, seed) that falls throughout at the first rate and turns at the second."""
    u = 1 + steepness * np.log(BUDGETS[:, None] / np.broadcast_to(at, SEEDS)) ** 2
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
    rise = 0.1 * noise(BUDGETS / 50.0)[:, None, None] * np.ones((SEEDS, 2)) * [1.0, 4.0]
    curves = dict.fromkeys(MEASURES, np.ones_like) | (monitors or {})
    estimates = {
        "rise_under_absolute_noise": rise,
        "rise_under_relative_noise": 2 * rise,
        "rise_at_first_scale": 3 * rise,
        "monitor": np.stack([np.broadcast_to(curves[name](BUDGETS * 1.0)[:, None], (9, SEEDS)) for name in MEASURES]),
    }
    before = {f"{name}_loss_before": size * falling() for name, size in (("pretrain", 1), ("kept", 1), ("finetune", 2))}
    tuned = {f"{name}_loss_after": after / size for name, size in (("pretrain", 1), ("kept", 1), ("finetune", 2))}
    found = {
        **before,
        **tuned,
        **estimates,
        **{f"{name}_error": error * np.abs(values) for name, values in estimates.items()},
        "displacement": np.ones(after.shape),
        "diverged": np.zeros(after.shape, bool) if diverged is None else diverged,
        "stream_scale": 0.1 * (1 + BUDGETS / 1400.0)[:, None] * np.ones(SEEDS),
    }
    axes = {"pretrain_steps": BUDGETS, "learning_rate": np.asarray(RATES), "seed": np.arange(SEEDS)}
    axes |= {"absolute_noise": np.asarray([0.01, 0.02]), "relative_noise": np.asarray([0.1, 0.2])}
    dataset = assemble(axes | {"measure": texts(MEASURES)}, found, alarm or Alarm())
    config = json.dumps({"alarm": dataclasses.asdict(alarm or Alarm())})
    return experiment.found(dataset.assign_attrs(config=config))
