"""Does sensitivity to noise on the weights grow along pre-training, until the loss under noise turns up?

    python -m experiments.progressive_sensitivity --out DIR

pre-trains from an aligned and from a Gaussian start, and at every budget takes the exact mean of the loss over Gaussian
noise on all weights, at several scales: the same for every layer, or relative to its root mean square entry. Beside
it: the inflection points, the closed form where there is one, the strengths that noise would leave best, and the same
means from a few samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from scipy.interpolate import CubicSpline

from linsim.commands.building import build_pretraining
from linsim.commands.config import PretrainingConfig, SyntheticConfig, chart_of, require_choices, require_defaults
from linsim.commands.transfers import build_transfer
from linsim.errors import require, require_axis, require_integer
from linsim.labels import PLAIN, SQUARED, STEPS, STRENGTH, Label, label
from linsim.losses import population_loss
from linsim.measure import Measure
from linsim.measures.built_in import LEARNED, LEARNED_SHARE, rise_under_noise
from linsim.measures.perturbation import gaussian, perturbed_loss
from linsim.measures.sensitivity import relative_scales
from linsim.problem import Problem
from linsim.progress.showing import Progress
from linsim.sweeping.along import Ready, along
from linsim.sweeping.sweep import sweep
from linsim.theory.rises import rise_of
from linsim.theory.turns import locate

from ..experiment import Experiment
from .closed_form import CRITERIA, Costs, Curves, best_under_noise, closed_form, costs_of, modes_of
from .finding import KINDS, find, table

CLAIMS = (
    "progressive-sensitivity",
    "noise-inflection",
    "noise-turning-time",
    "useful-modes",
    "soft-threshold",
    "noise-orders",
)
Start = Literal["identity", "aligned", "balanced", "gaussian"]
_SAMPLED = 7
"""Budgets at which the means are also taken from samples."""


_CURVES = {
    "loss_{}": Label("loss under {} noise", SQUARED),
    "sensitivity_{}": Label("rise of the loss under {} noise", SQUARED),
    "inflection_{}": Label("inflection point under {} noise", STEPS),
    "harm_{}": Label("last loss under {} noise / least - 1", PLAIN),
}
_TOLD = {
    **_CURVES,
    **{f"predicted_{name}": Label(f"{said}, in closed form", units) for name, (said, units, _) in _CURVES.items()},
    "stopped_strengths_{}": Label("strengths at the inflection point under {} noise", STRENGTH),
    "sampled_{}": Label("loss under {} noise of seed 0, mean of some draws", SQUARED),
    "sampled_{}_error": Label("standard error of the mean under {} noise", SQUARED),
    "price_{}": Label("price of strength under {} noise once all is learned: G, or 2 q sum sigma", STRENGTH),
    "useful_{}": Label("n*, the best stage under {} noise"),
    "best_strengths_{}": Label("strengths of least loss under {} noise", STRENGTH),
    "best_loss_{}": Label("least loss under {} noise, less what no weights change", SQUARED),
    "constant_{}": Label("part of the loss under {} noise that no weights change", SQUARED),
}
LABELS = {
    **{
        name.format(kind): Label(said.format(kind), units) for kind in KINDS for name, (said, units, _) in _TOLD.items()
    },
    "pretrain_loss": Label("pre-training loss", SQUARED),
    "unstable": Label("pre-training beyond the edge of stability"),
    "sampled_steps": Label("budget at which samples are drawn", STEPS),
    "absolute_noise": Label("scale of absolute noise", "weight"),
    "relative_noise": Label("scale of relative noise", "root mean square entry of the layer"),
    "start": Label("initial weights"),
}


@dataclass(frozen=True)
class Config(SyntheticConfig, PretrainingConfig):
    """The task, pre-training, and the noise."""

    seeds: int = 5
    """Number of random initial weights, and of draws of everything else that is random."""
    depth: int = 2
    """Number of layers L; closed forms are for two."""
    checkpoints: Literal["real", "idealised"] = "real"
    """Noise on the trained weights, or on the rank-n truncation nearest to them."""
    starts: tuple[Start, ...] = ("identity", "gaussian")
    """Initial weights, each as --network.init has them."""
    absolute: tuple[float, ...] = (0.02, 0.03, 0.04, 0.055, 0.075, 0.09, 0.105, 0.12, 0.15, 0.18, 0.215, 0.25, 0.3)
    """Scales gamma of the noise on every weight, in units of the weights, increasing."""
    relative: tuple[float, ...] = (0.03, 0.05, 0.08, 0.12, 0.17, 0.23, 0.3, 0.4, 0.5, 0.6, 0.75, 1.0)
    """Scales of the noise in root mean square entries of the layer (no unit), increasing."""
    samples: int = 200
    """Draws of noise in each mean that is also taken by sampling; 0 takes none."""


def compute(config: Config, report: Progress | None = None) -> xr.Dataset:
    """Loss under noise and sensitivity over the budget from every start; `InvalidInput` for a bad field."""
    _check(config)
    task = build_transfer(chart_of(config)).pretrain
    charts = {start: chart_of(config, network=replace(config.network, init=start)) for start in config.starts}
    problems = {start: build_pretraining(chart, task) for start, chart in charts.items()}
    noise = rise_under_noise(config.absolute), rise_under_noise(config.relative, relative=True)
    costs = costs_of(config, problems[config.starts[0]])

    def prepare(start: Start) -> Ready:
        return partial(_measured, config, problems[start], [LEARNED, LEARNED_SHARE, *noise], costs)

    dataset = along({"start": config.starts}, prepare, report)
    best = best_under_noise(problems[config.starts[0]], costs)
    dataset = dataset.assign(best | {"strengths": ("mode", task.strengths)})
    dataset = dataset.assign_coords(mode=1 + np.arange(len(task.strengths)))
    return label(dataset.assign_attrs(samples=config.samples), LABELS)


def _check(config: Config) -> None:
    require_choices(config)
    allowed = f"some of {', '.join(get_args(Start))}, each once"
    known = set(config.starts) <= set(get_args(Start)) and len(set(config.starts)) == len(config.starts)
    require(known and len(config.starts) > 0, "starts", config.starts, allowed)
    require_defaults(config, ["network.init"], "its default; --starts has the initial weights")
    for kind in KINDS:
        require_axis(kind, getattr(config, kind), above=0)
    require_integer("samples", config.samples, at_least=0, at_most=100_000)
    require(config.samples != 1, "samples", 1, "0, or at least 2 for a standard error")


def _measured(
    config: Config, problem: Problem, measures: list[Measure], costs: Costs, report: Progress | None = None
) -> xr.Dataset:
    """All that is known of one start."""
    how: dict[str, Any] = {"solver": config.solver, "precision": config.precision}
    swept = sweep(problem, {}, measures, report=report, **how)
    losses, learned = swept["pretrain_loss_before"], swept["learned"]
    shares = swept["learned_share"].transpose("seed", "mode", "pretrain_steps")
    modes = modes_of(problem, costs)
    found: dict[str, Any] = {
        **{str(name): swept[name] for name in swept if str(name).startswith(("initial_weights", "pretrain_target"))},
        "input_covariance": swept["input_covariance"],
        "pretrain_loss": losses,
        "unstable": swept["unstable"],
        "learned": learned,
        "half_learned_steps": (("seed", "mode"), rise_of(problem.budgets, shares.values).half),
    }
    for kind in KINDS:
        rise = swept[f"rise_under_{kind}_noise"]
        loss = losses + rise
        turn = locate(problem.budgets, loss.values, criteria=CRITERIA, scale=problem.transfer.pretrain.zero_loss)
        simulated = Curves(loss.values, rise.values, turn.steps, turn.harm)
        nothing = Curves(*(np.nan * values for values in simulated))
        closed = nothing if isinstance(modes, str) else closed_form(modes, problem, costs[kind])
        for name, ours, theirs in zip(Curves._fields, simulated, closed, strict=True):
            axes = loss.dims[-ours.ndim :]
            found |= {f"{name}_{kind}": (axes, ours), f"predicted_{name}_{kind}": (axes, theirs)}
        stopped = _strengths_at(problem.budgets, learned.values, turn.steps)
        found[f"stopped_strengths_{kind}"] = ((*loss.dims[1:], "mode"), stopped)
    told = f"none: {modes}" if isinstance(modes, str) else "gradient flow of aligned balanced layers"
    sampled = _sampled(config, problem, how) if config.samples else {}
    return xr.Dataset(found | sampled, swept.coords, swept.attrs).assign_attrs(prediction=told)


def _strengths_at(
    budgets: Int[np.ndarray, " budgets"],
    learned: Float[np.ndarray, "budgets seeds modes"],
    steps: Float[np.ndarray, "seeds scales"],
) -> Float[np.ndarray, "seeds scales modes"]:
    """Strengths of all modes at given steps, between budgets by a cubic spline over log budget; NaN at NaN steps."""
    found = np.full((*steps.shape, learned.shape[2]), np.nan)
    log = np.log(budgets.astype(np.float64))
    for seed, of_seed in enumerate(steps):
        known = np.isfinite(of_seed)
        if len(log) > 1 and known.any() and np.isfinite(learned[:, seed]).all():
            found[seed, known] = CubicSpline(log, learned[:, seed])(np.log(of_seed[known]))
    return found


def _sampled(config: Config, problem: Problem, how: Mapping[str, Any]) -> dict[str, xr.DataArray]:
    """Mean and standard error of the loss under noise of seed 0 at some budgets."""
    places = np.unique(np.linspace(0, len(problem.budgets) - 1, _SAMPLED).round().astype(int))
    few = replace(problem, budgets=problem.budgets[places], initial=tuple(layer[:1] for layer in problem.initial))
    swept = sweep(few, {}, [_mean_of_draws(config, few.budgets)], rechecked=0, **how)
    told = swept["draws"].isel(seed=0, drop=True).rename(pretrain_steps="sampled_steps")
    found: dict[str, xr.DataArray] = {}
    first = 0
    for kind in KINDS:
        last = first + len(getattr(config, kind))
        mean, error = told.isel(scale=slice(first, last)).rename(scale=f"{kind}_noise").transpose("moment", ...)
        found |= {f"sampled_{kind}": mean, f"sampled_{kind}_error": error}
        first = last
    return found


def _mean_of_draws(config: Config, budgets: Int[np.ndarray, " budgets"]) -> Measure:
    """Mean and standard error at all scales, absolute ones first; every budget and scale has draws of its own."""
    scales = np.asarray([*config.absolute, *config.relative])
    relative = np.arange(len(scales)) >= len(config.absolute)

    def of(seen: Any) -> Any:
        def mean(scale: Any, is_relative: Any, key: Any) -> Any:
            gammas = jnp.where(is_relative, relative_scales(seen.weights, scale), scale)
            found = perturbed_loss(loss, seen.weights, key, gaussian(tuple(gammas)), config.samples)
            return jnp.stack([found.mean, found.error])

        loss = partial(population_loss, target=seen.pretrain.target, covariance=seen.pretrain.input_covariance)
        keys = jax.random.split(jax.random.key(config.seed), (len(budgets), len(scales)))
        return jax.vmap(mean)(scales, relative, keys[jnp.searchsorted(jnp.asarray(budgets), seen.steps)])

    return Measure("draws", dims=("scale", "moment"), at="checkpoint", of=of)


experiment = Experiment("progressive_sensitivity", __doc__, Config, compute, find, table, CLAIMS)
run, main = experiment.run, experiment.main
