"""What is best at one cost, over all sizes: compute-optimal, best for its use, with inference; and how it grows."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from linsim.theory.scaling.optimal import compute_optimal

from .config import Config
from .modes import Models

QUANTITIES = ("size", "time", "loss", "ratio")
DENSITIES = (1, 2, 4)
"""Sizes per octave of grids."""
GRIDS = 5
"""Grids of sizes, each a fifth of a step from the one before; small sizes are whole numbers that several share."""
COSTS = 9
"""Of the range over which exponents are measured."""
_DECADE = 10.0  # a shorter range of C tells no exponent
_SMALLEST = 4  # size of the grids: corrections of 1/N are below a tenth


class Best(NamedTuple):
    """The best model at one cost."""

    size: float
    time: float
    loss: float
    edge: int
    """-1 where it is the smallest model that was told, 1 where it is the largest, else 0."""


def best_of(losses: Float[np.ndarray, " sizes"], cost: float, inference: float = 0.0) -> Best:
    """Of losses of sizes 1, 2, ... at one cost; NaN is not told."""
    known = np.flatnonzero(np.isfinite(losses))
    if not known.size:
        return Best(np.nan, np.nan, np.nan, 0)
    at = int(known[np.argmin(losses[known])])
    edge = 1 if at == known[-1] else -1 if at == known[0] else 0
    return Best(at + 1.0, cost / (at + 1) - inference, float(losses[at]), edge)


def judged(config: Config, models: list[Models]) -> xr.Dataset:
    """The best sizes and budgets of every task over compute: base loss, utilities, with inference."""
    shape = len(models), len(config.compute)
    found = {name: np.full(shape, np.nan) for name in ("optimal_size", "optimal_time", "optimal_loss")}
    used = {
        name: np.full((*shape, len(config.times), len(config.utilities)), np.nan) for name in ("size", "ratio", "edge")
    }
    served = {name: np.full((*shape, len(config.inference)), np.nan) for name in ("size", "ratio", "loss")}
    for row, each in enumerate(models):
        for column, cost in enumerate(config.compute):
            best = best_of(each.at_cost(each.base, cost), cost)
            for name, value in zip(found.values(), (best.size, best.time, best.loss), strict=True):
                name[row, column] = value
            for time in range(len(config.times)):
                pretrain, finetune = (each.at_cost(losses[:, time], cost) for losses in (each.pretrain, each.finetune))
                for at, utility in enumerate(config.utilities):
                    use = best_of(pretrain + utility * finetune, cost)
                    place: tuple[int, ...] = (row, column, time, at)
                    used["size"][place], used["edge"][place] = use.size, use.edge
                    used["ratio"][place] = use.time / use.size * best.size / best.time
            for at, inference in enumerate(config.inference):
                use = best_of(each.at_cost(each.base, cost, inference), cost, inference)
                trained = best_of(each.at_cost(each.base, use.size * use.time), use.size * use.time)
                place = row, column, at
                served["size"][place], served["loss"][place] = use.size, use.loss
                served["ratio"][place] = use.time / use.size * trained.size / trained.time
    dims = ("task", "compute")
    told: dict[str, Any] = {name: (dims, values) for name, values in found.items()}
    told |= {f"utility_{name}": ((*dims, "finetune_time", "utility"), values) for name, values in used.items()}
    told |= {f"inference_{name}": ((*dims, "inference"), values) for name, values in served.items()}
    return xr.Dataset(told)


class Grown(NamedTuple):
    """Exponents of C, each a mean over shifted grids and their range.

    One function without chance, read at other sizes: the range is the error of grids, and no interval of confidence.
    """

    mean: Float[np.ndarray, " quantities"]
    low: Float[np.ndarray, " quantities"]
    high: Float[np.ndarray, " quantities"]


def grown(models: Models, costs: Float[np.ndarray, " costs"], density: int) -> Grown:
    """How the best size, flow time, loss and their ratio grow with C, by least squares on each grid of sizes.

    Args:
      models: of one task.
      costs: C.
      density: sizes per octave; between them a parabola in log N reads the least loss.
    """
    losses = np.stack([models.at_cost(models.base, cost) for cost in costs])
    slopes = []
    for grid in range(GRIDS):
        sizes = _grid(len(models.sizes), density, grid / GRIDS)
        best = np.array([_vertex(np.log(sizes), np.log(row[sizes - 1])) for row in losses])
        known = np.isfinite(best).all(axis=1)
        if known.sum() < 3:
            return Grown(*np.full((3, len(QUANTITIES)), np.nan))
        log_cost, log_size = np.log(costs[known]), best[known, 0]
        curves = np.stack([log_size, log_cost - log_size, best[known, 1], log_cost - 2 * log_size], axis=1)
        slopes.append(np.polyfit(log_cost, curves, 1)[0])
    told = np.asarray(slopes)
    return Grown(told.mean(axis=0), told.min(axis=0), told.max(axis=0))


def costs_within(models: Models) -> Float[np.ndarray, " costs"]:
    """C at which the best model has about 8 modes to a fourth of all, as simulated; NaN for less than a decade."""
    few, many = 2 * _SMALLEST, len(models.sizes) // 4
    tried = np.geomspace(models.times[0], models.times[-1] * many, 60)
    best = np.array([best_of(models.at_cost(models.base, cost), cost).size for cost in tried])
    inside = tried[(best >= few) & (best <= many)]
    enough = len(inside) > 2 and inside[-1] >= _DECADE * inside[0]
    return np.geomspace(inside[0], inside[-1], COSTS) if enough else np.full(COSTS, np.nan)


def line(models: Models, sizes: Int[np.ndarray, " sizes"]) -> Float[np.ndarray, " sizes"]:
    """D of the compute-optimal model of each size: x* N^b of a law, else as simulated, NaN outside of that."""
    law = models.spectrum.law
    if law is not None and law.depth > 1:
        return np.asarray(compute_optimal(law).clock * sizes.astype(float) ** law.clock)
    every = np.geomspace(models.times[0], models.times[-1] * len(models.sizes), 400)
    best = [best_of(models.at_cost(models.base, cost), cost) for cost in every]
    known = {each.size: each.time for each in best if each.edge == 0}  # of each size the longest
    if len(known) < 2:
        return np.full(len(sizes), np.nan)
    log_sizes, log_times = np.log(np.array(sorted(known.items()))).T
    return np.exp(np.interp(np.log(sizes), log_sizes, log_times, left=np.nan, right=np.nan))


def in_closed_form(models: Models) -> Models:
    """The same models, of a law, with every mode by its closed form."""
    law = models.spectrum.law
    assert law is not None
    sigma = models.spectrum.strengths
    clock = models.times[:, None] * sigma ** (2 - 2 / law.depth)
    return Models(models.spectrum, models.times, sigma * (1 - law.missing(clock)))


def _grid(most: int, density: int, shift: float) -> Int[np.ndarray, " sizes"]:
    steps = np.arange(shift, density * np.log2(most / _SMALLEST) + 1e-9)
    return np.unique(np.round(_SMALLEST * 2 ** (steps / density)).astype(int))


def _vertex(log_sizes: np.ndarray, log_losses: np.ndarray) -> tuple[float, float]:
    """The least of a parabola through three points; NaN where it is at an end."""
    known = np.isfinite(log_losses)
    x, y = log_sizes[known], log_losses[known]
    if len(x) < 3 or (at := int(np.argmin(y))) in (0, len(y) - 1):
        return np.nan, np.nan
    three = slice(at - 1, at + 2)
    curve = np.polyfit(x[three] - x[at], y[three], 2)
    place = -curve[1] / (2 * curve[0])
    return float(x[at] + place), float(np.polyval(curve, place))
