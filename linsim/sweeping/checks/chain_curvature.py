"""Curvature of the objective where weights are chains of modes: exact, without a Hessian that is formed.

At W_l = diag(w_l) in the common bases, a change E_l of entry (i, k) moves P_ik to first order, and together with one of
entry (k, i) in another layer P_ii to second order. The Hessian therefore falls apart into a block for every pair of
modes i < k, of the 2L numbers (E_l,ik, E_l,ki), and one for every mode, of the L numbers E_l,ii:

    <E, H E> = c_k (sum_l u_li d_lk E_l,ik)^2 + c_i (sum_l u_lk d_li E_l,ki)^2 + h sum_l (E_l,ik^2 + E_l,ki^2)
               + 2 sum_{l<m} (g_i u_mi b_lmk d_li E_m,ik E_l,ki + g_k u_mk b_lmi d_lk E_m,ki E_l,ik)
    <E, H E> = c_i (sum_l u_li d_li E_l,ii)^2 + h sum_l E_l,ii^2 + 2 sum_{l<m} g_i u_mi b_lmi d_li E_m,ii E_l,ii

with u_li, d_li, b_lmi the products of mode i over the layers above l, below l and between l and m,
c_i = 2 (lambda_i + lambda), g_i = 2 lambda_i (s_i - sigma_i) + 2 lambda (s_i - s_i^0) and h = mu + beta. [derived here]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from linsim.dynamics.modes.chains import Bases, Target
from linsim.sweeping.checks.bound import Start
from linsim.sweeping.checks.edge import DIVERGED
from linsim.tasks import LinearTask

_NUMBERS = 2**21  # of all blocks that are held at once: 16 MB

Runs = Float[np.ndarray, " runs"]
ChainsOf = Float[np.ndarray, "runs layers modes"]


class Penalties(NamedTuple):
    """lambda, mu and beta of every run; 0 where absent."""

    product: Runs
    weight: Runs
    decay: Runs


@dataclass(frozen=True, eq=False)
class ChainTask:
    """A task as curvature sees it: its modes, and the directions that no mode uses."""

    strengths: Float[np.ndarray, " modes"]
    variances: Float[np.ndarray, " modes"]
    unused_inputs: float | None
    """Largest input variance outside the modes; None where they span the inputs."""
    unused_outputs: bool
    """Whether there are outputs outside the modes."""
    units: Bool[np.ndarray, "seeds boundaries modes"]
    """Whether there is a unit for a mode between layers l and l + 1, with inputs and outputs at both ends."""

    @classmethod
    def of(cls, task: LinearTask, target: Target, bases: Bases) -> ChainTask:
        """From a task, the same in the coordinates of chains, and these."""
        each = [np.asarray(basis) for basis in bases.each]
        modes, inputs = each[0].shape[2], each[0].shape[1]
        rest = np.eye(inputs) - each[0][0] @ each[0][0].T
        unused = float(np.linalg.eigvalsh(rest @ task.input_covariance @ rest)[-1]) if inputs > modes else None
        used = np.stack([np.any(basis != 0, axis=1) for basis in each], axis=1)
        spare = [basis.shape[1] > count for basis, count in zip(each, used.sum(axis=2).max(axis=0), strict=True)]
        strengths, variances = (np.asarray(value, np.float64)[:modes] for value in target)
        return cls(strengths, variances, unused, each[-1].shape[1] > modes, used | np.asarray(spare)[None, :, None])

    @property
    def modes(self) -> int:
        """How many."""
        return len(self.strengths)

    def start(self, chains: Float[np.ndarray, "... layers columns"]) -> Start:
        """What the bound on curvature begins with; infinite where chains have diverged."""
        chains = np.asarray(chains, np.float64)[..., : self.modes]
        lost = ~(np.max(np.abs(chains), axis=(-2, -1)) < DIVERGED)  # so for NaN
        chains = np.where(lost[..., None, None], 0, chains)
        product = np.prod(chains, axis=-2)
        loss = np.sum(self.variances * (product - self.strengths) ** 2, axis=-1)
        imbalance = np.linalg.norm(np.diff(chains**2, axis=-2), axis=-1).max(axis=-1, initial=0.0)
        found = np.abs(product).max(axis=-1), loss, imbalance, np.abs(chains).max(axis=(-2, -1))
        return Start(*(np.where(lost, np.inf, each) for each in found))

    def exceeds(
        self, chains: ChainsOf, anchor: ChainsOf, seeds: Any, penalties: Penalties, most: Runs
    ) -> Bool[np.ndarray, " runs"]:
        """Which runs are where the objective has more curvature than that, or nowhere, as they are not finite.

        Args:
          chains: w of every run; what lies outside the modes has the curvature h alone.
          anchor: the same at the beginning of the phase, which has s^0.
          seeds: of every run.
          penalties: of every run.
          most: curvature, of every run.
        """
        chains, anchor = (np.asarray(each, np.float64)[:, :, : self.modes] for each in (chains, anchor))
        layers, modes = chains.shape[1:]
        size = max(1, int(_NUMBERS // (4 * layers**2 * modes**2)))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            bent = 2 * (self.variances + penalties.product[:, None])
            product, begun = np.prod(chains, axis=1), np.prod(anchor, axis=1)
            pull = 2 * self.variances * (product - self.strengths) + 2 * penalties.product[:, None] * (product - begun)
            left = most - penalties.weight - penalties.decay
            largest = 2 * (max(self.unused_inputs or 0.0, float(self.variances.max())) + penalties.product)
            near = np.nonzero(~(_bound(chains, largest, pull) < left))[0]  # or not finite
            found = np.zeros(len(chains), bool)
            for first in range(0, len(near), size):
                at = near[first : first + size]
                found[at] = self._exceeds(
                    chains[at], bent[at], pull[at], self.units[seeds[at]], penalties.product[at], left[at]
                )
        return found

    def _exceeds(self, chains: Any, bent: Any, pull: Any, units: Any, penalty: Any, left: Any) -> Any:
        above, below, between = _products(chains)
        layers = chains.shape[1]
        rising = np.zeros(len(chains), bool)
        if self.unused_inputs is not None:
            rising |= 2 * (self.unused_inputs + penalty) * np.max(above[:, 0] ** 2, axis=-1) >= left
        if self.unused_outputs:
            rising |= np.max(bent * below[:, -1] ** 2, axis=-1) >= left

        everywhere = bool(units.all())

        def first_order(i: Any, k: Any) -> Any:
            """u_li d_lk where W_l has an entry (i, k)."""
            both = above[..., i] * below[..., k]
            return both if everywhere else np.where(units[:, 1:, i] & units[:, :-1, k], both, 0)

        def second_order(i: Any, k: Any) -> Any:
            """g_i u_mi b_lmk d_li at [l, m], of E_m,ik and E_l,ki."""
            both = (pull[:, None, None, :] * above[:, None] * below[:, :, None])[..., i] * between[..., k]
            if everywhere:
                return both
            there = (units[:, 1:, i] & units[:, :-1, k])[:, None] & (units[:, 1:, k] & units[:, :-1, i])[:, :, None]
            return np.where(there, both, 0)

        every = np.arange(self.modes)
        along, across = first_order(every, every), second_order(every, every)
        alone = bent[:, None, None] * along[:, :, None] * along[:, None] + across + np.swapaxes(across, 1, 2)
        rising |= ~_positive(left, alone).all(axis=-1)
        i, k = np.triu_indices(self.modes, 1)
        if len(i):
            block = np.zeros((len(chains), 2 * layers, 2 * layers, len(i)))
            ours, theirs = first_order(i, k), first_order(k, i)
            block[:, :layers, :layers] = bent[:, None, None, k] * ours[:, :, None] * ours[:, None]
            block[:, layers:, layers:] = bent[:, None, None, i] * theirs[:, :, None] * theirs[:, None]
            # Rows l of (k, i), columns m of (i, k): above the diagonal from g_i, below it from g_k.
            crossed = second_order(i, k) + np.swapaxes(second_order(k, i), 1, 2)
            block[:, layers:, :layers] = crossed
            block[:, :layers, layers:] = np.swapaxes(crossed, 1, 2)
            rising |= ~_positive(left, block).all(axis=-1)
        return rising


def _bound(chains: ChainsOf, bent: Runs, pull: Float[np.ndarray, "runs modes"]) -> Runs:
    """Not below the top eigenvalue, less h: from the largest of all modes in every place."""
    above, below, between = _products(np.abs(chains).max(axis=2, keepdims=True))
    first = np.sum((above * below) ** 2, axis=(1, 2))
    second = np.sum(above[:, None] * between * below[:, :, None], axis=(1, 2, 3))
    return np.asarray(bent * first + 2 * np.abs(pull).max(axis=1) * second)


def _products(chains: ChainsOf) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the layers above each, below each, and strictly between l and m > l, 0 elsewhere; modes last."""
    runs, layers, modes = chains.shape
    above, below = np.ones_like(chains), np.ones_like(chains)
    between = np.zeros((runs, layers, layers, modes))
    for layer in range(1, layers):
        below[:, layer] = below[:, layer - 1] * chains[:, layer - 1]
        above[:, -1 - layer] = above[:, -layer] * chains[:, -layer]
    for low in range(layers - 1):
        product = np.ones((runs, modes))
        for high in range(low + 1, layers):
            between[:, low, high] = product
            product = product * chains[:, high]
    return above, below, between


def _positive(most: Runs, blocks: Float[np.ndarray, "runs n n blocks"]) -> Bool[np.ndarray, "runs blocks"]:
    """Whether most - H is positive definite: whether elimination meets positive pivots alone; not so for NaN."""
    left = -blocks
    size = left.shape[1]
    for entry in range(size):
        left[:, entry, entry] += most[:, None]
    positive = np.ones((left.shape[0], left.shape[3]), bool)
    for step in range(size):
        pivot = left[:, step, step]
        positive &= pivot > 0
        for row in range(step + 1, size):
            factor = left[:, step, row] / pivot
            left[:, row, row:] -= factor[:, None] * left[:, step, row:]  # the upper triangle alone
    return positive
