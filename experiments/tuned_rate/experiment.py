"""Does more pre-training still harm when the fine-tuning rate is tuned for every checkpoint, or training stops early?

    python -m experiments.tuned_rate --out DIR

pre-trains once, fine-tunes from every budget on samples of tasks nearer and farther (--factors), and on their
populations, at every rate, and chooses the rate, or the step to stop at, by the loss on fresh examples of the
fine-tuning task. Compared are the fixed rate, the tuned one, early stopping, and the smallest rate that reaches a given
fine-tuning loss: which curves of pre-training loss after fine-tuning turn up, and how the tuned rate moves.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from linsim.commands.building import build_problem, learning_rates
from linsim.commands.cli import Resumable
from linsim.commands.config import FinetuneConfig, PretrainConfig, ShiftConfig, ShiftedConfig, require_choices
from linsim.commands.transfers import build_transfer
from linsim.dynamics.choosing import choose, flow_of
from linsim.errors import require, require_axis, require_integer, require_number
from linsim.labels import PLAIN, SQUARED, STEPS, STRENGTH, Label, label, texts
from linsim.measures.curvature import top_curvature
from linsim.problem import Problem
from linsim.progress.showing import Progress
from linsim.sweeping.along import part_of
from linsim.tasks import Transfer
from linsim.theory.held_out import late_time
from linsim.theory.turns import rounding_floor

from ..experiment import Experiment
from .finding import TURN, find, table
from .losses import SampleConfig, Tuning
from .rules import RULES, outcomes

CLAIMS = ("weakest-mode-decides", "matched-loss-no-u", "tuned-time", "relearned-no-u")
_USED = {"steps", "rates", "lowest_rate", "highest_rate", "learning_rates"}

_OF_RULES = {
    "rule_pretrain_loss": Label("pre-training loss after fine-tuning", SQUARED),
    "rule_heldout_loss": Label("held-out fine-tuning loss", SQUARED),
    "rule_time": Label("rate x steps that the rule chooses", "flow time"),
    "rule_harm": Label("loss at the largest budget / smallest loss - 1", PLAIN),
    "rule_inflection_steps": Label("inflection point", STEPS),
    "fixed_harm": Label("harm at a fixed rate", PLAIN),
    "tuned_harm": Label("harm with the rate tuned up to a largest one", PLAIN),
}
LABELS = {
    "trained_on": Label("what fine-tuning descends on"),
    "factor": Label("factor on the weaker singular values", PLAIN),
    "rule": Label("how the rate, or the step to stop at, is chosen"),
    "stop_steps": Label("steps until a stop", STEPS),
    "heldout_loss_after": Label("held-out loss after fine-tuning", SQUARED),
    "stopped_pretrain_loss_after": Label("pre-training loss at a stop", SQUARED),
    "stopped_heldout_loss_after": Label("held-out loss at a stop", SQUARED),
    **_OF_RULES,
    **{f"predicted_{name}": label._replace(long_name=f"{label.long_name}, flow") for name, label in _OF_RULES.items()},
    "late_time": Label("tuned rate x steps at last, to first order in the noise", "flow time"),
    "sample_target": Label("A of the task that a sample poses", STRENGTH),
    "sample_input_covariance": Label("S of a sample", "squared input"),
}


@dataclass(frozen=True)
class Config(ShiftedConfig):
    """Tasks near and far, the rates to choose from, and the sample to choose by."""

    dim: int | None = 8
    """Inputs and outputs of the synthetic tasks."""
    seeds: int = 5
    """Number of samples, and of random initial weights where the start is random."""
    pretrain: PretrainConfig = field(default_factory=lambda: PretrainConfig(budgets=30))
    finetune: FinetuneConfig = field(
        default_factory=lambda: FinetuneConfig(steps=100, rates=32, lowest_rate=3e-5, highest_rate=0.25, strengths=1)
    )
    factors: tuple[float, ...] = (1.5, 2.0, 3.0, 4.0)
    """Tasks: factors on the singular values from --shift.rescale-from on, increasing."""
    largest_rate: float = 0.01
    """Largest rate that the tuner may use, in flow time per step; also the fixed rate, and that of early stopping."""
    sample: SampleConfig = field(default_factory=SampleConfig)


def compute(config: Config, report: Progress | None = None) -> xr.Dataset:
    """Losses after fine-tuning at every rate and at every stop, and what each rule makes of them.

    Raises:
      InvalidInput: any field outside its domain, or one that this experiment does not use.
    """
    tuning = _tuning(config)
    problem, farthest = tuning.problem, tuning.samples[config.factors[-1]]
    posed = replace(problem, transfer=farthest[0])
    choice = choose(posed, config.solver)
    flow = "the result itself is the flow" if choice.solver.name == "flow" else flow_of(posed)
    parts = 1 if isinstance(flow, str) else 2
    chosen = partial(
        outcomes,
        steps=problem.finetune_steps,
        largest=tuning.largest,
        zero_loss=np.asarray([to.finetune.zero_loss for to in tuning.tasks.values()]),
        pretrain_zero_loss=problem.transfer.pretrain.zero_loss,
        floor=rounding_floor(problem.transfer.pretrain.zero_loss, np.dtype(np.float64)),
    )
    losses = tuning.losses(choice.solver.name, part_of(report, 0, parts))  # type: ignore[arg-type] # the name of one
    dataset = losses.assign(chosen(losses)).assign(_inputs(config, tuning)).assign_coords(rule=texts(RULES))
    stable = dataset["stable_rate"]
    dataset["unstable"] = stable < dataset["learning_rate"]
    if not isinstance(flow, str):
        closed = tuning.losses("flow", part_of(report, 1, parts))
        # The flow knows nothing of the edge of stability.
        closed = closed.map(lambda loss: loss.where(loss.coords.get("learning_rate", tuning.largest) <= stable))
        dataset = dataset.assign({f"predicted_{name}": values for name, values in chosen(closed).items()})
    dataset.attrs |= {
        "solver_reason": choice.reason,
        "prediction": f"none: {flow}" if isinstance(flow, str) else flow.summary,
        "largest_rate": tuning.largest,
        "turning_harm": TURN,
    }
    return label(dataset, LABELS)


def _tuning(config: Config) -> Tuning:
    """Tasks, samples of them, and what is fine-tuned; `InvalidInput` for a field outside its domain."""
    require_choices(config)
    require_axis("factors", config.factors)
    require_number("factors", max(map(abs, config.factors)), at_most=1e6)
    require(config.task.data is None, "task.data", str(config.task.data), "nothing: the tasks come from --factors")
    scaled = config.shift.rescale_factor
    require(scaled == ShiftConfig().rescale_factor, "shift.rescale_factor", scaled, "nothing: it comes from --factors")
    require_number("sample.noise", config.sample.noise, at_least=0, at_most=1e6)
    require_number("largest_rate", config.largest_rate, above=0, at_most=1e6)
    require_integer("finetune.steps", config.finetune.steps, at_least=1, at_most=10**7)
    plain = FinetuneConfig(strengths=1)
    for name in (each.name for each in fields(FinetuneConfig) if each.name not in _USED):
        value, only = getattr(config.finetune, name), getattr(plain, name)
        require(value == only, f"finetune.{name}", value, f"{only}: here the rate alone is tuned")
    tasks = {
        factor: build_transfer(replace(config, shift=replace(config.shift, rescale_factor=factor)))
        for factor in config.factors
    }
    problem = build_problem(config, tasks[config.factors[-1]])
    drawn, inputs = config.sample.inputs == "normal", problem.widths[0]
    require_integer("sample.size", config.sample.size, at_least=1, at_most=10**6 if drawn else 10**9)
    enough = drawn or config.sample.size >= inputs
    require(enough, "sample.size", config.sample.size, f">= {inputs}, or --sample.inputs normal")
    samples = {
        factor: [config.sample.of(to, (config.seed, seed, 1)) for seed in range(config.seeds)]
        for factor, to in tasks.items()
    }
    rates = np.union1d(learning_rates(config.finetune), [config.largest_rate])
    return Tuning(problem, tasks, samples, rates, config.largest_rate, config.precision)


def _inputs(config: Config, tuning: Tuning) -> dict[str, Any]:
    """The fine-tuning tasks that all follows from, and what theory says of them alone."""
    tasks, samples, matrix = [*tuning.tasks.values()], [*tuning.samples.values()], ("output", "input")
    tops = [float(top_curvature(to.finetune.strengths, tuning.problem.depth)) for to in tasks]
    with np.errstate(divide="ignore"):
        stable = 2 / np.asarray(tops)
    return {
        "stable_rate": ("factor", stable),
        "late_time": ("factor", [_late_time(config, tuning.problem, to) for to in tasks]),
        "finetune_target": (("factor", *matrix), np.asarray([to.finetune.target for to in tasks])),
        "sample_target": (
            ("factor", "seed", *matrix),
            np.asarray([[to.finetune.target for to in drawn] for drawn in samples]),
        ),
        "sample_input_covariance": (
            ("seed", "input", "input_"),
            np.asarray([to.finetune.input_covariance for to in samples[0]]),
        ),
    }


def _late_time(config: Config, problem: Problem, transfer: Transfer) -> float:
    """Where the tuned rate x steps is expected at last; NaN where an assumption of `late_time` does not hold."""
    pretrain, finetune, variance = transfer.pretrain, transfer.finetune, config.sample.variance
    alike = all(np.array_equal(getattr(pretrain, name), getattr(finetune, name)) for name in ("left", "right"))
    plain = pretrain.whitened and finetune.whitened and pretrain.inputs == pretrain.outputs
    learned = bool((pretrain.strengths > 0).all() and (finetune.strengths > 0).all())
    if not (problem.depth == 2 and variance > 0 and alike and plain and learned):
        return np.nan
    first, second = problem.initial
    balance = np.swapaxes(second, 1, 2) @ second - first @ np.swapaxes(first, 1, 2)
    if np.abs(balance).max() >= 1e-12:
        return np.nan
    return late_time(pretrain.strengths, finetune.strengths, variance, config.largest_rate * config.finetune.steps)


experiment = Experiment("tuned_rate", __doc__, Config, compute, find, table, CLAIMS, flags=Resumable)
run, main = experiment.run, experiment.main
