"""Where the tuned rate x steps ends, from the spectra and the noise alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from linsim.problem import Problem
from linsim.tasks import Transfer

Strengths = Float[np.ndarray, " modes"]

_POINTS = 1000


def late_times(
    problem: Problem, transfers: Sequence[Transfer], variance: float, largest: float
) -> Float[np.ndarray, " transfers"]:
    """`late_time` of every transfer, NaN where one of its assumptions does not hold."""
    pretrain = problem.transfer.pretrain
    balances = [second.T @ second - first @ first.T for first, second in zip(*problem.initial[:2], strict=True)]
    fits = problem.depth == 2 and variance > 0 and max(float(np.abs(each).max()) for each in balances) < 1e-12
    times = []
    for transfer in transfers:
        finetune = transfer.finetune
        same = all(
            np.array_equal(getattr(pretrain, name), getattr(finetune, name))
            for name in ("left", "right", "input_covariance")
        )
        white = np.array_equal(pretrain.input_covariance, np.eye(pretrain.inputs))
        square = pretrain.inputs == pretrain.outputs
        learned = bool((pretrain.strengths > 0).all() and (finetune.strengths > 0).all())
        applies = fits and same and white and square and learned
        strengths = pretrain.strengths, finetune.strengths
        times.append(late_time(*strengths, variance, largest) if applies else np.nan)
    return np.asarray(times)


def late_time(pretrain: Strengths, finetune: Strengths, variance: float, largest: float) -> float:
    """Rate x steps up to the largest of least `mean_heldout`."""
    # By then every mode has converged to e^-40: later times would only be coarser.
    times = np.linspace(0.0, min(largest, 10 / float(finetune.min())), _POINTS)
    return float(times[np.argmin(mean_heldout(pretrain, finetune, variance, times))])


def mean_heldout(
    pretrain: Strengths, finetune: Strengths, variance: float, times: Float[np.ndarray, " times"]
) -> Float[np.ndarray, " times"]:
    """Mean held-out loss of fine-tuning from a network that has learned all modes, to first order in the noise.

    Two balanced layers, whitened inputs, both tasks diagonal in the same bases; the sample asks for A_ft + E with
    independent entries of E. Modes follow s' = 4 s (sigma_ft - s) from sigma_pre. Linearised about that path, with
    m = s - sigma_ft, the symmetric and the antisymmetric part of the response to E obey

        k' = -a k + 2 (s_i + s_j),
        a = 2 (s_i + s_j + m_i + m_j)   or   2 (s_i + s_j + (s_i - s_j)(m_i - m_j) / (s_i + s_j))

    and the loss is sum_i m_i^2 + v sum_(i,j) (k_ij^2 + k_ij'^2) / 2 over both parts, which are the same for i = j. One
    mode near its target has k = 1 - e^(-4 sigma_ft t), and the minimum is at
    ln(1 + (sigma_ft - sigma_pre)^2 / v) / (4 sigma_ft), the claim `tuned-time`. [re-derived]

    Args:
      pretrain: sigma_pre > 0.
      finetune: sigma_ft > 0.
      variance: v of the entries of E, label noise^2 / examples.
      times: rate x steps, from 0 on, narrow steps.
    """
    grown = np.exp(-4 * np.outer(times, finetune))
    strengths = finetune / (1 + (finetune / pretrain - 1) * grown)
    missing = strengths - finetune
    alike = np.eye(len(finetune), dtype=bool)
    responses = np.zeros((2, len(finetune), len(finetune)))
    loss = np.sum(missing**2, axis=1)
    for at in range(1, len(times)):
        step = times[at] - times[at - 1]
        s, m = ((each[at] + each[at - 1]) / 2 for each in (strengths, missing))
        pull = s[:, None] + s[None, :]
        both = m[:, None] + m[None, :]
        apart = (s[:, None] - s[None, :]) * (m[:, None] - m[None, :]) / pull
        decay = 2 * (pull + np.stack([both, np.where(alike, both, apart)]))
        # Exact over a step at constant coefficients.
        small = np.abs(decay * step) < 1e-9
        gain = np.where(small, step, -np.expm1(-decay * step) / np.where(small, 1.0, decay))
        responses = responses * np.exp(-decay * step) + 2 * pull * gain
        loss[at] += variance * np.sum(responses**2) / 2
    return np.asarray(loss)
