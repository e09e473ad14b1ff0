"""Which learned modes fine-tuning turns into harm: limits, thresholds and critical times, one mode at a time.

Both tasks share their singular vectors, inputs are whitened, and fine-tuning descends
||P - A_ft||^2 + lambda ||P - P_0||^2 from a checkpoint P_0 with the strengths s_0. [Feng et al. 2026, C.11-12]
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from linsim.dynamics.modes.mode_flow import Values, mode_flow
from linsim.errors import LARGEST, numbers, require, require_together
from linsim.losses import require_squared_error
from linsim.precision import in_float64
from linsim.tasks import LinearTask
from linsim.theory.rises import flow_time


@in_float64
def tuned_limit(checkpoint: Values, finetune: Values, penalty: Values = 0.0) -> Float[Array, "..."]:
    """s_inf = (sigma_ft + lambda s_0) / (1 + lambda), where fine-tuning to convergence takes a mode of the same sign.

    A mode of balanced layers does not cross 0: its limit is 0 where s_inf is 0 or of the other sign, and where s_0 = 0.
    [As restated in Feng et al. 2026; signs re-derived]

    Args:
      checkpoint: s_0, the mode's strength at the checkpoint.
      finetune: sigma_ft, of either sign.
      penalty: lambda >= 0. All broadcast.

    Example:
      >>> float(ls.tuned_limit(checkpoint=1.0, finetune=4.0, penalty=0.5))
      3.0
    """
    _require_mode(penalty, checkpoint=checkpoint, finetune=finetune)
    checkpoint, finetune, penalty = (jnp.asarray(value) for value in (checkpoint, finetune, penalty))
    limit = (finetune + penalty * checkpoint) / (1 + penalty)
    return jnp.where(jnp.sign(limit) * jnp.sign(checkpoint) > 0, limit, 0.0)


@in_float64
def tuned(checkpoint: Values, finetune: Values, penalty: Values, time: Values) -> Float[Array, "..."]:
    """F_T(s_0) = s_inf / (1 + (s_inf / s_0 - 1) e^(-4 (1 + lambda) s_inf T)), T = learning rate x steps. [re-derived]

    Args:
      checkpoint: s_0; 0 stays 0.
      finetune: sigma_ft.
      penalty: lambda >= 0.
      time: T >= 0. All broadcast.

    Example:
      >>> np.asarray(ls.tuned(checkpoint=1.0, finetune=4.0, penalty=0.5, time=np.array([0.0, 0.1, 10.0]))).round(3)
      array([1.   , 2.255, 3.   ])
    """
    _require_mode(penalty, checkpoint=checkpoint, finetune=finetune)
    numbers("time", time, at_least=0, most=LARGEST)
    require_together(checkpoint=checkpoint, finetune=finetune, penalty=penalty, time=time)
    checkpoint, finetune, penalty = (jnp.asarray(value) for value in (checkpoint, finetune, penalty))
    return mode_flow(checkpoint, finetune + penalty * checkpoint, 1 + penalty, time)


@in_float64
def misaligned(pretrain: Values, finetune: Values, penalty: Values = 0.0) -> Bool[Array, "..."]:
    """Whether learning a mode raises the pre-training loss after fine-tuning to convergence.

    That loss is (s_inf - sigma_pre)^2 with the mode and sigma_pre^2 without, so the mode is misaligned iff its limit is
    beyond 2 sigma_pre: sigma_ft > (2 + lambda) sigma_pre, both taken in the sign of sigma_pre. A target of the other
    sign takes a mode of balanced layers to 0 at most, where the loss is what it is without the mode: no harm, although
    |sigma_ft - sigma_pre| > (1 + lambda) |sigma_pre|. The same at every depth from two layers on.
    [As restated in Feng et al. 2026; signs re-derived]

    Example:
      >>> np.asarray(ls.misaligned(pretrain=1.0, finetune=np.array([1.5, 2.4, 2.6]), penalty=0.5))
      array([False, False,  True])
    """
    _require_mode(penalty, pretrain=pretrain, finetune=finetune)
    pretrain, finetune = jnp.asarray(pretrain), jnp.asarray(finetune)
    return jnp.sign(pretrain) * finetune > (2 + jnp.asarray(penalty)) * jnp.abs(pretrain)


@in_float64
def critical_time(pretrain: Values, finetune: Values, penalty: Values = 0.0) -> Float[Array, "..."]:
    """T* = ln[2 (s_inf - sigma_pre) / (s_inf - 2 sigma_pre)] / (4 (1 + lambda) s_inf), a critical rate x steps.

    Fine-tuning for longer takes a mode learned in full beyond 2 sigma_pre, where having learned it is net harm;
    infinite for modes that are not misaligned. Rates above T* / K harm within K steps. [re-derived]

    Args:
      pretrain: sigma_pre; what follows is meant in its sign.
      finetune: sigma_ft.
      penalty: lambda >= 0. All broadcast.

    Example:
      >>> np.asarray(ls.critical_time(pretrain=1.0, finetune=np.array([1.5, 4.0]))).round(3)
      array([  inf, 0.069])
    """
    _require_mode(penalty, pretrain=pretrain, finetune=finetune)
    pretrain, finetune, penalty = (jnp.asarray(value) for value in (pretrain, finetune, penalty))
    learned, goal = jnp.abs(pretrain), jnp.sign(pretrain) * finetune
    limit = (goal + penalty * learned) / (1 + penalty)
    reached = (limit > 2 * learned) & (learned > 0)
    learned, limit = jnp.where(reached, learned, 1.0), jnp.where(reached, limit, 3.0)
    time = jnp.log(2 * (limit - learned) / (limit - 2 * learned)) / (4 * (1 + penalty) * limit)
    return jnp.where(reached, time, jnp.inf)


@in_float64
def stage_losses(
    pretrain: Float[ArrayLike, " modes"], finetune: Float[ArrayLike, " modes"], penalty: Values = 0.0
) -> Float[Array, " stages"]:
    """Pre-training loss after fine-tuning to convergence from the checkpoints of stage n = 0 .. r: n modes learned.

    L_n = sum_(i <= n) (s_inf,i - sigma_pre,i)^2 + sum_(i > n) sigma_pre,i^2. [As restated in Feng et al. 2026]

    Args:
      pretrain: sigma_pre, in the order in which modes are learned.
      finetune: sigma_ft of the same modes.
      penalty: lambda >= 0.

    Returns:
      L_0 .. L_r; the inflection is the stage of the smallest.

    Example:
      >>> np.asarray(ls.stage_losses(pretrain=np.array([2.0, 1.0]), finetune=np.array([2.0, 4.0])))
      array([5., 1., 9.])
    """
    _require_mode(penalty, pretrain=pretrain, finetune=finetune)
    require(np.ndim(pretrain) == 1, "pretrain", f"shape {np.shape(pretrain)}", "a list of strengths")
    same = np.broadcast_shapes(*map(np.shape, (pretrain, finetune, penalty))) == np.shape(pretrain)
    require(same, "finetune", f"shape {np.shape(finetune)}", f"one strength for each of the {len(pretrain)}")  # type: ignore[arg-type]
    pretrain = jnp.asarray(pretrain)
    change = (tuned_limit(pretrain, finetune, penalty) - pretrain) ** 2 - pretrain**2
    return jnp.sum(pretrain**2) + jnp.concatenate([jnp.zeros(1, change.dtype), jnp.cumsum(change)])


def harm_limits(ratio: Values, penalty: Values) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """Harm of having learned a mode, fine-tuned to convergence, in units of sigma_pre^2, at any depth from two on.

    With it the mode ends at rho = max(0, (r + lambda) / (1 + lambda)) in units of sigma_pre; without it at 0 if it is
    exactly 0, and at max(0, r / (1 + lambda)) if it is merely small: then fine-tuning learns it anyway. So harm is
    (rho - 1)^2 - 1, or (rho - 1)^2 - (r / (1 + lambda) - 1)^2; see `critical_ratios`.

    That rho stops at 0 holds for exactly balanced layers, w_1 = ... = w_L in a mode: they vanish together, and
    the gradient with them. Out of balance by any d = w_1 - w_2 one layer passes 0 first, at two layers after about
    ln(2 w / d) / (4 |r + lambda| sigma_pre), and the mode goes on to rho < 0. So in the end r < -lambda is harm too,
    (rho - 1)^2 - 1 with rho = (r + lambda) / (1 + lambda) < 0. [as restated in Feng et al. 2026; the rest re-derived]

    Args:
      ratio: r = sigma_ft / sigma_pre.
      penalty: lambda >= 0; both broadcast.

    Returns:
      Harm where a mode that is not learned is exactly 0, and where fine-tuning learns it anyway.
    """
    ratio, penalty = np.asarray(ratio), np.asarray(penalty)
    reached = np.maximum((ratio + penalty) / (1 + penalty), 0.0)
    alone = np.maximum(ratio / (1 + penalty), 0.0)
    return np.asarray((reached - 1) ** 2 - 1), np.asarray((reached - 1) ** 2 - (alone - 1) ** 2)


def critical_ratios(penalty: Values) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """r = sigma_ft / sigma_pre beyond which the limits of `harm_limits` are harm: 2 + lambda, and 1 + lambda / 2.

    The second one is NaN without a penalty, where it makes no difference whether the mode had been learned.
    [as restated in Feng et al. 2026; the second re-derived]
    """
    penalty = np.asarray(penalty)
    return np.asarray(2 + penalty), np.where(penalty > 0, 1 + penalty / 2, np.nan)


def turned_harm(pretrain: LinearTask, finetune: LinearTask) -> Float[np.ndarray, " modes"]:
    """Harm of the n-th learned mode on a task with other singular vectors, fine-tuned to convergence without penalty.

    Stage n ends at the rank-n truncation of A_ft, of s_n, u_n, v_n, so that L_n - L_(n-1) = s_n^2 - 2 s_n u_n^T A v_n:
    harm iff s_n > 2 sum_k sigma_k (u_n . u_k)(v_n . v_k). In the plane of two modes: from 60 degrees on where one side
    turns; of the weaker mode at no angle where both turn alike, and where they turn against each other from
    sin^2 = sigma_2 / (2 (sigma_1 + sigma_2)) on. [re-derived]

    Args:
      pretrain: A.
      finetune: A_ft, with modes in the order of learning.

    Returns:
      In units of s_n^2, with the order of the modes of A_ft.
    """
    for task in (pretrain, finetune):
        require_squared_error("task", task.objective)
    wanted = finetune.along_modes(pretrain.target)
    return np.asarray(1 - 2 * wanted / finetune.strengths)


def critical_effort(depth: int, pull: Values) -> Float[np.ndarray, "..."]:
    """Effort (1 + lambda) sigma_pre^(2 - 2/L) T beyond which having learned a mode in full is harm.

    Fine-tuning takes it from sigma to 2 sigma at (1 / 2L) integral over 1 < u < 2 of du / [u^(2 - 2/L) (rho - u)]: one
    curve for all modes, penalties and rates. At L = 2 it is ln[2 (rho - 1) / (rho - 2)] / (4 rho), see `critical_time`.
    [re-derived]

    Args:
      depth: L.
      pull: rho = (r + lambda) / (1 + lambda) > 2.
    """
    return flow_time(depth, np.asarray(1.0), np.asarray(2.0), np.asarray(pull))


def learning_time(depth: int, begun: Values, finetune: Values, penalty: Values = 0.0) -> Float[np.ndarray, "..."]:
    """Flow time in which fine-tuning itself takes a mode from s_0 to half of its limit.

    That is s_inf = (sigma_ft + lambda s_0) / (1 + lambda). Infinite where it never does, for s_inf <= 0 or s_0 <= 0,
    and 0 where half is there. About ln(s_inf / s_0) / (4 sigma_ft) at two layers. [re-derived]

    Args:
      depth: L.
      begun: s_0, strength at the checkpoint.
      finetune: sigma_ft.
      penalty: lambda >= 0. All but depth broadcast.
    """
    begun, finetune, penalty = (np.asarray(value) for value in (begun, finetune, penalty))
    start, limit = np.broadcast_arrays(begun, (finetune + penalty * begun) / (1 + penalty))
    learns = (start > 0) & (limit > 0)
    start, limit = np.where(learns, start, 0.5), np.where(learns, limit, 1.0)
    rises = start < limit / 2
    time = flow_time(depth, np.where(rises, start, limit / 4), np.asarray(limit / 2), limit) / (1 + penalty)
    return np.where(learns, np.where(rises, time, 0.0), np.inf)


def _require_mode(penalty: Values, **strengths: Values) -> None:
    """Raise `InvalidInput` for strengths and a penalty that are no numbers; those within a compiled program pass."""
    for name, value in strengths.items():
        numbers(name, value, most=LARGEST)
    numbers("penalty", penalty, at_least=0, most=LARGEST)
    require_together(**strengths, penalty=penalty)
