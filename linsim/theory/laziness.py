"""What overtraining can do to a lazy network: harm has a bound, as all modes are learned and tuned at one speed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from linsim.dynamics.choosing import flow_of
from linsim.problem import Problem


@dataclass(frozen=True, eq=False)
class LazyLimit:
    """Two layers whose balance |l| is far above all strengths: both phases are linear, and conserve the balance.

    With e = exp(-2 |l| t), E = exp(-2 |l| T), D = A_ft - A and R = A - P_0,

        P - A = (1 - E) D - E e R      after pre-training for t and fine-tuning for T,

    so that every mode, learned or not, is tuned at the same speed. The loss is a parabola in e, (1 - E)^2 |D|^2 at the
    end. There sqrt(L_pre) + sqrt(L_ft) = |D|, the least that the triangle allows any network. [re-derived]
    """

    difference: Float[np.ndarray, "d_out d_in"]
    """D."""
    missing: Float[np.ndarray, "seeds d_out d_in"]
    """R of every start."""
    left: Float[np.ndarray, "seeds budgets"]
    """e at every budget: the share of R that is left."""

    @classmethod
    def of(cls, problem: Problem) -> LazyLimit | str:
        """The limit of a problem, whatever its balance is; in words why it has none."""
        if isinstance(flow := flow_of(problem), str):
            return flow
        if problem.depth != 2:
            return "a balance is between two layers"
        if not (problem.transfer.pretrain.whitened and problem.transfer.finetune.whitened):
            return "inputs are not whitened"
        if any(phase.weight_decay or phase.product_penalty for phase in (problem.pretrain, problem.finetune)):
            return "a regulariser pulls away from the targets"
        first, second = problem.initial
        sizes = np.swapaxes(second, 1, 2) @ second + first @ np.swapaxes(first, 1, 2)
        speed = np.linalg.eigvalsh(sizes).max(axis=1)  # |l| and what there is beside it at the start
        left = np.exp(-2 * problem.pretrain.learning_rate * speed[:, None] * problem.budgets)
        return cls(problem.transfer.difference, problem.transfer.pretrain.target - second @ first, left)

    @property
    def harm(self) -> Float[np.ndarray, " seeds"]:
        """The most harm at any rate, c^2 / (1 - c^2) with c = <D, R> / (|D| |R|), and 0 where c <= 0.

        The parabola is nowhere below (1 - c^2) times its end.
        """
        along = np.maximum(np.einsum("oi,soi->s", self.difference, self.missing), 0) ** 2
        across = np.sum(self.difference**2) * np.sum(self.missing**2, axis=(1, 2)) - along
        return np.divide(along, across, out=np.where(along > 0, np.inf, 0.0), where=across > 0)

    def losses(self, kept: Float[np.ndarray, " times"]) -> Float[np.ndarray, "times seeds budgets"]:
        """Pre-training loss after fine-tuning from every budget.

        Args:
          kept: E, the share of its way that fine-tuning leaves to go: E^2 of the fine-tuning loss, once R is gone.
        """
        kept = kept[:, None, None, None, None]
        left = self.left[:, :, None, None]
        away = (1 - kept) * self.difference - kept * left * self.missing[:, None]
        return np.asarray(np.sum(away**2, axis=(-1, -2)))
