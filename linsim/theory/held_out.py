"""How long to fine-tune on a sample: the mean held-out loss along the way, to first order in the noise of the sample.

Two balanced layers that have learned all modes, whitened inputs, both tasks diagonal in the same bases; the sample asks
for A_ft + E with independent entries of E. [re-derived]
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

Strengths = Float[np.ndarray, " modes"]

_POINTS = 1000
_CONVERGED = 10.0  # times 1 / sigma: by then a mode has come within e^-40 of its target, and times would be coarser


def late_time(pretrain: Strengths, finetune: Strengths, variance: float, largest: float) -> float:
    """Learning rate x steps of least `mean_heldout`, up to a largest one.

    Near its target a single mode has it at ln(1 + (sigma_ft - sigma_pre)^2 / v) / (4 sigma_ft), the claim `tuned-time`.

    Args:
      pretrain: sigma_pre > 0.
      finetune: sigma_ft > 0.
      variance: v > 0 of the entries of E, squared label noise / examples.
      largest: flow time, > 0.
    """
    times = np.linspace(0.0, min(largest, _CONVERGED / float(finetune.min())), _POINTS)
    return float(times[np.argmin(mean_heldout(pretrain, finetune, variance, times))])


def mean_heldout(
    pretrain: Strengths, finetune: Strengths, variance: float, times: Float[np.ndarray, " times"]
) -> Float[np.ndarray, " times"]:
    """Mean held-out loss sum_i m_i^2 + v sum_(i,j) (k_ij^2 + k_ij'^2) / 2, without the constant of fresh label noise.

    Modes follow s' = 4 s (sigma_ft - s) from sigma_pre. Linearised about that path, with m = s - sigma_ft, the
    symmetric and the antisymmetric part of the response to E, which are the same for i = j, obey

        k' = -a k + 2 (s_i + s_j),
        a = 2 (s_i + s_j + m_i + m_j)   or   2 (s_i + s_j + (s_i - s_j)(m_i - m_j) / (s_i + s_j)).

    One mode near its target has k = 1 - e^(-4 sigma_ft t). [re-derived]

    Args:
      pretrain: sigma_pre > 0.
      finetune: sigma_ft > 0.
      variance: v of the entries of E, squared label noise / examples.
      times: learning rate x steps, from 0 on, narrow steps.
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
