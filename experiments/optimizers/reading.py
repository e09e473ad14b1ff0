"""What sweeps of optimisers come to: curves at one rate and at own rates, over the base loss; closed forms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from linsim.labels import PLAIN, RATE, SQUARED, Label, lost_lanes
from linsim.tasks import Transfer
from linsim.theory.optimizers.order import any_order, at_loss
from linsim.theory.stages import tuned
from linsim.theory.turns import locate

from .axis import BASE, at_one_rate, at_own_rates, on_axis

PLACES, RULES = ("setting", "task_shift", "arm", "optimizer"), ("fixed", "tuned")
_CURVE = "pre-training loss after fine-tuning"


def _labels(rule: str, words: str) -> dict[str, Label]:
    return {
        f"{rule}_curve": Label(f"{_CURVE}, {words}", SQUARED),
        f"{rule}_best": Label(f"least {_CURVE}, {words}", SQUARED),
        f"{rule}_last": Label(f"{_CURVE} at the end, {words}", SQUARED),
        f"{rule}_excess": Label(f"last - least, over the zero network's loss, {words}", PLAIN),
        f"{rule}_harm": Label(f"last / least - 1, {words}", PLAIN),
        f"{rule}_resolved": Label(f"whether the budgets resolve the least, {words}"),
    }


LABELS = {
    "setting": Label("bases of the tasks and initial weights"),
    "task_shift": Label("modes whose target changes"),
    "arm": Label("phase that the optimiser moves, the other being by plain descent"),
    "optimizer": Label("optimiser"),
    "optimizer_name": Label("optimiser, as sentences call it"),
    BASE: Label("pre-training loss before fine-tuning, over that of the zero network", PLAIN),
    **_labels("fixed", "at one rate"),
    **_labels("tuned", "at the rate that takes every checkpoint to one fine-tuning loss"),
    "fixed_rate": Label("rate of fine-tuning: the last checkpoint of descent reaches the level by it", RATE),
    "relative_rate": Label(
        "fine-tuning rate over that by which the last checkpoint of descent reaches the level", PLAIN
    ),
    "trace": Label("tr H of the pre-training loss", "squared output / squared weight"),
    "least_trace": Label("the least that any path of balanced modes has", "squared output / squared weight"),
    "imbalance": Label("||W_2'W_2 - W_1 W_1'|| over the base loss", "squared weight"),
    "imbalance_before": Label("||W_2'W_2 - W_1 W_1'|| at a checkpoint", "squared weight"),
    "reached": Label("least base loss, over that of the zero network", PLAIN),
    "predicted_curve": Label(f"{_CURVE} at one rate, in closed form", SQUARED),
    "any_order_last": Label("last loss that belongs to the shift", SQUARED),
    "any_order_bound": Label("no budget of any order is better", SQUARED),
}


def read(
    found: xr.Dataset,
    transfers: Mapping[Any, Transfer],
    rates: Mapping[Any, float],
    level: float,
    levels: Float[np.ndarray, " levels"],
) -> xr.Dataset:
    """Curves at one rate and at own rates, what they come to, and all over the base loss.

    Args:
      found: losses and measures over `PLACES`, budgets, relative rates and seeds.
      transfers: (setting, shift) -> tasks.
      rates: (setting, shift, optimiser of fine-tuning) -> the fixed rate; NaN where none comes to the level.
      level: fine-tuning loss to which own rates take a checkpoint, over that before fine-tuning at the end.
      levels: base losses, over that of the zero network.
    """
    zero = next(iter(transfers.values())).pretrain.zero_loss
    losses = found[["pretrain_loss_after", "finetune_loss_after"]].where(~lost_lanes(found), np.inf)
    losses = losses.assign(found[["pretrain_loss_before", "hessian_trace", "imbalance"]])
    losses = losses.transpose(*PLACES, "pretrain_steps", "relative_rate", "seed")
    sizes = found.sizes
    cells, seeds = [sizes[name] for name in PLACES], sizes["seed"]
    over_steps = {rule: np.full((*cells, sizes["pretrain_steps"], seeds), np.nan) for rule in RULES}
    over_base = {name: np.full((*cells, len(levels), seeds), np.nan) for name in (*RULES, "trace", "imbalance")}
    fixed = np.full(cells, np.nan)
    for place in np.ndindex(*cells):
        here = losses.isel(dict(zip(PLACES, place, strict=True)))
        setting, shift, arm, optimizer = (str(here[name].item()) for name in PLACES)
        fixed[place] = rates[setting, shift, "descent" if arm == "pretrain" else optimizer]
        aim = level * transfers[setting, shift].learned_loss
        told = {"fixed": at_one_rate(here), "tuned": at_own_rates(here, aim)}
        if not np.isfinite(fixed[place]):
            told = {rule: np.nan * values for rule, values in told.items()}
        for rule, values in told.items():
            over_steps[rule][place] = values
        told |= {"trace": here["hessian_trace"].values, "imbalance": here["imbalance"].values}
        for name, values in told.items():
            over_base[name][place] = on_axis(values, here["pretrain_loss_before"].values, levels * zero)
    dataset = found.rename(imbalance="imbalance_before").assign_coords({BASE: levels})
    for rule, values in over_steps.items():
        dataset = dataset.assign(_turns(rule, values, found, zero))
    for name, values in over_base.items():
        dataset[f"{name}_curve" if name in RULES else name] = (*PLACES, BASE, "seed"), values
    dataset["fixed_rate"] = PLACES, fixed
    dataset["reached"] = found["pretrain_loss_before"].min("pretrain_steps") / zero
    return dataset.assign(_closed_forms(dataset, transfers, levels, zero)).assign_attrs(end=float(levels[-1]))


def _turns(rule: str, curves: np.ndarray, found: xr.Dataset, zero: float) -> dict[str, Any]:
    """Best and last loss, excess and harm of curves over budgets; NaN where pre-training is not done."""
    turn = locate(found["pretrain_steps"].values, np.moveaxis(curves, -2, 0), scale=zero, floor=1e-12 * zero)
    told = {"best": turn.least, "last": turn.last, "excess": turn.excess, "harm": turn.harm, "resolved": turn.resolved}
    return {f"{rule}_{name}": ((*PLACES, "seed"), values) for name, values in told.items()}


def _closed_forms(
    dataset: xr.Dataset, transfers: Mapping[Any, Transfer], levels: np.ndarray, zero: float
) -> dict[str, Any]:
    """What the shift alone decides, the paths that have a closed form over the base loss, and the least trace."""
    orders = {"muon": "muon", "natural_gradient": "natural"}
    methods, steps = dataset["optimizer"].values, dataset.attrs["finetune_steps"]
    shape = dataset.sizes["setting"], dataset.sizes["task_shift"]
    curve = np.full((*shape, len(methods), len(levels)), np.nan)
    last, bound = np.full((2, *shape), np.nan)
    trace = np.full(len(levels), np.nan)
    for place in np.ndindex(shape):
        cell = dataset.isel(setting=place[0], task_shift=place[1])
        transfer = transfers[str(cell["setting"].item()), str(cell["task_shift"].item())]
        sigma, finetune = transfer.pretrain.strengths, transfer.finetune.strengths
        rate = float(cell["fixed_rate"][0, 0])
        if not np.isfinite(rate) or bool(np.any(sigma < 0)):
            continue
        last[place], bound[place] = (float(value) for value in any_order(sigma, finetune, rate * steps))
        sizes = transfer.pretrain.inputs + transfer.pretrain.outputs
        trace = np.array([2 * sizes * at_loss(sigma, share * zero, "soft threshold").sum() for share in levels])
        for at, name in enumerate(methods):
            if (order := orders.get(str(name))) is not None:
                paths = np.stack([at_loss(sigma, share * zero, order) for share in levels])  # type: ignore[arg-type]
                after = np.asarray(tuned(paths, np.broadcast_to(finetune, paths.shape), 0.0, rate * steps))
                curve[(*place, at)] = np.sum((after - sigma) ** 2, axis=-1)
    places = ("setting", "task_shift")
    return {
        "predicted_curve": ((*places, "optimizer", BASE), curve),
        "any_order_last": (places, last),
        "any_order_bound": (places, bound),
        "least_trace": ((BASE,), trace),
    }
