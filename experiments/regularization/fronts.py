"""Limits of fine-tuning with each regulariser, and pre-training losses compared at equal fine-tuning loss."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from linsim.phase import Regularizer
from linsim.theory.stages import tuned_limit

_NEWTON = 100  # steps on a convex cubic from above: linear at worst, 2/3 a step, and quadratic near the root


def limits(
    regularizer: Regularizer,
    pretrain: Float[np.ndarray, " modes"],
    finetune: Float[np.ndarray, " modes"],
    strength: float,
) -> Float[np.ndarray, " modes"]:
    """Where fine-tuning to convergence takes modes of two aligned balanced layers that were learned in full.

    product_penalty: (sigma_ft + lambda sigma_pre) / (1 + lambda), or 0 where that is negative;
    weight_decay: (sigma_ft - beta / 2)_+;
    weight_penalty: w^2 of the one root w > 0 of 2 w^3 + (mu - 2 sigma_ft) w = mu sqrt(sigma_pre).

    Args:
      regularizer: which one.
      pretrain: sigma_pre >= 0; a mode of strength 0 stays 0.
      finetune: sigma_ft.
      strength: lambda, beta or mu. Sources: 3.4; 1.7; re-derived.
    """
    learned = pretrain > 0
    if regularizer == "product_penalty":
        return np.asarray(tuned_limit(pretrain, finetune, strength))
    if regularizer == "weight_decay":
        return np.where(learned, np.maximum(finetune - strength / 2, 0.0), 0.0)
    start = np.sqrt(pretrain)
    root = np.maximum(start, np.sqrt(np.maximum(finetune, 0.0)))
    for _ in range(_NEWTON):
        slope = 6 * root**2 + strength - 2 * finetune
        value = 2 * root**3 + (strength - 2 * finetune) * root - strength * start
        root = root - np.where(slope > 0, value / np.where(slope > 0, slope, 1.0), 0.0)
    return np.where(learned, np.maximum(root, 0.0) ** 2, 0.0)


def threshold(
    regularizer: Regularizer, pretrain: Float[np.ndarray, " modes"], finetune: Float[np.ndarray, " modes"]
) -> float:
    """The strength from which learning no mode is net harm after fine-tuning to convergence, 0 if none ever is.

    A limit is at 2 sigma_pre for lambda = sigma_ft / sigma_pre - 2, beta = 2 (sigma_ft - 2 sigma_pre) and
    mu = (4 + 2 sqrt 2) (sigma_ft - 2 sigma_pre); the largest of all modes counts. Sources: 3.4; re-derived.
    """
    learned = pretrain > 0
    excess = (finetune - 2 * pretrain)[learned]
    if regularizer == "product_penalty":
        excess = excess / pretrain[learned]
    factor = {"product_penalty": 1.0, "weight_decay": 2.0, "weight_penalty": 4 + 2 * np.sqrt(2)}[regularizer]
    return float(factor * np.max(excess, initial=0.0))


def stage_limits(
    regularizer: Regularizer,
    pretrain: Float[np.ndarray, " modes"],
    finetune: Float[np.ndarray, " modes"],
    strengths: Float[np.ndarray, " strengths"],
) -> Float[np.ndarray, "two strengths stages"]:
    """Both losses, pre-training first, after fine-tuning to convergence from the idealised checkpoint of every stage.

    Modes are learned from the strongest on; those not learned stay 0. [3.4; re-derived]
    """
    order = np.argsort(-pretrain, kind="stable")
    reached = np.array([limits(regularizer, pretrain, finetune, float(strength)) for strength in strengths])
    learned = np.tri(len(order) + 1, len(order), -1, dtype=bool)
    ends = np.where(learned, reached[:, None, order], 0.0)
    return np.array([np.sum((ends - goal[order]) ** 2, axis=-1) for goal in (pretrain, finetune)])


def matched(
    pretrain_loss: Float[np.ndarray, "rates strengths ..."],
    finetune_loss: Float[np.ndarray, "rates strengths ..."],
    targets: Float[np.ndarray, "targets ..."],
) -> Float[np.ndarray, "targets ..."]:
    """R = min L_pre where L_ft <= target: over all rates and strengths, and where their grid lines cross the target.

    Between neighbours on the grid both losses are interpolated in their square roots, the distances to the two tasks:
    in these the best front there is is a straight line (`convex-front`), and chords of what lies above it stay above.

    Args:
      pretrain_loss: L_pre after fine-tuning; not finite where a run is to be left out.
      finetune_loss: L_ft of the same.
      targets: of the fine-tuning loss; a first axis and then axes that broadcast against the trailing ones.

    Returns:
      R, NaN where no run comes down to the target. [Watts et al. 2026]
    """
    known = np.isfinite(pretrain_loss) & np.isfinite(finetune_loss)
    x, y = (np.sqrt(np.where(known, loss, np.inf)) for loss in (finetune_loss, pretrain_loss))
    segments = [tuple(np.moveaxis(z, axis, 0) for z in (x, y)) for axis in (0, 1) if x.shape[axis] > 1]
    best = []
    for target in np.sqrt(targets):
        found = np.where(x <= target, y, np.inf).min(axis=(0, 1))
        for abscissa, ordinate in segments:
            with np.errstate(invalid="ignore", divide="ignore"):
                share = (target - abscissa[:-1]) / (abscissa[1:] - abscissa[:-1])
                height = ordinate[:-1] + share * (ordinate[1:] - ordinate[:-1])
            crossed = (share > 0) & (share < 1) & np.isfinite(height)
            found = np.minimum(found, np.where(crossed, height, np.inf).min(axis=(0, 1)))
        best.append(np.where(np.isfinite(found), found**2, np.nan))
    return np.array(best)
