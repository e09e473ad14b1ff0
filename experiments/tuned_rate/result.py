"""Losses after fine-tuning, and what the rules make of them, as a labelled Dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from linsim.labels import texts
from linsim.problem import Problem
from linsim.tasks import Transfer
from linsim.theory.inflection import locate, rounding_floor

from .rules import EQUAL, RULES, Tuned, best, by_rule, longest

TRAINED_ON = ("population", "sample")
_LOSS = {"units": "squared output"}
_NAMES = {
    "rule_pretrain_loss": "pre-training loss after fine-tuning",
    "rule_heldout_loss": "held-out fine-tuning loss",
    "rule_time": "rate x steps that the rule chooses",
    "rule_harm": "loss at the largest budget / smallest loss - 1",
    "rule_inflection_steps": "inflection point",
    "fixed_harm": "harm at a fixed rate",
    "tuned_harm": "harm with the rate tuned up to a largest one",
}
_UNITS = {"rule_time": "flow time", "rule_inflection_steps": "pre-training steps"}

Results = Mapping[str, Sequence[Tuned]]
"""For "population" and "sample", one for every factor."""


def collect(
    problem: Problem,
    factors: Sequence[float],
    transfers: Sequence[Transfer],
    samples: Sequence[Sequence[Transfer]],
    allowed: int,
    tuned: Results,
    predicted: Results | None,
) -> xr.Dataset:
    """All losses, what every rule chooses, harm over rates, and the tasks and weights they follow from.

    Args:
      problem: of the last factor; its start, budgets and pre-training task are those of all.
      factors: labels of the tasks.
      transfers: to the population of every task.
      samples: the same to the sample of every seed.
      allowed: how many of the rates may be chosen.
      tuned: what fine-tuning leads to.
      predicted: the same in closed form, or None; rates beyond the stable one do not count there.
    """
    depth, rates = problem.depth, tuned["sample"][0].rates.times
    tops = np.array([float(np.abs(transfer.finetune.strengths).max()) for transfer in transfers])
    curvature = 2 * depth * tops ** (2 - 2 / depth)
    with np.errstate(divide="ignore"):
        stable = 2 / curvature
    variables: dict[str, Any] = _rules(problem, transfers, allowed, tuned)
    for name, each in ("pretrain_loss", "pretrain"), ("heldout_loss", "heldout"):
        for prefix, of, axis in ("", "rates", "learning_rate"), ("stopped_", "stops", "stop_steps"):
            stacked = np.stack([[getattr(getattr(case, of), each) for case in tuned[on]] for on in TRAINED_ON])
            losses = np.where(np.isfinite(stacked), stacked, np.nan)
            dims = ("trained_on", "factor", "pretrain_steps", "seed", axis)
            variables[f"{prefix}{name}_after"] = (dims, losses, {"long_name": f"{name} after fine-tuning", **_LOSS})
    if predicted is not None:
        steps = problem.finetune_steps
        unstable = {
            on: [case.beyond(bound * steps) for case, bound in zip(predicted[on], stable, strict=True)]
            for on in TRAINED_ON
        }
        for name, entry in _rules(problem, transfers, allowed, unstable).items():
            variables[f"predicted_{name}"] = entry
    variables["stable_rate"] = ("factor", stable, {"long_name": "2 / top curvature of the fine-tuned network"})
    matrix = ("output", "input")
    variables |= {
        "pretrain_target": (matrix, problem.transfer.pretrain.target),
        "input_covariance": (("input", "input_"), problem.transfer.pretrain.input_covariance),
        "finetune_target": (("factor", *matrix), np.stack([transfer.finetune.target for transfer in transfers])),
        "sample_target": (
            ("factor", "seed", *matrix),
            np.stack([[transfer.finetune.target for transfer in drawn] for drawn in samples]),
        ),
        "sample_input_covariance": (
            ("seed", "input", "input_"),
            np.stack([transfer.finetune.input_covariance for transfer in samples[0]]),
        ),
    }
    units = ["input", *(f"hidden_{layer}" for layer in range(1, depth)), "output"]
    for layer, weight in enumerate(problem.initial, start=1):
        variables[f"initial_weights_{layer}"] = (("seed", units[layer], units[layer - 1]), weight)
    coordinates = {
        "trained_on": texts(TRAINED_ON),
        "factor": ("factor", np.asarray(factors, np.float64), {"long_name": "factor on the weaker singular values"}),
        "rule": texts(RULES),
        "pretrain_steps": ("pretrain_steps", problem.budgets, {"long_name": "pre-training budget", "units": "steps"}),
        "learning_rate": ("learning_rate", rates / problem.finetune_steps, {"units": "flow time per step"}),
        "stop_steps": ("stop_steps", tuned["sample"][0].stopped_steps, {"long_name": "steps until a stop"}),
        "seed": np.arange(problem.seeds),
    }
    return xr.Dataset(variables, coordinates)


def _rules(problem: Problem, transfers: Sequence[Transfer], allowed: int, tuned: Results) -> dict[str, Any]:
    """What every rule chooses and leads to, and harm over rates, fixed or tuned up to them."""
    floor = rounding_floor(problem, np.dtype(np.float64))
    found: dict[str, list[list[Any]]] = {name: [] for name in _NAMES}
    for on in TRAINED_ON:
        rows: dict[str, list[Any]] = {name: [] for name in _NAMES}
        for transfer, case in zip(transfers, tuned[on], strict=True):
            zero_loss = transfer.finetune.zero_loss
            chosen = by_rule(case.rates, case.stops, allowed, zero_loss)
            losses = np.stack([each.pretrain for each in chosen.values()], axis=1)
            turns = locate(problem.budgets, losses, floor=floor)
            limited = [case.rates.up_to(count) for count in range(1, len(case.rates.times) + 1)]
            over = [
                np.stack([rule(part).pretrain for part in limited], axis=1)
                for rule in (longest, _best(EQUAL * zero_loss))
            ]
            fixed, varied = (locate(problem.budgets, each, floor=floor).harm for each in over)
            rows["rule_pretrain_loss"].append(np.moveaxis(losses, 1, 0))
            rows["rule_heldout_loss"].append(np.stack([each.heldout for each in chosen.values()]))
            rows["rule_time"].append(np.stack([each.time for each in chosen.values()]))
            rows["rule_harm"].append(turns.harm)
            rows["rule_inflection_steps"].append(turns.steps)
            rows["fixed_harm"].append(fixed)
            rows["tuned_harm"].append(varied)
        for name, row in rows.items():
            found[name].append(row)
    curve, cell = ("rule", "pretrain_steps", "seed"), ("rule", "seed")
    dims: dict[str, tuple[str, ...]] = dict.fromkeys(("rule_pretrain_loss", "rule_heldout_loss", "rule_time"), curve)
    dims |= {"rule_harm": cell, "rule_inflection_steps": cell}
    swept = ("learning_rate", "seed")
    return {
        name: (
            ("trained_on", "factor", *dims.get(name, swept)),
            np.asarray(values, np.float64),
            {"long_name": _NAMES[name], "units": _UNITS.get(name, "1" if "harm" in name else "squared output")},
        )
        for name, values in found.items()
    }


def _best(floor: float) -> Any:
    return lambda curves: best(curves, floor)
