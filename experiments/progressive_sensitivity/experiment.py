"""Does sensitivity to noise on the weights grow along pre-training, until the loss under noise turns up?

    python -m experiments.progressive_sensitivity --out DIR

pre-trains from an aligned and from a Gaussian start, and at every budget takes the exact mean of the loss over Gaussian
noise on all weights, at several scales: the same for every layer, or relative to its root mean square entry. Beside
it: the inflection points, the closed form where there is one, the strengths that noise would leave best, and the same
means from a few samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import xarray as xr

from linsim.commands.config import PretrainingConfig, SyntheticConfig, chart_of, require_choices
from linsim.errors import require, require_axis, require_integer
from linsim.labels import attrs_of, texts
from linsim.progress.showing import Progress
from linsim.sweeping.along import part_of
from linsim.theory.inflection import locate
from linsim.theory.rises import rise_of

from ..command import command
from ..trajectory import Trajectory, pretrained
from .measuring import KINDS, Kind, increases, sampled, strengths_at
from .summary import summarise
from .theory import Curves, predict, refusal, thresholds

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


def run(config: Config, report: Progress | None = None) -> xr.Dataset:
    """Loss under noise and sensitivity over the budget from every start; `InvalidInput` for a bad field."""
    _check(config)
    parts, trajectories, reasons = [], {}, {}
    for number, start in enumerate(config.starts):
        chart = chart_of(config, network=_network(config, start))
        told = part_of(report, number, len(config.starts))
        trajectories[start] = trajectory = pretrained(chart, told)
        reasons[start] = refusal(config, trajectory)
        theory = None if reasons[start] else predict(config, trajectory)
        parts.append(_measured(config, trajectory, theory))
    dataset = xr.concat(parts, xr.Variable("start", texts(config.starts)), join="exact", coords="minimal")
    return _with_inputs(dataset, config, trajectories, reasons)


def _check(config: Config) -> None:
    require_choices(config)
    allowed = f"some of {', '.join(get_args(Start))}, each once"
    known = set(config.starts) <= set(get_args(Start)) and len(set(config.starts)) == len(config.starts)
    require(known and len(config.starts) > 0, "starts", config.starts, allowed)
    init = config.network.init
    require(init == "identity", "network.init", init, "its default; --starts has the initial weights")
    for kind in KINDS:
        require_axis(kind, getattr(config, kind), above=0)
    require_integer("samples", config.samples, at_least=0, at_most=100_000)
    require(config.samples != 1, "samples", 1, "0, or at least 2 for a standard error")


def _network(config: Config, start: Start) -> Any:
    return type(config.network)(**{**vars(config.network), "init": start})


def _measured(config: Config, trajectory: Trajectory, theory: dict[Kind, Curves] | None) -> xr.Dataset:
    """All that is known of one start."""
    covariance, budgets = trajectory.transfer.pretrain.input_covariance, trajectory.budgets
    square, curve = {"units": "squared output"}, ("pretrain_steps", "seed")
    learned, sigma = trajectory.learned(), trajectory.transfer.pretrain.strengths
    shares = np.divide(learned, sigma, out=np.zeros_like(learned), where=sigma > 0)
    half = rise_of(budgets, np.moveaxis(shares, 0, -1)).half
    variables: dict[str, Any] = {
        "pretrain_loss": (curve, trajectory.losses, {"long_name": "pre-training loss", **square}),
        "learned": ((*curve, "mode"), learned, {"long_name": "strength of a mode", "units": "output per input"}),
        "half_learned_steps": (("seed", "mode"), half, attrs_of("half_learned_steps")),
    }
    coords: dict[str, Any] = {
        "pretrain_steps": ("pretrain_steps", budgets, {"long_name": "pre-training budget", "units": "steps"}),
        "seed": ("seed", np.arange(learned.shape[1]), {"long_name": "seed of the initial weights"}),
        "mode": ("mode", 1 + np.arange(learned.shape[2])),
    }
    for kind in KINDS:
        axis, scales = f"{kind}_noise", np.asarray(getattr(config, kind))
        unit = "weight" if kind == "absolute" else "root mean square entry of the layer"
        coords[axis] = (axis, scales, {"long_name": f"scale of {kind} noise", "units": unit})
        rise = increases(trajectory.weights, covariance, scales, kind)
        loss = trajectory.losses[..., None] + rise
        turn = locate(budgets, loss)
        lanes, cell = (*curve, axis), ("seed", axis)
        stopped = strengths_at(budgets, learned, turn.steps)
        variables |= {
            f"stopped_strengths_{kind}": ((*cell, "mode"), stopped, {"long_name": "strengths at the inflection point"}),
            f"sensitivity_{kind}": (lanes, rise, {"long_name": f"rise of the loss under {kind} noise", **square}),
            f"loss_{kind}": (lanes, loss, {"long_name": f"loss under {kind} noise", **square}),
            f"inflection_{kind}": (cell, turn.steps, {"long_name": "inflection point", "units": "pre-training steps"}),
            f"harm_{kind}": (cell, turn.harm, {"long_name": "last loss under noise / least - 1", "units": "1"}),
        }
    if config.samples:
        places = np.unique(np.linspace(0, len(budgets) - 1, _SAMPLED).round().astype(int))
        scales_of = {kind: np.asarray(getattr(config, kind)) for kind in KINDS}
        coords["sampled_steps"] = ("sampled_steps", budgets[places], {"units": "steps"})
        for kind, (means, errors) in sampled(trajectory, places, scales_of, config.samples, config.seed).items():
            noted = {"long_name": f"loss under {kind} noise of seed 0, mean of {config.samples} draws", **square}
            axes = ("sampled_steps", f"{kind}_noise")
            variables[f"sampled_{kind}"] = (axes, means, noted)
            variables[f"sampled_{kind}_error"] = (axes, errors, {"long_name": "standard error"})
    return xr.Dataset(variables | _predicted(theory, learned.shape, config), coords)


def _predicted(theory: dict[Kind, Curves] | None, shape: tuple[int, ...], config: Config) -> dict[str, Any]:
    """The closed form, NaN where there is none, so that starts can stand side by side."""
    (budgets, seeds, _), variables = shape, {}
    for kind in KINDS:
        axis = f"{kind}_noise"
        lengths = {"pretrain_steps": budgets, "seed": seeds, axis: len(getattr(config, kind))}
        for name, axes in (
            ("loss", ("pretrain_steps", "seed", axis)),
            ("sensitivity", ("pretrain_steps", "seed", axis)),
            ("inflection", ("seed", axis)),
            ("harm", ("seed", axis)),
        ):
            values = np.full([lengths[each] for each in axes], np.nan)
            if theory is not None:
                values = theory[kind]._asdict()[name]
            variables[f"predicted_{name}_{kind}"] = (axes, values)
    return variables


def _with_inputs(
    dataset: xr.Dataset, config: Config, trajectories: dict[Start, Trajectory], reasons: dict[Start, str | None]
) -> xr.Dataset:
    """The task, its thresholds, the initial weights, and where all this comes from."""
    first = trajectories[config.starts[0]]
    task = first.transfer.pretrain
    dataset["strengths"] = ("mode", task.strengths, {"long_name": "sigma of the task", "units": "output per input"})
    dataset["pretrain_target"] = (("output", "input"), task.target, {"long_name": "A of the pre-training task"})
    dataset["input_covariance"] = (("input", "input_"), task.input_covariance, {"long_name": "S"})
    for start, trajectory in trajectories.items():
        for layer, weight in enumerate(trajectory.initial, start=1):
            ends = [f"unit_{layer}", f"unit_{layer - 1}"]
            dataset[f"initial_weights_{layer}_of_{start}"] = (("seed", *ends), weight)
    for name, (axes, values, said) in thresholds(config, task).items():
        dataset[name] = (axes, values, {"long_name": said})
    told = {f"{start}: {reason or 'gradient flow of aligned balanced layers'}" for start, reason in reasons.items()}
    solvers = [f"{start}: {each.attributes['solver_reason']}" for start, each in trajectories.items()]
    return dataset.assign_attrs(
        first.attributes
        | {
            "solver": ", ".join(each.attributes["solver"] for each in trajectories.values()),
            "solver_reason": "\n".join(solvers),
            "prediction": "\n".join(sorted(told)),
            "config": config.to_json(),
            "seed": config.seed,
            "pretrain_rate": config.pretrain.learning_rate,
            "samples": config.samples,
            "idealised_checkpoints": str(config.checkpoints == "idealised"),
        }
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    return command(Config, run, "progressive_sensitivity", __doc__, summarise, arguments, claims=CLAIMS)
