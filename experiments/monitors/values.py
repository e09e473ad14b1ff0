"""What each monitor reads at every checkpoint of a pre-training run: exact population values, no estimates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float

from linsim.errors import require_number
from linsim.losses import Scalar, Weights, population_loss
from linsim.measure import Measure
from linsim.measures.built_in import FISHER_TRACE, GRADIENT_SQUARE, TOP_EIGENVALUE, rise_under_noise
from linsim.measures.curvature import empirical_fisher_trace
from linsim.measures.products import WeightsProduct, hessian_product
from linsim.problem import Problem

Values = Float[np.ndarray, "rates checkpoints"]


class Signal(NamedTuple):
    """How a monitor is read and when it rings."""

    label: str
    sees: str
    """pre-training, fine-tuning (its gradient or its runs as well) or nothing."""
    rule: str = "growth"
    """growth: `Alarm`; fixed: at one budget, in steps, for all; half: above 1/2; turn: see `rehearsal`; line: above
    `LINE`."""


LINE = 4.0
"""Of L_ft / L_base: the square of c = 2, beyond which learning a mode is harm; see `linsim.forecasting.loss_ratio`."""

MONITORS: Mapping[str, Signal] = {
    "fisher_trace": Signal("Fisher trace (= Hessian trace / 2)", "pre-training"),
    "empirical_fisher": Signal("empirical Fisher trace", "pre-training"),
    "gradient_square": Signal("squared mean gradient (snippet)", "pre-training"),
    "top_eigenvalue": Signal("top Hessian eigenvalue", "pre-training"),
    "absolute_noise": Signal("loss increase, absolute noise", "pre-training"),
    "relative_noise": Signal("loss increase, relative noise", "pre-training"),
    "inverse_loss": Signal("1 / base loss", "pre-training"),
    "finetuning_curvature": Signal("curvature along fine-tuning gradient", "fine-tuning"),
    "predicted_forgetting": Signal("predicted forgetting, 2nd order", "fine-tuning"),
    "loss_ratio": Signal("fine-tuning loss / base loss, untuned", "fine-tuning", "line"),
    "rehearsal": Signal("rehearsal: fine-tune and look", "fine-tuning", "turn"),
    "loss_halved": Signal("base loss halved", "nothing", "half"),
    "clock": Signal("clock: a fixed budget", "nothing", "fixed"),
}
"""tr H = tr Gauss-Newton = 2 tr Fisher at every checkpoint, so that the three are one line."""


def _empirical_fisher(seen: Any) -> Scalar:
    task = seen.pretrain
    return empirical_fisher_trace(seen.weights, task.target, task.input_covariance, task.label_noise)


def _bending(seen: Any) -> WeightsProduct:
    """v -> H v of the pre-training loss."""
    return hessian_product(seen.weights, seen.pretrain.target, seen.pretrain.input_covariance)


def _gradient(task: Any, weights: Weights) -> Weights:
    """dL/dW on a task."""
    found: Weights = jax.grad(population_loss)(weights, task.target, task.input_covariance)
    return found


def _overlap(one: Weights, other: Weights) -> Scalar:
    return jnp.sum(jnp.stack([jnp.sum(a * b) for a, b in zip(one, other, strict=True)]))


def _along_finetuning(seen: Any) -> Any:
    """(g_pre . g, |g|^2, g^T H g)."""
    base, tuned = (_gradient(task, seen.weights) for task in (seen.pretrain, seen.finetune))
    return jnp.stack([_overlap(base, tuned), _overlap(tuned, tuned), _overlap(tuned, _bending(seen)(tuned))])


_EXACT = (
    *(FISHER_TRACE, GRADIENT_SQUARE, TOP_EIGENVALUE),
    Measure("empirical_fisher", at="checkpoint", of=_empirical_fisher, up_to_rotation=True),
    Measure("untuned_loss", at="checkpoint", of=lambda seen: seen.finetune_loss),
    Measure("along_finetuning", dims=("part",), at="checkpoint", of=_along_finetuning, up_to_rotation=True),
)


def measures(noise: float, relative_noise: float) -> tuple[Measure, ...]:
    """What `read_monitors` needs of a chart, at every checkpoint; make them once for all charts.

    Args:
      noise: gamma of the rise of the loss under noise, E L(W + gamma Z) - L(W).
      relative_noise: gamma in units of the rms weight of each layer.

    Raises:
      InvalidInput: noise that is not above 0.
    """
    require_number("noise", noise, above=0)
    require_number("relative_noise", relative_noise, above=0)
    return (*_EXACT, rise_under_noise([noise]), rise_under_noise([relative_noise], relative=True))


def read_monitors(problem: Problem, chart: xr.Dataset) -> dict[str, Values]:
    """Each monitor over the checkpoints; those that know no fine-tuning rate have a rate axis of length 1.

    * finetuning_curvature: g^T H g / |g|^2 with g the gradient of the fine-tuning loss, H of the pre-training loss
    * predicted_forgetting: -T g_pre . g + (T^2 / 2) g^T H g with T = rate x steps, which takes all steps along g
    * loss_ratio: L_ft / L_base of the checkpoint, before fine-tuning
    * rehearsal: forgetting after fine-tuning at the middle rate without penalty, measured
    * loss_halved: 1 - L / L of the first checkpoint

    Args:
      problem: the transfer.
      chart: its chart with `measures`; only the run of seed 0 is used.
    """
    run = chart.isel(seed=0)
    loss = np.maximum(run["pretrain_loss_before"].values, chart.attrs["rounding_floor"])
    slope, square, bend = run["along_finetuning"].transpose("part", ...).values
    times = run["learning_rate"].values[:, None] * problem.finetune_steps
    values = {
        **{name: run[name].values for name in ("fisher_trace", "empirical_fisher", "gradient_square")},
        "top_eigenvalue": run["top_eigenvalue"].values,
        **{name: run[f"rise_under_{name}"].values[:, 0] for name in ("absolute_noise", "relative_noise")},
        "inverse_loss": 1 / loss,
        "finetuning_curvature": np.divide(bend, square, out=np.zeros_like(bend), where=square > 0),
        "predicted_forgetting": -times * slope + times**2 / 2 * bend,
        "loss_ratio": run["untuned_loss"].values / loss,
        "rehearsal": rehearsal_of(chart)["forgetting"].values,
        "loss_halved": 1 - loss / loss[0],
        "clock": problem.budgets.astype(np.float64),
    }
    return {name: np.atleast_2d(values[name]) for name in MONITORS}


def rehearsal_of(chart: xr.Dataset) -> xr.Dataset:
    """The curve of the rehearsal: seed 0, middle rate, the smallest strength."""
    return chart.isel(seed=0, learning_rate=chart.sizes["learning_rate"] // 2, regularization=0)
