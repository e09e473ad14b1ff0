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
        if not problem.transfer.whitened:
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
        """The most harm at any rate: `harm_of_parabola`."""
        return harm_of_parabola(self.difference, self.missing)

    def losses(self, kept: Float[np.ndarray, " times"]) -> Float[np.ndarray, "times seeds budgets"]:
        """Pre-training loss after fine-tuning from every budget.

        Args:
          kept: E, the share of its way that fine-tuning leaves to go: E^2 of the fine-tuning loss, once R is gone.
        """
        kept = kept[:, None, None, None, None]
        left = self.left[:, :, None, None]
        away = (1 - kept) * self.difference - kept * left * self.missing[:, None]
        return np.asarray(np.sum(away**2, axis=(-1, -2)))


def harm_of_parabola(
    difference: Float[np.ndarray, "d_out d_in"], missing: Float[np.ndarray, "... d_out d_in"]
) -> Float[np.ndarray, "..."]:
    """The most harm where every mode is learned and tuned at one speed: c^2 / (1 - c^2), cot^2 of the angle of D and R.

    So it is in the lazy limit, and with one layer on whitened inputs. The loss after fine-tuning, |a D - x R|^2 with x
    falling to 0, is nowhere below (1 - c^2) times its end, c = <D, R> / (|D| |R|). [re-derived; `one-layer-harm`]

    Args:
      difference: D = A_ft - A.
      missing: R = A - P(0).

    Returns:
      Harm >= 0: 0 where c <= 0, infinite where D and R point the same way.
    """
    along = np.maximum(np.sum(difference * missing, axis=(-2, -1)), 0) ** 2
    across = np.sum(difference**2) * np.sum(missing**2, axis=(-2, -1)) - along
    return np.divide(along, across, out=np.where(along > 0, np.inf, 0.0), where=across > 0)
