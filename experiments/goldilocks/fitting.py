"""Scaling laws as users fit them to losses under noise: how well, and what of the turn they know."""

from __future__ import annotations

import numpy as np
import xarray as xr

from linsim.labels import texts
from linsim.theory.scaling.fits import FORMS, NEAR, Fit, Table, explained, fit, resampled, turn_of

from .config import Config
from .modes import Models

_HELD_OUT = 0.25
_DRAWS = 20
_GRID = 2000


def fitted(config: Config, models: Models) -> xr.Dataset:
    """Every law, fitted to three quarters of the losses of all budgets, and of budgets up to the turn alone."""
    if not config.fits:
        return xr.Dataset()
    table, largest = _table(config, models)
    rng = np.random.default_rng(0)
    heldout = rng.random(len(table.losses)) < _HELD_OUT
    times = np.geomspace(table.times.min(), table.times.max(), _GRID)
    curve = (models.base + config.price * models.sensitive)[:, largest - 1]
    turn = float(models.times[int(np.argmin(curve))])
    names = (
        *("error", "test", "turn", "turn_low", "turn_high", "turn_seen"),
        *("alike", "spread", "early_test", "early_turn"),
    )
    told = {name: np.full(len(FORMS), np.nan) for name in names}
    for at, form in enumerate(FORMS):
        trained, test = table.kept(~heldout), table.kept(heldout)
        found = fit(trained, form, config.fits)
        near = [each for each in found if each.error <= NEAR * found[0].error]
        draws = _turns(resampled(trained, found[0], _DRAWS), largest, times)
        early = fit(table.kept(table.times <= turn), form, config.fits)[0]
        told["error"][at], told["test"][at] = found[0].error, explained(found[0].predict, test)
        told["turn"][at] = turn_of(found[0].predict, largest, times)
        told["turn_low"][at], told["turn_high"][at] = (
            np.quantile(draws, [0.025, 0.975]) if len(draws) else (np.nan,) * 2
        )
        told["turn_seen"][at] = len(draws)
        told["alike"][at] = len(near)
        told["spread"][at] = float(np.max(np.ptp([each.inner for each in near], axis=0)))
        told["early_test"][at] = explained(early.predict, table.kept(table.times > turn))
        told["early_turn"][at] = turn_of(early.predict, largest, times)
    dataset = xr.Dataset({f"fit_{name}": ("law", values) for name, values in told.items()}, {"law": texts(list(FORMS))})
    return dataset.assign(fit_true_turn=turn).assign_attrs(
        fit_size=int(largest), fit_draws=_DRAWS, fit_task=models.spectrum.name
    )


def _table(config: Config, models: Models) -> tuple[Table, int]:
    """Losses under noise of sizes an octave apart, at budgets up to twenty times the turn of large models."""
    count = len(models.sizes)
    sizes = np.unique(np.round(np.geomspace(4, count, max(int(np.log2(count / 4)) + 1, 2))).astype(int))
    kept = (models.times >= 1) & (models.times <= 20 / config.price)
    losses = (models.base + config.price * models.sensitive)[kept][:, sizes - 1]
    size, time = np.meshgrid(sizes.astype(float), models.times[kept])
    return Table(size.ravel(), time.ravel(), losses.ravel()), int(sizes[-1])


def _turns(fits: list[Fit], size: int, times: np.ndarray) -> list[float]:
    """Of resamples that see a turn: how many there are is told with their range.

    Losses on one grid without noise are no independent draws: the range says how far a fit hangs on single points.
    """
    found = [turn_of(each.predict, size, times) for each in fits]
    return [time for time in found if np.isfinite(time)]
