"""The transformer read as a network that is trained by cross-entropy: which of that theory's effects are there.

Margins that grow have to be unlearned, so that the fine-tuning loss itself turns where fine-tuning is short and the
rate fixed; sensitivity peaks, and noise does not make the loss turn. Losses are on text held out, above an entropy that
is known, and no text is seen twice: what turns here is no overfitting. See `linsim.theory.objectives.logistic`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from ..curves import harm_of
from ..words import counted, in_percent
from .result import NOISE_OF_TRAINING

_BUDGET, _RATE = "pretrain_steps", "learning_rate"
_NOISES = ("rise_under_absolute_noise", "rise_under_relative_noise")


class Effects(NamedTuple):
    """What harm is there to which loss, and what is left of sensitivity."""

    finetune: xr.DataArray
    """Harm to the fine-tuning loss at each rate, over (rate, seed)."""
    tuned: xr.DataArray
    """The same where every budget has the rate that is best for it, over seeds."""
    fisher_left: xr.DataArray
    """Fisher trace at the last budget over its largest, over seeds."""
    fisher_falls: int
    """Seeds in which that is below 1 by more than two standard errors."""
    noise: xr.DataArray
    """Harm to the pre-training loss under noise without fine-tuning, over (scale, seed) of both kinds of noise."""

    @property
    def numbers(self) -> dict[str, float]:
        """Medians over seeds: the worst rate's, a tuned rate's, and what is left; and how much noise makes a turn."""
        worst = self.finetune.median("seed").max(_RATE)
        return {
            "finetune_harm": float(worst),
            "finetune_harm_tuned": float(self.tuned.median()),
            "fisher_left": float(self.fisher_left.median()),
            "fisher_falls": self.fisher_falls,
            "noise_turns": int((self.noise > NOISE_OF_TRAINING).sum()),
        }


def effects(dataset: xr.Dataset) -> Effects:
    """Of a result; NaN where runs diverged."""
    losses = dataset["finetune_loss_after"].where(~dataset["diverged"] & np.isfinite(dataset["finetune_loss_after"]))
    fisher, error = (dataset[name].sel(measure="fisher", drop=True) for name in ("monitor", "monitor_error"))
    peak = fisher.fillna(-np.inf).argmax(_BUDGET)
    fall = fisher.isel({_BUDGET: peak}) - fisher.isel({_BUDGET: -1})
    sure = np.hypot(error.isel({_BUDGET: peak}), error.isel({_BUDGET: -1}))
    under = [
        (dataset["pretrain_loss_before"] + dataset[name]).rename({name.removeprefix("rise_under_"): "scale"})
        for name in _NOISES
    ]
    return Effects(
        finetune=harm_of(losses).transpose(_RATE, "seed"),
        tuned=harm_of(losses.min(_RATE)),
        fisher_left=(fisher.isel({_BUDGET: -1}) / fisher.max(_BUDGET)).drop_vars(_BUDGET),
        fisher_falls=int((fall > 2 * sure).sum()),
        noise=xr.concat([harm_of(each.drop_vars("scale")) for each in under], "scale").transpose("scale", "seed"),
    )


def in_words(found: Effects) -> str:
    """With intervals over seeds."""
    rates = ", ".join(_percent(found.finetune.sel({_RATE: rate})) for rate in found.finetune[_RATE].values)
    seeds, turns = found.fisher_left.sizes["seed"], int((found.noise > NOISE_OF_TRAINING).sum())
    noise = f"{turns} of {found.noise.size} curves under noise turn" if turns else "under noise no loss turns"
    return (
        f"As of cross-entropy: harm to the fine-tuning loss itself, in % by rate, is {rates}, and "
        f"{_percent(found.tuned)} with the rate tuned for each budget; the Fisher trace ends at "
        f"{_percent(found.fisher_left)} % of its largest, beyond two standard errors in {found.fisher_falls} of "
        f"{counted(seeds, 'seed')}; {noise}."
    )


def _percent(values: xr.DataArray) -> str:
    """Median and interval, to a tenth; harm within the noise of training is none."""
    return in_percent(values.where(~(values <= NOISE_OF_TRAINING), 0.0))
