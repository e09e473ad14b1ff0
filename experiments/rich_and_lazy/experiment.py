"""Does lazy pre-training avoid catastrophic overtraining?

    python -m experiments.rich_and_lazy --out DIR

sweeps the balance l of two layers in random bases (0 is rich, large |l| lazy) and their initial scale e^(-2 tau), and
fine-tunes from every budget at several fixed rates, by descent and in closed form. The layers that are pre-trained are
fine-tuned, and l is conserved: a lazy network is also fine-tuned lazily, which is faster. So harm is told at equal
rates and at the rates that bring the last checkpoint to equal fine-tuning loss, and beside it the losses themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import xarray as xr

from linsim.commands.building import build_problem, charted, learning_rates, strengths
from linsim.commands.config import (
    ChartConfig,
    FinetuneConfig,
    PretrainConfig,
    PretrainingConfig,
    ShiftConfig,
    SyntheticConfig,
    chart_of,
    require_defaults,
)
from linsim.commands.transfers import build_transfer
from linsim.dynamics.choosing import flow_of
from linsim.errors import require, require_axis
from linsim.labels import PLAIN, RATE, SQUARED, Label, label
from linsim.measures.built_in import HESSIAN_TRACE
from linsim.progress.showing import Progress
from linsim.sweeping.along import Ready, along
from linsim.tasks import Transfer
from linsim.theory.laziness import LazyLimit

from ..experiment import Experiment
from .finding import find, table
from .matching import at_equal_loss, at_tuned_rates, losses_of, parts_of

CLAIMS = (
    *("balanced-lambda", "conserved-balance", "lazy-limit", "lazy-harm", "chaining", "matrix-solution"),
    "progressive-sensitivity",
)
LABELS = {
    "tau": Label("initial scale: singular values of P start at e^(-2 tau)"),
    "level": Label("fine-tuning loss of the last checkpoint / that before fine-tuning", PLAIN),
    "excess": Label("loss at the last budget - least", SQUARED),
    "least": Label("least loss over the budgets", SQUARED),
    "last": Label("loss at the last budget", SQUARED),
    "curve_at_equal_loss": Label("pre-training loss after fine-tuning at one rate, to equal loss", SQUARED),
    "predicted_curve_at_equal_loss": Label("the same in closed form", SQUARED),
    "lazy_curve_at_equal_loss": Label("the same by linear dynamics", SQUARED),
    "rate_at_equal_loss": Label("rate by which the last checkpoint's fine-tuning loss falls to level", RATE),
    "inflection_steps_at_equal_loss": Label("inflection point at that rate", "steps"),
    "harm_at_equal_loss": Label("harm at that rate", PLAIN),
    "excess_at_equal_loss": Label("loss at the last budget - least, at that rate", SQUARED),
    "least_at_equal_loss": Label("least loss over the budgets at that rate", SQUARED),
    "last_at_equal_loss": Label("loss at the last budget at that rate", SQUARED),
    "lazy_harm": Label("the most harm that linear dynamics allows", PLAIN),
    "harm_at_tuned_rates": Label("harm where every checkpoint has the rate that gives it the same loss", PLAIN),
}


@dataclass(frozen=True)
class Config(SyntheticConfig, PretrainingConfig):
    """Tasks, starts and both phases."""

    dim: int | None = 8
    """Inputs and outputs of the synthetic tasks."""
    seeds: int = 5
    """Number of random bases of the initial weights."""
    depth: int = 2
    """Number of layers: two, which have one balance."""
    taus: tuple[float, ...] = (0.0, 1.0, 4.0)
    """Initial scales: P starts with all singular values at e^(-2 tau); increasing."""
    balances: tuple[float, ...] = (-3.0, 0.0, 0.01, 0.1, 0.3, 1.0, 3.0, 10.0)
    """l of W_2'W_2 - W_1 W_1' = l I, in squared weights; increasing."""
    levels: tuple[float, ...] = (0.05, 0.2, 0.5)
    """Equal fine-tuning losses of the last checkpoint, in shares of what it has before; increasing."""
    pretrain: PretrainConfig = field(default_factory=lambda: PretrainConfig(steps=4000, first=1, budgets=40))
    shift: ShiftConfig = field(default_factory=ShiftConfig)
    finetune: FinetuneConfig = field(
        default_factory=lambda: FinetuneConfig(
            steps=100, rates=14, lowest_rate=1e-4, highest_rate=4e-2, regularizations=(0.0,)
        )
    )


def compute(config: Config, report: Progress | None = None) -> xr.Dataset:
    """Losses, harm and sensitivity of every scale and balance; `InvalidInput` for a field outside its domain."""
    _check(config)
    transfer = build_transfer(chart_of(config))
    require(transfer.learned_loss > 0, "shift", "two tasks without a difference", "a fine-tuning task that differs")

    def prepare(tau: float, balance: float) -> Ready:
        network = replace(config.network, init="lambda_balanced", tau=tau, balance=balance)
        return _place(chart_of(config, network=network), transfer, config.levels)

    return label(along({"tau": config.taus, "balance": config.balances}, prepare, report), LABELS)


def _check(config: Config) -> None:
    require(config.depth == 2, "depth", config.depth, "2: a balance is between two layers")
    require_axis("taus", config.taus)
    require_axis("balances", config.balances)
    require_axis("levels", config.levels, above=0)
    require(config.levels[-1] < 1, "levels", config.levels, "shares below 1")
    starts = ("network.init", "network.tau", "network.balance")
    require_defaults(config, starts, "its default: starts are balanced, by --taus and --balances")
    given = config.finetune.regularizations
    require(given is not None and len(given) == 1, "finetune.regularizations", given, "one strength")
    unused = ("finetune.strengths", "finetune.lowest_strength", "finetune.highest_strength")
    require_defaults(config, unused, "its default: one strength, regularizations")


def _place(config: ChartConfig, transfer: Transfer, levels: Sequence[float]) -> Ready:
    """One scale and balance, ready but for `report=`: descent, the same in closed form, and the limit of large |l|."""
    rates, given = learning_rates(config.finetune), strengths(config.finetune)
    problem = build_problem(config, transfer).tuned(rates[-1], config.finetune.regularizer, given[-1])
    flow, lazy = flow_of(problem), LazyLimit.of(problem)
    descent = charted(config, transfer, measures=[HESSIAN_TRACE], predicted=False)
    closed = charted(replace(config, solver="flow", precision="float64"), transfer, predicted=False)
    shares = np.asarray(levels)
    reached = xr.DataArray(shares * transfer.learned_loss, {"level": shares}, ("level",))

    def compute(report: Progress | None = None) -> xr.Dataset:
        chart = descent(report=report)
        losses = losses_of(chart)
        predicted = xr.full_like(losses, np.nan) if isinstance(flow, str) else losses_of(closed())
        matched = at_equal_loss(losses, reached)
        found = chart.isel(regularization=0, drop=True).drop_vars(["predicted_inflection_steps", "excess"])
        found = found.merge(parts_of(losses["pretrain_loss_after"]))
        found = found.assign({f"{name}_at_equal_loss": values for name, values in matched.items()})
        found["harm_at_tuned_rates"] = at_tuned_rates(losses, reached)
        found["predicted_pretrain_loss_after"] = predicted["pretrain_loss_after"]
        found["predicted_curve_at_equal_loss"] = at_equal_loss(predicted, reached)["curve"]
        curve, nothing = matched["curve"].dims, np.full(matched["curve"].shape, np.nan)
        bound, linear = nothing[0, :, 0], nothing
        if isinstance(lazy, LazyLimit):
            bound, linear = lazy.harm, lazy.losses(np.sqrt(shares))
        found["lazy_harm"], found["lazy_curve_at_equal_loss"] = ("seed", bound), (curve, linear)
        return found.assign_attrs(prediction=f"none: {flow}" if isinstance(flow, str) else flow.summary)

    return compute


experiment = Experiment("rich_and_lazy", __doc__, Config, compute, find, table, CLAIMS)
run, main = experiment.run, experiment.main
