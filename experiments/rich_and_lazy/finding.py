"""What laziness does to the U at equal fine-tuning loss, and how."""

from __future__ import annotations

import numpy as np
import xarray as xr

from linsim.finding import Finding
from linsim.labels import counted_harm

from ..words import NEGLIGIBLE, distrust, diverged, percent, rechecked, undecided

_ROWS = 5  # of the table


def find(dataset: xr.Dataset) -> Finding:
    """Whether the laziest network has less harm than the richest, of the smallest initial scale; medians over seeds.

    Not seen where it has as much or more; nobody can tell where the richest, the control, has none, or where one of
    them does not come to equal fine-tuning loss at these rates.
    """
    details, trust = (*_beside(dataset), *diverged(dataset), *rechecked(dataset)), distrust(dataset)
    if (nothing := undecided(dataset, details=details, trust=trust)) is not None:
        return nothing
    cells = _at_equal_loss(dataset)
    sizes, harm, least, last = (
        cells[name].values for name in ("size", *(f"{name}_at_equal_loss" for name in ("harm", "least", "last")))
    )
    rich, lazy = int(np.argmin(sizes)), int(np.argmax(sizes))
    if sizes[rich] == sizes[lazy]:
        return Finding("It takes two balances to tell rich networks from lazy ones", "cannot tell", {}, details, trust)
    if not np.isfinite(harm[[rich, lazy]]).all():
        sentence = "Rich and lazy networks cannot be compared: not all reach the fine-tuning loss at these rates"
        return Finding(sentence, "cannot tell", {}, details, trust)
    most = int(np.nanargmax(harm))
    numbers = {
        **{"harm_rich": harm[rich], "harm_most": harm[most], "harm_lazy": harm[lazy]},
        **{"balance_most": sizes[most], "balance_lazy": sizes[lazy]},
        **{"least_most": least[most], "least_lazy": least[lazy], "last_most": last[most], "last_lazy": last[lazy]},
    }
    at_most = f"{percent(harm[most])} at most, at |l| = {sizes[most]:g}"
    ends = f"harm is {at_most}, and {percent(harm[lazy])} at {sizes[lazy]:g}"
    if harm[rich] <= NEGLIGIBLE:
        sentence = f"The rich network shows no U that laziness could flatten: {ends}"
        return Finding(sentence, "cannot tell", numbers, details, trust)
    if harm[lazy] >= harm[rich]:
        sentence = f"Laziness does not flatten the U at equal fine-tuning loss: {ends}"
        return Finding(sentence, "not seen", numbers, details, trust)
    does = "removes" if harm[lazy] <= NEGLIGIBLE else "flattens"
    spoiled = least[lazy] - least[most] > abs(last[lazy] - last[most])
    how = "by spoiling the best checkpoint rather than saving the last" if spoiled else "at equal fine-tuning loss"
    return Finding(f"Laziness {does} the U {how}: {ends}", "seen", numbers, details, trust)


def table(dataset: xr.Dataset) -> list[str]:
    """Harm and what it is made of over some balances at the smallest scale, medians over seeds."""
    cells = _at_equal_loss(dataset)
    columns = {
        "harm at the worst rate": counted_harm(cells).max("learning_rate"),
        "at equal loss: harm": cells["harm_at_equal_loss"],
        "loss at the best budget": cells["least_at_equal_loss"],
        "at the last": cells["last_at_equal_loss"],
        "tr H grows by": cells["hessian_trace"][-1] / cells["hessian_trace"][0],
    }
    lines = [f"{f'l, tau = {float(cells.tau):g}':>10} | {' | '.join(columns)}"]
    for at in np.unique(np.linspace(0, cells.sizes["balance"] - 1, _ROWS).round().astype(int)):
        told = (_cell(float(values[at])).rjust(len(name)) for name, values in columns.items())
        lines.append(f"{float(cells['balance'][at]):>10g} | {' | '.join(told)}")
    return lines


def _cell(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3g}"


def _at_equal_loss(dataset: xr.Dataset) -> xr.Dataset:
    """Medians over seeds at the smallest scale and the middle level, with |l| as `size`."""
    cells = dataset.isel(tau=-1, level=dataset.sizes["level"] // 2).median("seed")
    return cells.assign_coords(size=abs(cells["balance"])).transpose("pretrain_steps", ..., "balance")


def _beside(dataset: xr.Dataset) -> list[str]:
    """What equal loss is, what else flattens the U, and whether the closed form agrees."""
    cells = _at_equal_loss(dataset)
    lines = [f"Equal loss: one rate, by which the last checkpoint's falls to {float(cells['level']):g} of what it was."]
    laziest = float(cells["lazy_harm"][int(np.argmax(cells["size"].values))])
    if np.isfinite(laziest):
        lines[0] += f" The limit of large |l|: harm {percent(laziest)}."
    tuned = dataset["harm_at_tuned_rates"].median("seed").values
    others = []
    if np.isfinite(tuned).any():
        others.append(f"{percent(np.nanmax(tuned))} at most where every budget has a rate of its own")
    harm = cells["harm_at_equal_loss"].values
    if dataset.sizes["tau"] > 1 and np.isfinite(harm).any():
        most = int(np.nanargmax(harm))
        large = dataset["harm_at_equal_loss"].isel(tau=0, balance=most).sel(level=cells["level"]).median("seed")
        others.append(
            f"{percent(float(large))} from tau = {float(large['tau']):g} at |l| = {cells['size'].values[most]:g}"
        )
    if others:
        lines.append(f"Harm at equal loss is {', and '.join(others)}.")
    return [*lines, _agreement(dataset)]


def _agreement(dataset: xr.Dataset) -> str:
    """Of the simulation with the closed form."""
    ratio = abs(dataset["pretrain_loss_after"] / dataset["predicted_pretrain_loss_after"] - 1).values
    off = ratio[np.isfinite(ratio)]
    if not off.size:
        return f"Closed form: {dataset.attrs['prediction']}."
    middle, rare = percent(np.median(off)), percent(np.quantile(off, 0.99))
    return f"Closed form and simulation differ by {middle} (median) and {rare} (99 %) of the loss."
