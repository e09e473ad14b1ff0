"""Which monitor tells the truth? Alarms during pre-training, held against the budgets at which it turns harmful.

    python -m experiments.monitors --out DIR

draws a family of transfers, reads every monitor at every checkpoint exactly, fine-tunes from all of them at several
rates and strengths, and scores: lead or lag of the alarm against the inflection point, false alarms, misses, and the
rank correlation of the monitor with actual forgetting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from linsim.errors import require_integer, require_number
from linsim.labels import label
from linsim.losses import LOSS_CONVENTION
from linsim.monitoring.alarm import Alarm
from linsim.progress.showing import Progress
from linsim.storage.provenance import provenance

from ..experiment import Experiment
from .account import Account, account
from .dataset import LABELS, recorded
from .family import FINETUNE_STEPS, LANES, family
from .finding import find, table
from .judging import judge
from .values import measures

THRESHOLDS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Config:
    """The family, the monitors and their alarm."""

    transfers: int = 245
    """Number of transfers; 245 is every lane with every spectrum and shift once."""
    lanes: tuple[str, ...] = tuple(LANES)
    """Kinds of networks: depth, and whether tasks and start share their bases."""
    seed: int = 0
    """Seed of the family and of the bootstrap."""
    harmful: float = 0.01
    """Harm above which a cell counts as harmful: loss after fine-tuning at the last budget / least loss - 1."""
    noise: float = 0.1
    """gamma of the loss increase under absolute noise, in units of the weights."""
    relative_noise: float = 0.1
    """gamma of the loss increase under relative noise, in units of each layer's rms weight."""
    resamples: int = 400
    """Bootstrap resamples of the transfers."""
    alarm: Alarm = field(default_factory=Alarm)


def compute(config: Config, report: Progress | None = None) -> xr.Dataset:
    """Accounts and scores of a configuration; `InvalidInput` for a field outside its domain."""
    require_number("harmful", config.harmful, above=0)
    require_integer("resamples", config.resamples, at_least=1, at_most=100_000)
    thresholds = np.unique([*THRESHOLDS, config.alarm.growth])
    measured = measures(config.noise, config.relative_noise)
    members, accounts = family(config.transfers, config.seed, config.lanes), []
    for member in members:
        accounts.append(account(member, config.alarm, thresholds, config.harmful, measured))
        if report is not None:
            report(len(accounts), len(members))
    records = recorded(members, accounts, thresholds, config.alarm.needs)
    judged = records.merge(judge(records, config.resamples, config.seed), combine_attrs="drop_conflicts")
    return label(judged, LABELS).assign_attrs(
        threshold=config.alarm.growth,
        harmful=config.harmful,
        distrust=_distrust(accounts),
        loss_convention=LOSS_CONVENTION,
        finetune_steps=FINETUNE_STEPS,
        **provenance(),
    )


def _distrust(accounts: Sequence[Account]) -> str:
    """What the first says whose own check fails, and of how many transfers it does; empty where all is well."""
    doubts = [f"transfer = {number}: {each.distrust}" for number, each in enumerate(accounts) if each.distrust]
    count = f"The charts of {len(doubts)} of {len(accounts)} transfers fail their own check"
    return f"{count}; {doubts[0]}" if doubts else ""


experiment = Experiment("monitors", __doc__, Config, compute, find, table)
run, main = experiment.run, experiment.main
