"""What closed forms say of depth and width: learning times, curves, the start of wide layers."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from linsim.dynamics.modes.deep_mode_flow import deep_mode_flow
from linsim.dynamics.modes.mode_flow import rise_time
from linsim.precision import in_float64
from linsim.tasks import Transfer
from linsim.theory.rises import flow_time
from linsim.theory.stages import misaligned, stage_losses


def strengths_of(transfer: Transfer) -> tuple[Float[np.ndarray, " modes"], Float[np.ndarray, " modes"], bool]:
    """sigma_pre and u_i^T A_ft v_i, from the strongest mode on, and whether these are all of the fine-tuning task."""
    task, target, modes = transfer.pretrain, transfer.finetune.target, len(transfer.pretrain.strengths)
    order = np.argsort(-task.strengths, kind="stable")
    left, right = task.left[:, :modes], task.right[:, :modes]
    finetune = task.along_modes(target)
    shared = bool(np.allclose((left * finetune) @ right.T, target, rtol=0, atol=1e-10 * float(np.max(np.abs(target)))))
    return task.strengths[order], finetune[order], shared


@in_float64
def predicted_losses(
    modes: tuple[Float[np.ndarray, " modes"], Float[np.ndarray, " modes"]],
    start: Float[np.ndarray, " modes"],
    depth: int,
    times: tuple[Float[np.ndarray, " budgets"], Float[np.ndarray, " rates"]],
    penalty: float,
) -> Float[np.ndarray, "budgets rates"]:
    """Pre-training loss after fine-tuning, both phases by the flow of L aligned balanced layers. [1.4, 3.6]

    Args:
      modes: sigma_pre and sigma_ft.
      start: s(0).
      depth: L.
      times: flow times of pre-training, and of fine-tuning at every rate.
      penalty: lambda.
    """
    pretrain, finetune = modes
    shape = (len(times[0]), len(times[1]), len(pretrain))
    learning, tuning = np.broadcast_to(times[0][:, None, None], shape), np.broadcast_to(times[1][:, None], shape)
    # Both calls have one shape, and compile once.
    at, goal = np.broadcast_to(start, shape), np.broadcast_to(pretrain, shape)
    learned = np.asarray(deep_mode_flow(at, goal, np.ones(shape), learning, depth))
    drive, stiffness = finetune + penalty * learned, np.full(shape, 1 + penalty)
    tuned = np.asarray(deep_mode_flow(learned, drive, stiffness, tuning, depth))
    return np.asarray(np.sum((tuned - pretrain) ** 2, axis=-1))


@in_float64
def converged_harm(
    pretrain: Float[np.ndarray, " modes"], finetune: Float[np.ndarray, " modes"], penalty: float, width: int
) -> float:
    """Harm over the idealised stages that a hidden layer of this width can reach, fine-tuned to convergence. [3.4]"""
    losses = np.asarray(stage_losses(pretrain, finetune, penalty))[: width + 1]
    least = float(losses.min())
    return float(losses[-1]) / least - 1 if least > 0 else (np.inf if losses[-1] > 0 else 0.0)


def gaussian_start(modes: int, width: int, inputs: int, tau: float) -> Float[np.ndarray, " modes"]:
    """The balanced start that grows as mode i of two Gaussian layers does on average, s_0 = E|W_1 v + W_2^T u|^2 / 4.

    Early on d(W_1 v)/dt = 2 sigma W_2^T u and the reverse, so that s grows as e^(4 sigma t) |c|^2 from
    c = (W_1 v + W_2^T u) / 2 with E|c|^2 = e^(-2 tau) (h / d_in + 1) / 4 for entries from N(0, e^(-2 tau) / fan_in).
    The i - 1 stronger modes occupy as many of the h hidden directions: a share 1 - (i - 1) / h is left. [re-derived]
    """
    free = np.maximum(1 - np.arange(modes) / width, 0.0)
    return np.exp(-2 * tau) * (width / inputs + 1) / 4 * free


def learning_steps(
    pretrain: Float[np.ndarray, " modes"], start: float, depth: int, rate: float
) -> Float[np.ndarray, " modes"]:
    """Budgets by which every mode is half learned; NaN for modes that are not above twice the start. [1.4]"""
    risen = pretrain > 2 * start
    goal = np.where(risen, pretrain, 4 * start)
    return np.where(risen, flow_time(depth, np.full(len(goal), start), goal / 2, goal) / rate, np.nan)


@in_float64
def half_learned(
    pretrain: Float[np.ndarray, " modes"], start: Float[np.ndarray, " modes"], rate: float
) -> Float[np.ndarray, " modes"]:
    """The same for two layers with a start for every mode; NaN where there is none."""
    known = start > 0
    times = np.asarray(rise_time(pretrain, np.where(known, start, 1e-9)))
    return np.where(known, times / rate, np.nan)


def first_misaligned(pretrain: np.ndarray, finetune: np.ndarray, penalty: float) -> int | None:
    """Position of the strongest mode with sigma_ft > (2 + lambda) sigma_pre, if there is one. [3.4]"""
    found = np.flatnonzero((pretrain > 0) & np.asarray(misaligned(pretrain, finetune, penalty)))
    return int(found[0]) if len(found) else None
