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
from typing import Any

import jax
import numpy as np
import xarray as xr
from jaxtyping import Float

from linsim.commands.building import build_problem, learning_rates, strengths
from linsim.commands.config import (
    ChartConfig,
    FinetuneConfig,
    NetworkConfig,
    PretrainConfig,
    PretrainingConfig,
    ShiftConfig,
    SyntheticConfig,
    chart_of,
)
from linsim.commands.transfers import build_transfer
from linsim.dynamics.choosing import choose, flow_of
from linsim.dynamics.training import Session
from linsim.errors import require, require_axis
from linsim.losses import LOSS_CONVENTION
from linsim.problem import Problem
from linsim.progress.showing import Progress
from linsim.storage.provenance import provenance
from linsim.sweeping.axes import Axes
from linsim.sweeping.lanes import run_all
from linsim.tasks import Transfer

from ..command import command
from .matching import along_budgets, lazy_curves, lazy_harm, matched_each, matched_last
from .summary import summarise

CLAIMS = (
    "balanced-lambda",
    "conserved-balance",
    "lazy-limit",
    "lazy-harm",
    "chaining",
    "matrix-solution",
    "progressive-sensitivity",
)
_CURVE = ("pretrain_steps", "learning_rate", "seed")
_MATCHED = ("level", "seed", "pretrain_steps")
_SQUARE = "squared output"
_TOLD = {
    "pretrain_loss_before": ("pre-training loss before fine-tuning", _SQUARE),
    "pretrain_loss_after": ("pre-training loss after fine-tuning", _SQUARE),
    "finetune_loss_after": ("fine-tuning loss after fine-tuning", _SQUARE),
    "hessian_trace": ("tr H", "squared output / squared weight"),
    "harm": ("loss at the last budget / least - 1", "1"),
    "excess": ("loss at the last budget - least", _SQUARE),
    "lazy_harm": ("the most harm that linear dynamics allows", "1"),
    "rate_at_equal_loss": ("rate by which the last checkpoint's fine-tuning loss falls to level", "flow time per step"),
    "harm_at_equal_loss": ("harm at that rate", "1"),
    "curve_at_equal_loss": ("pre-training loss after fine-tuning at that rate", _SQUARE),
    "harm_at_tuned_rates": ("harm where every checkpoint has the rate that gives it the same fine-tuning loss", "1"),
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


def run(config: Config, report: Progress | None = None) -> xr.Dataset:
    """Losses, harm and sensitivity of every scale and balance; `InvalidInput` for a field outside its domain."""
    _check(config)
    transfer = build_transfer(chart_of(config))
    differs = _distance(transfer) > 0
    require(differs, "shift", "two tasks without a difference", "a fine-tuning task that differs")
    cells: dict[tuple[float, float], xr.Dataset] = {}
    todo = [(tau, balance) for tau in config.taus for balance in config.balances]
    attributes: dict[str, Any] = {}
    predictions: dict[str, None] = {}
    for number, (tau, balance) in enumerate(todo):
        network = replace(config.network, init="lambda_balanced", tau=tau, balance=balance)
        chart = chart_of(config, network=network)
        problem = build_problem(chart, transfer)
        cells[tau, balance], attributes = _cell(chart, problem, config)
        predictions[attributes["prediction"]] = None
        if report is not None:
            report(number + 1, len(todo))
    rows = [xr.concat([cells[tau, balance] for balance in config.balances], "balance") for tau in config.taus]
    dataset = xr.concat(rows, "tau").assign_coords(tau=list(config.taus), balance=list(config.balances))
    for name, task in (("pretrain", transfer.pretrain), ("finetune", transfer.finetune)):
        dataset[f"{name}_target"] = (("output", "input"), task.target, {"long_name": f"A of the {name} task"})
    dataset["tau"].attrs = {"long_name": "initial scale: singular values of P start at e^(-2 tau)"}
    dataset["balance"].attrs = {"long_name": "l of W_2'W_2 - W_1 W_1' = l I", "units": "squared weights"}
    dataset["level"].attrs = {"long_name": "fine-tuning loss of the last checkpoint / that before fine-tuning"}
    for name, (said, unit) in _TOLD.items():
        dataset[name].attrs = {"long_name": said, "units": unit}
    attributes |= {
        "prediction": "; ".join(predictions),
        "config": config.to_json(),
        "seed": config.seed,
        "precision": config.precision,
        "finetune_steps": config.finetune.steps,
        "pretrain_rate": config.pretrain.learning_rate,
        "loss_convention": LOSS_CONVENTION,
        **provenance(),
    }
    return dataset.assign_attrs(attributes)


def _check(config: Config) -> None:
    require(config.depth == 2, "depth", config.depth, "2: a balance is between two layers")
    require_axis("taus", config.taus)
    require_axis("balances", config.balances)
    require_axis("levels", config.levels, above=0)
    require(config.levels[-1] < 1, "levels", config.levels, "shares below 1")
    for name in ("init", "tau", "balance"):
        value = getattr(config.network, name)
        allowed = "its default: starts are balanced, by --taus and --balances"
        require(value == getattr(NetworkConfig(), name), f"network.{name}", value, allowed)
    given = config.finetune.regularizations
    require(given is not None and len(given) == 1, "finetune.regularizations", given, "one strength")
    plain = FinetuneConfig()
    for name in ("strengths", "lowest_strength", "highest_strength"):
        value = getattr(config.finetune, name)
        require(value == getattr(plain, name), f"finetune.{name}", value, "its default: one strength, regularizations")


def _cell(chart: ChartConfig, problem: Problem, config: Config) -> tuple[xr.Dataset, dict[str, Any]]:
    """One scale and balance."""
    rates, given = learning_rates(chart.finetune), strengths(chart.finetune)
    axes = Axes.of_chart(rates, given, chart.finetune.regularizer)
    tuned = axes.representative(problem)
    levels = np.asarray(config.levels)
    reached = levels * _distance(problem.transfer)
    with jax.enable_x64(True):
        choice = choose(tuned, config.solver)
        before, after, on_finetune, trace = _trained(problem, choice.solver, axes, chart.precision)
        flow = flow_of(tuned)
        closed = closed_finetune = np.full_like(after, np.nan)
        if not isinstance(flow, str):
            _, closed, closed_finetune, _ = _trained(problem, flow, axes, "float64")
    steps = problem.budgets
    linear = bool(given[0] == 0) and not isinstance(flow, str) and _linear(problem)
    nothing = np.full((len(levels), problem.seeds, len(steps)), np.nan)
    variables: dict[str, Any] = {
        "pretrain_loss_before": (("pretrain_steps", "seed"), before),
        "pretrain_loss_after": (_CURVE, after),
        "finetune_loss_after": (_CURVE, on_finetune),
        "predicted_pretrain_loss_after": (_CURVE, closed),
        "hessian_trace": (("pretrain_steps", "seed"), trace),
        "lazy_harm": ("seed", lazy_harm(problem) if linear else nothing[0, :, 0]),
        "lazy_curve_at_equal_loss": (_MATCHED, lazy_curves(problem, levels) if linear else nothing),
        "harm_at_tuned_rates": (_MATCHED[:2], matched_each(rates, after, on_finetune, reached)),
        "predicted_curve_at_equal_loss": (
            _MATCHED,
            matched_last(steps, rates, closed, closed_finetune, reached).curve,
        ),
    }
    for name, values in along_budgets(steps, after)._asdict().items():
        variables[name] = (_CURVE[1:], values)
    for name, values in matched_last(steps, rates, after, on_finetune, reached)._asdict().items():
        variables[f"{name}_at_equal_loss"] = (_MATCHED[: values.ndim], values)
    variables["initial_weights_1"] = (("seed", "hidden", "input"), problem.initial[0])
    variables["initial_weights_2"] = (("seed", "output", "hidden"), problem.initial[1])
    coords = {
        "pretrain_steps": ("pretrain_steps", steps, {"long_name": "pre-training budget", "units": "steps"}),
        "learning_rate": ("learning_rate", rates, {"long_name": "fine-tuning rate", "units": "flow time per step"}),
        "seed": np.arange(problem.seeds),
        "level": levels,
    }
    told = {"solver": choice.solver.name, "solver_reason": choice.reason}
    prediction = f"none: {flow}" if isinstance(flow, str) else flow.summary
    return xr.Dataset(variables, coords), {**told, "prediction": prediction}


def _distance(transfer: Transfer) -> float:
    """Fine-tuning loss of a network that has learned the pre-training task."""
    pretrain, finetune = transfer.pretrain, transfer.finetune
    shift = finetune.target - pretrain.target
    return float(np.sum((shift @ finetune.input_covariance) * shift))


def _linear(problem: Problem) -> bool:
    """Whether linear dynamics is the limit of large balance: whitened inputs, no decay."""
    tasks = problem.transfer.pretrain, problem.transfer.finetune
    whitened = all(np.array_equal(task.input_covariance, np.eye(task.inputs)) for task in tasks)
    return whitened and all(phase.weight_decay is None for phase in (problem.pretrain, problem.finetune))


def _trained(
    problem: Problem, solver: Any, axes: Axes, precision: str
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."], Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """Losses before and after fine-tuning on both tasks, over (budget, rate, seed), and tr H over (budget, seed)."""
    session = Session.open(problem, solver, np.dtype(precision).type)
    checkpoints = session.pretrain()
    finetuned = run_all(session, axes, checkpoints)
    after, on_finetune = (
        np.where(finetuned.diverged, np.inf, values)[:, :, 0]
        for values in (finetuned.pretrain_loss, finetuned.finetune_loss)
    )
    first, second = (np.asarray(layer, np.float64) for layer in session.weights(checkpoints.states))
    task = problem.transfer.pretrain
    inner = np.einsum("bshi,ij,bshj->bs", first, task.input_covariance, first)
    trace = 2 * (np.trace(task.input_covariance) * np.sum(second**2, axis=(-1, -2)) + task.outputs * inner)
    return np.asarray(checkpoints.losses, np.float64), after, on_finetune, trace


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    return command(Config, run, "rich_and_lazy", __doc__, summarise, arguments, claims=CLAIMS)
