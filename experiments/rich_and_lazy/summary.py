"""The conclusion on rich and lazy pre-training, computed from its result."""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr

from ..words import wrapped

_NOTHING = 0.01
"""Harm below which a U is told as gone."""


def summarise(dataset: xr.Dataset) -> str:
    """A table over the balance at the smallest scale, then what follows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all-NaN slices are an answer here
        middle = dataset.median("seed")
    level = float(dataset["level"][dataset.sizes["level"] // 2])
    small = middle.isel(tau=-1).sel(level=level)
    lines = [
        f"P starts at e^(-2 tau), tau = {float(small['tau']):g}; medians of {dataset.sizes['seed']} seeds. Equal loss: "
        f"one rate, by which the last checkpoint's fine-tuning loss falls to {level:g} of what it was.",
        f"{'':>8} | {'harm, worst':>11} | {'at equal loss: harm':>19}{'excess':>8}{'least':>8}{'last':>8} | "
        f"{'tuned rates: harm':>17} | {'growth of tr H':>14}",
        *(_row(small.sel(balance=balance)) for balance in dataset["balance"].values),
    ]
    lines += _verdict(dataset, middle, level)
    lost = np.isinf(dataset["pretrain_loss_after"].values)
    if lost.any():
        lines.append(f"{lost.sum()} of {lost.size} fine-tuning runs diverged.")
    return "\n".join(wrapped(line) if "|  " not in line else line for line in lines)


def _row(cell: xr.Dataset) -> str:
    matched = [float(cell[f"{name}_at_equal_loss"]) for name in ("harm", "excess", "least", "last")]
    worst = float(cell["harm"].max())
    if bool((~np.isfinite(cell["pretrain_loss_after"])).all()):
        return f"l ={float(cell['balance']):>5g} | diverged"
    growth = float(cell["hessian_trace"][-1] / cell["hessian_trace"][0])
    told = f"{matched[0]:>19.2f}{matched[1]:>8.2f}{matched[2]:>8.2f}{matched[3]:>8.2f}"
    tuned = float(cell["harm_at_tuned_rates"])
    return f"l ={float(cell['balance']):>5g} | {worst:>11.2f} | {told} | {tuned:>17.3f} | {growth:>13.3g}x"


def _verdict(dataset: xr.Dataset, middle: xr.Dataset, level: float) -> list[str]:
    """Does laziness remove the U, how, and what else does."""
    balances = np.abs(dataset["balance"].values)
    rich, lazy = int(np.argmin(balances)), int(np.argmax(balances))
    small = middle.isel(tau=-1).sel(level=level)
    if np.isinf(dataset["pretrain_loss_after"].values).all():
        return ["No conclusion: all fine-tuning runs diverged."]
    if dataset.sizes["pretrain_steps"] < 3:
        return ["No conclusion: too few budgets to tell; it takes three."]
    if balances[rich] == balances[lazy]:
        return ["No conclusion: it takes two balances of different size."]
    harm, least, last = (small[f"{name}_at_equal_loss"].values for name in ("harm", "least", "last"))
    bound = float(small["lazy_harm"][lazy])
    most = int(np.argmax(np.where(np.isfinite(harm), harm, -np.inf)))
    top = f"{harm[most]:.2g} at most, at |l| = {balances[most]:g}"
    ends = f"{top}, and {harm[lazy]:.2g} at |l| = {balances[lazy]:g}"
    lines = []
    if not (np.isfinite(harm[rich]) and np.isfinite(harm[lazy])):
        lines.append("No conclusion on laziness: not all networks reach the fine-tuning loss at these rates.")
    elif harm[rich] <= _NOTHING:
        lines.append(
            f"The rich network shows no U: its harm at equal fine-tuning loss is {harm[rich]:.2g} (of all, {top})."
        )
    elif harm[lazy] < harm[rich]:
        gone = "removes the U" if harm[lazy] <= _NOTHING else "flattens the U and does not remove it"
        allowed = f"; linear dynamics allow {bound:.2g} at most" if np.isfinite(bound) else ""
        lines.append(f"At equal fine-tuning loss laziness {gone}: harm is {ends}{allowed}.")
        how = (
            "It takes away the good early checkpoints rather than protect the last"
            if abs(last[lazy] - last[most]) < abs(least[lazy] - least[most])
            else "It changes the last checkpoint more than the best"
        )
        spread = f"the least loss goes from {least[most]:.2g} to {least[lazy]:.2g}, the last from {last[most]:.2g} to"
        lines.append(f"{how}: from |l| = {balances[most]:g} to {balances[lazy]:g} {spread} {last[lazy]:.2g}.")
    else:
        lines.append(f"Laziness does NOT reduce harm at equal fine-tuning loss: it is {ends}.")
    tuned = middle["harm_at_tuned_rates"].values
    if np.isfinite(tuned).any():
        cells = f"over {np.isfinite(tuned).sum()} of {tuned.size} cells"
        lines.append(
            f"At a rate of its own for every budget, to equal loss, harm is {np.nanmax(tuned):.2g} at most {cells}."
        )
    if dataset.sizes["tau"] > 1:
        large = middle.isel(tau=0).sel(level=level)["harm_at_equal_loss"].values[most]
        ends = f"{harm[most]:.2g} at tau = {float(dataset['tau'][-1]):g}, {large:.2g} at {float(dataset['tau'][0]):g}"
        lines.append(f"With the initial scale, at |l| = {balances[most]:g}, harm at equal loss is {ends}.")
    return [*lines, *_agreement(dataset)]


def _agreement(dataset: xr.Dataset) -> list[str]:
    """Of the simulation with the closed form."""
    simulated, closed = dataset["pretrain_loss_after"], dataset["predicted_pretrain_loss_after"]
    ratio = np.abs((simulated / closed).values - 1)
    off = ratio[np.isfinite(ratio)]
    if not off.size:
        return [f"Closed form: {dataset.attrs['prediction']}."]
    rare = np.quantile(off, 0.99)
    return [f"Closed form and simulation differ by {np.median(off):.2g} (median) and {rare:.2g} (99 %) of the loss."]
