"""Losses after fine-tuning from stages of pre-training in closed form, and the limits that they tend to."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from linsim.commands.config import PhaseConfig
from linsim.dynamics.modes.deep_mode_flow import deep_mode_flow
from linsim.tasks import Transfer
from linsim.theory.rises import flow_time

_STABLE = 2.0  # learning rate x curvature beyond which descent oscillates instead of following the flow
_NODES = 64


def why_not(config: Any, kind: Literal["idealised", "real"] | str) -> str:
    """Why there is no closed form for one kind of checkpoints; empty where there is one."""
    if not _plain(config.finetune):
        return "it is for fine-tuning by plain descent at a constant rate on the population loss"
    if kind == "idealised":
        return ""
    if not _plain(config.pretrain):
        return "it is for pre-training by plain descent at a constant rate on the population loss"
    own = config.network.init == "aligned" or (config.network.init, config.task.bases) == ("identity", "identity")
    return "" if own else "it is for a start aligned with the task"


def predicted(
    config: Any,
    transfer: Transfer,
    order: Int[np.ndarray, " features"],
    budgets: Int[np.ndarray, " stages"],
    initial: tuple[Float[np.ndarray, "one _ _"], ...],
    learning_rates: Float[np.ndarray, " rates"],
    strengths: Float[np.ndarray, " strengths"],
) -> Float[np.ndarray, "two stages rates strengths"]:
    """Pre-training loss after fine-tuning from idealised and from real stages, in the coordinates of single modes.

    A mode starts fine-tuning at sigma_pre or 0 where the stage is idealised, otherwise where pre-training has taken it,
    and then obeys ds/dt = 2 L |s|^(2 - 2/L) (sigma_ft + lambda s_0 - (1 + lambda) s). NaN where `why_not` says so, and
    where a step is too large for descent to follow the flow.
    """
    sigma, goal = transfer.pretrain.strengths[order], transfer.finetune.strengths[order]
    stages = np.arange(len(order) + 1)[:, None]
    task = transfer.pretrain
    product = initial[0][0]
    for layer in initial[1:]:
        product = layer[0] @ product
    begun = np.einsum("of,oi,if->f", task.left[:, order], product, task.right[:, order])
    depth, power = config.depth, 2 - 2 / config.depth
    with jax.enable_x64(True):
        time = config.pretrain.learning_rate * budgets[:, None].astype(np.float64)
        real = np.asarray(deep_mode_flow(begun, sigma, 1.0, time, depth))
        starts = np.stack([np.where(np.arange(len(order)) < stages, sigma, 0.0), real])[:, :, None, None, :]
        penalty = strengths[:, None]
        flow = learning_rates[:, None, None] * config.finetune.steps
        ends = np.asarray(deep_mode_flow(starts, goal + penalty * starts, 1 + penalty, jnp.asarray(flow), depth))
    largest = np.maximum(np.abs(starts), np.abs(goal + penalty * starts) / (1 + penalty))
    step = learning_rates[:, None, None] * 2 * depth * (1 + penalty) * largest**power
    loss = np.sum((ends - sigma) ** 2, axis=-1)
    loss[(step > _STABLE).any(axis=-1)] = np.nan
    for index, kind in enumerate(("idealised", "real")):
        if why_not(config, kind):
            loss[index] = np.nan
    return loss


def limits(
    ratio: Float[np.ndarray, "..."], penalty: Float[np.ndarray, "..."]
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """Harm of a feature after fine-tuning to convergence, in units of sigma_pre^2, at any depth from two on.

    With it the mode ends at rho = max(0, (r + lambda) / (1 + lambda)) in units of sigma_pre; without it at 0 if it is
    exactly 0, and at max(0, r / (1 + lambda)) if it is merely small: then fine-tuning learns it anyway. So harm is
    (rho - 1)^2 - 1, positive iff r > 2 + lambda, and (rho - 1)^2 - (r / (1 + lambda) - 1)^2, positive iff
    r > 1 + lambda / 2 (for lambda > 0, r > 0). [as restated in Feng et al. 2026; the second re-derived]

    That rho stops at 0 holds for exactly balanced layers, w_1 = ... = w_L in a mode: they vanish together, and
    the gradient with them. Out of balance by any d = w_1 - w_2 one layer passes 0 first, at two layers after about
    ln(2 w / d) / (4 |r + lambda| sigma_pre), and the mode goes on to rho < 0. So in the end r < -lambda is harm too,
    (rho - 1)^2 - 1 with rho = (r + lambda) / (1 + lambda) < 0.

    Args:
      ratio: r = sigma_ft / sigma_pre.
      penalty: lambda >= 0; both broadcast.
    """
    reached = np.maximum((ratio + penalty) / (1 + penalty), 0.0)
    alone = np.maximum(ratio / (1 + penalty), 0.0)
    return (reached - 1) ** 2 - 1, (reached - 1) ** 2 - (alone - 1) ** 2


def boundary(depth: int) -> tuple[Float[np.ndarray, " pulls"], Float[np.ndarray, " pulls"]]:
    """Where a feature learned in full begins to be harm: pull rho > 2 and effort (1 + lambda) sigma^(2 - 2/L) T.

    Fine-tuning takes a mode from sigma to 2 sigma at effort (1 / 2L) integral over 1 < u < 2 of
    du / [u^(2 - 2/L) (rho - u)]: one curve for all modes, penalties and rates. At L = 2 it is
    ln[2 (rho - 1) / (rho - 2)] / (4 rho). [re-derived]
    """
    pull = 2 + np.geomspace(1e-6, 50, 200)
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    # In v = log(rho - u), where the integrand is smooth however near rho is to 2.
    low, high = np.log(pull - 2)[:, None], np.log(pull - 1)[:, None]
    u = pull[:, None] - np.exp(low + (high - low) * (nodes + 1) / 2)
    integral = np.sum(weights * u ** (2 / depth - 2), axis=-1) * (high - low)[:, 0] / 2
    return pull, integral / (2 * depth)


def own_time(
    depth: int, begun: Float[np.ndarray, "..."], finetune: Float[np.ndarray, "..."], penalty: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    """Flow time in which fine-tuning takes a feature from s_0 to half of its limit.

    That is s_inf = (sigma_ft + lambda s_0) / (1 + lambda). Infinite where it never does, for s_inf <= 0 or s_0 <= 0,
    and 0 where half is there. About ln(s_inf / s_0) / (4 sigma_ft) at two layers.

    Args:
      depth: L.
      begun: s_0, strength at the checkpoint.
      finetune: sigma_ft.
      penalty: lambda >= 0. All but depth broadcast.
    """
    limit = (finetune + penalty * begun) / (1 + penalty)
    start, limit = np.broadcast_arrays(begun, limit)
    learns = (start > 0) & (limit > 0)
    start, limit = np.where(learns, start, 0.5), np.where(learns, limit, 1.0)
    rises = start < limit / 2
    time = flow_time(depth, np.where(rises, start, limit / 4), limit / 2, limit) / (1 + penalty)
    return np.where(learns, np.where(rises, time, 0.0), np.inf)


def _plain(phase: PhaseConfig) -> bool:
    unset = PhaseConfig()
    same = ("momentum", "optimizer", "schedule", "batch_size", "weight_decay")
    return all(getattr(phase, name) == getattr(unset, name) for name in same)
