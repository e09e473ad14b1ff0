"""Does more pre-training still harm when the fine-tuning rate is tuned for every checkpoint, or training stops early?

    python -m experiments.tuned_rate --out DIR

pre-trains once, fine-tunes from every budget on samples of tasks nearer and farther (--factors), and on their
populations, at every rate, and chooses the rate, or the step to stop at, by the loss on fresh examples of the
fine-tuning task. Compared are the fixed rate, the tuned one, early stopping, and the smallest rate that reaches a given
fine-tuning loss: which curves of pre-training loss after fine-tuning turn up, and how the tuned rate moves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from linsim.commands.building import build_problem, learning_rates
from linsim.commands.config import ChartConfig, FinetuneConfig, PretrainConfig, ShiftConfig, require_choices
from linsim.commands.transfers import build_transfer
from linsim.dynamics.choosing import choose, flow_of
from linsim.dynamics.runs import Checkpoints
from linsim.dynamics.solver import Solver, State, Target
from linsim.dynamics.training import DIVERGED, Session
from linsim.errors import require, require_axis, require_integer, require_number
from linsim.losses import LOSS_CONVENTION
from linsim.problem import Problem
from linsim.progress.showing import Progress
from linsim.storage.provenance import provenance
from linsim.sweeping.along import part_of
from linsim.tasks import LinearTask, Transfer

from ..command import command
from .result import collect
from .rules import Curves, Tuned
from .summary import summarise
from .theory import late_times

CLAIMS = (
    "weakest-mode-decides",
    "matched-loss-no-u",
    "tuned-time",
    "relearned-no-u",
)
_STOPS = 25  # at which early stopping looks
_USED = {"steps", "rates", "lowest_rate", "highest_rate", "learning_rates"}


@dataclass(frozen=True)
class SampleConfig:
    """The examples of the fine-tuning task, drawn anew for every seed and the same for all tasks."""

    size: int = 100
    """n, number of examples; orthogonal inputs need as many as the task has."""
    noise: float = 1.0
    """Standard deviation of the noise on each output of an example."""
    inputs: Literal["orthogonal", "normal"] = "orthogonal"
    """Second moment of the sample's inputs: exactly that of the task, or that of n normal vectors."""


@dataclass(frozen=True)
class Config(ChartConfig):
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


def run(config: Config, report: Progress | None = None) -> xr.Dataset:
    """Losses after fine-tuning at every rate and at every stop, and what each rule makes of them.

    Raises:
      InvalidInput: any field outside its domain, or one that this experiment does not use.
    """
    _validate(config)
    rates = np.union1d(learning_rates(config.finetune), [config.largest_rate])
    with jax.enable_x64(True):
        transfers = [_transfer(config, factor) for factor in config.factors]
        problem = build_problem(config, transfers[-1])
        enough = config.sample.inputs == "normal" or config.sample.size >= transfers[0].finetune.inputs
        require(
            enough, "sample.size", config.sample.size, f">= {transfers[0].finetune.inputs}, or --sample.inputs normal"
        )
        samples = [[_sampled(config, transfer, seed) for seed in range(config.seeds)] for transfer in transfers]
        drawn = replace(problem, transfer=samples[-1][0]) if config.sample.noise > 0 else problem
        choice = choose(drawn, config.solver)
        flow = "the result itself is the flow" if choice.solver.name == "flow" else flow_of(drawn)
        halves = 1 if isinstance(flow, str) else 2
        tuned, before = _tune(config, problem, transfers, samples, rates, choice.solver, part_of(report, 0, halves))
        predicted = None
        if not isinstance(flow, str):
            predicted, _ = _tune(config, problem, transfers, samples, rates, flow, part_of(report, 1, halves))
    allowed = int(np.searchsorted(rates, config.largest_rate)) + 1
    dataset = collect(problem, config.factors, transfers, samples, allowed, tuned, predicted)
    variance = config.sample.noise**2 / config.sample.size if config.sample.inputs == "orthogonal" else 0.0
    late = late_times(problem, transfers, variance, config.largest_rate * config.finetune.steps)
    dataset["late_time"] = "factor", late, {"long_name": "tuned rate x steps at last, to first order in the noise"}
    dataset["pretrain_loss_before"] = ("pretrain_steps", "seed"), before, {"units": "squared output"}
    dataset.attrs |= {
        "config": config.to_json(),
        "finetune_steps": config.finetune.steps,
        "largest_rate": config.largest_rate,
        "solver": choice.solver.name,
        "solver_reason": choice.reason,
        "prediction": f"none: {flow}" if isinstance(flow, str) else flow.summary,
        "precision": config.precision,
        "seed": config.seed,
        "loss_convention": LOSS_CONVENTION,
        **provenance(),
    }
    return dataset


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    return command(Config, run, "tuned_rate", __doc__, summarise, arguments, claims=CLAIMS)


def _validate(config: Config) -> None:
    require_choices(config)
    require_axis("factors", config.factors)
    require(config.task.data is None, "task.data", str(config.task.data), "nothing: the tasks come from --factors")
    scaled = config.shift.rescale_factor
    require(scaled == ShiftConfig().rescale_factor, "shift.rescale_factor", scaled, "nothing: it comes from --factors")
    require_integer("sample.size", config.sample.size, at_least=1, at_most=10**9)
    require_number("sample.noise", config.sample.noise, at_least=0, at_most=1e6)
    if config.sample.inputs == "normal":
        require_integer("sample.size", config.sample.size, at_least=1, at_most=10**6)
    require_number("largest_rate", config.largest_rate, above=0, at_most=1e6)
    require_integer("finetune.steps", config.finetune.steps, at_least=1, at_most=10**7)
    plain = FinetuneConfig(strengths=1)
    for each in fields(FinetuneConfig):
        value = getattr(config.finetune, each.name)
        if each.name not in _USED:
            require(
                value == getattr(plain, each.name),
                f"finetune.{each.name}",
                value,
                f"{getattr(plain, each.name)}: here the rate alone is tuned",
            )


def _transfer(config: Config, factor: float) -> Transfer:
    require_number("factors", factor, at_least=-1e6, at_most=1e6)
    return build_transfer(replace(config, shift=replace(config.shift, rescale_factor=factor)))


def _sampled(config: Config, transfer: Transfer, seed: int) -> Transfer:
    """The transfer to the task that a sample poses: A + noise / sqrt(n), or the regression on normal inputs."""
    task, size, noise = transfer.finetune, config.sample.size, config.sample.noise
    rng = np.random.default_rng([config.seed, seed, 1])
    if config.sample.inputs == "orthogonal":
        error = noise / np.sqrt(size) * rng.standard_normal(task.target.shape)
        fitted = LinearTask.from_target(task.target + error, task.input_covariance, noise) if noise > 0 else task
        return Transfer(transfer.pretrain, fitted)
    factor = np.linalg.cholesky(task.input_covariance + 1e-12 * np.eye(task.inputs))
    X = rng.standard_normal((size, task.inputs)) @ factor.T
    Y = X @ task.target.T + noise * rng.standard_normal((size, task.outputs))
    return Transfer(transfer.pretrain, LinearTask.from_data(X, Y))


def _tune(
    config: Config,
    problem: Problem,
    transfers: Sequence[Transfer],
    samples: Sequence[Sequence[Transfer]],
    rates: Float[np.ndarray, " rates"],
    solver: Solver,
    report: Progress | None,
) -> tuple[dict[str, list[Tuned]], Float[np.ndarray, "budgets seeds"]]:
    """Fine-tune from every checkpoint on the population and on the sample of its seed.

    Returns:
      What is reached, for "population" and "sample" in the order of the factors, and the losses before.
    """
    dtype = np.dtype(config.precision).type
    checkpoints = Session.open(problem, solver, dtype).pretrain()
    alike = all(bool(np.all(layer == layer[:1])) for layer in problem.initial)
    total = len(transfers) * config.seeds
    tuned: dict[str, list[Tuned]] = {"population": [], "sample": []}
    for number, (transfer, drawn) in enumerate(zip(transfers, samples, strict=True)):
        parts: dict[str, list[Tuned]] = {name: [] for name in tuned}
        for seed, sample in enumerate(drawn):
            one = slice(seed, seed + 1)
            alone = replace(problem, transfer=sample, initial=tuple(layer[one] for layer in problem.initial))
            states, losses = jax.tree.map(lambda leaf, one=one: leaf[:, one], tuple(checkpoints[:2]))
            start = Checkpoints(states, losses, jnp.zeros(1, "int32"))
            parts["sample"].append(_tune_on(config, alone, transfer, start, rates, solver, dtype))
            if seed == 0 or not alike:  # seeds with the same start do the same on the population
                alone = replace(alone, transfer=transfer)
                parts["population"].append(_tune_on(config, alone, transfer, start, rates, solver, dtype))
            if report is not None:
                report(number * config.seeds + seed + 1, total)
        parts["population"] = (parts["population"] * config.seeds)[: config.seeds]
        for name, each in parts.items():
            tuned[name].append(_join(each))
    return tuned, np.asarray(checkpoints.losses, np.float64)


def _tune_on(
    config: Config,
    problem: Problem,
    truth: Transfer,
    checkpoints: Checkpoints,
    rates: Float[np.ndarray, " rates"],
    solver: Solver,
    dtype: Any,
) -> Tuned:
    """Every rate for all steps, and the largest one allowed from stop to stop, which continues one run."""
    session = Session.open(problem, solver, dtype)
    encoded = solver.encode(replace(problem, transfer=truth), dtype)
    targets = encoded.pretrain, encoded.finetune
    ceiling = DIVERGED * session.scale

    def curves(times: np.ndarray, states: Iterator[State]) -> Curves:
        measured = np.asarray([jax.block_until_ready(_losses(solver, state, targets)) for state in states], np.float64)
        losses = np.moveaxis(measured, 0, -1)
        ok = np.isfinite(losses).all(axis=0) & (losses.max(axis=0) <= ceiling)
        return Curves(times, *(np.where(ok, each, np.inf) for each in losses))

    at_rates = (session.tuned(checkpoints, "product_penalty", float(rate), 0.0) for rate in rates)
    stops = np.unique(np.round(np.geomspace(1, config.finetune.steps, _STOPS)).astype(int))
    return Tuned(
        curves(rates * config.finetune.steps, at_rates),
        curves(config.largest_rate * stops, _stopped(session, checkpoints, config.largest_rate, stops)),
        stops,
    )


def _stopped(session: Session, checkpoints: Checkpoints, rate: float, stops: np.ndarray) -> Iterator[State]:
    """States at the stops of one run: plain descent goes on from where it stands."""
    for steps in np.diff(stops, prepend=0):
        part = replace(session, problem=replace(session.problem, finetune_steps=int(steps)))
        states = part.tuned(checkpoints, "product_penalty", rate, 0.0)
        checkpoints = checkpoints._replace(states=states)
        yield states


@partial(jax.jit, static_argnames="solver")
def _losses(solver: Solver, states: State, targets: tuple[Target, Target]) -> Array:
    """Pre-training and held-out loss of states with leading axes (budget, seed)."""
    each = jax.vmap(jax.vmap(solver.loss, in_axes=(0, None)), in_axes=(0, None))
    return jnp.stack([each(states, target) for target in targets])


def _join(parts: Sequence[Tuned]) -> Tuned:
    """Seeds along their axis."""

    def join(curves: Sequence[Curves]) -> Curves:
        losses = (np.concatenate(each, axis=1) for each in list(zip(*curves, strict=True))[1:])
        return Curves(curves[0].times, *losses)

    rates, stops = (join(each) for each in list(zip(*parts, strict=True))[:2])
    return Tuned(rates, stops, parts[0].stopped_steps)
