"""The convex front of two tasks: how low both losses can be together, for any network."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from linsim.errors import require
from linsim.losses import Scalar, require_squared_error
from linsim.tasks import Transfer

_RANGE = 40.0  # of ln mu, to both sides: what lies beyond is closer to an end of the front than rounding
_HALVINGS = 110  # golden sections, by which the range shrinks to 1e-21 of itself


class Front(NamedTuple):
    """min over P of L_pre + mu L_ft, in coordinates in which both covariances are diagonal.

    With D = A_ft - A_pre it is mu tr(D S_pre (S_pre + mu S_ft)^(-1) S_ft D^T) = mu sum_i c_i / (t_i + mu (1 - t_i)),
    where t_i are the eigenvalues of S_pre relative to S_pre + S_ft, and
    c_i = t_i (1 - t_i) ||D (S_pre + S_ft)^(1/2) q_i||^2. [re-derived]

    With one covariance S it is mu / (1 + mu) ||D S^(1/2)||^2, so that sqrt(L_pre) + sqrt(L_ft) >= ||D S^(1/2)||.
    """

    shares: Float[np.ndarray | Array, " inputs"]
    """t_i."""
    gaps: Float[np.ndarray | Array, " inputs"]
    """c_i."""

    @classmethod
    def of(cls, transfer: Transfer) -> Front:
        """The front of a transfer; `InvalidInput` where both tasks can be solved at once."""
        require(isinstance(transfer, Transfer), "transfer", transfer, "a linsim.Transfer, of two tasks")
        first, second = transfer.pretrain, transfer.finetune
        for task in (first, second):
            require_squared_error("bound_ratio", task.objective)
        values, vectors = np.linalg.eigh(first.input_covariance + second.input_covariance)
        seen = values > len(values) * np.finfo(np.float64).eps * values.max()
        root = vectors[:, seen] * np.sqrt(values[seen])
        inverse = vectors[:, seen] / np.sqrt(values[seen])
        shares, turn = np.linalg.eigh(inverse.T @ first.input_covariance @ inverse)
        shares = np.clip(shares, 0.0, 1.0)
        gaps = shares * (1 - shares) * np.sum((transfer.difference @ root @ turn) ** 2, axis=0)
        scale = max(first.zero_loss, second.zero_loss)
        apart = bool(np.sum(gaps) > np.finfo(np.float64).eps * scale)
        require(apart, "bound_ratio", "tasks that one network solves", "tasks of which neither map has loss 0 on both")
        return cls(shares, gaps)

    def least(self, weight: Float[Array, ""] | float) -> Scalar:
        """min over P of L_pre + mu L_ft for one mu > 0."""
        return weight * jnp.sum(self.gaps / (self.shares + weight * (1 - self.shares)))

    def ratio(self, pretrain_loss: Scalar, finetune_loss: Scalar) -> Scalar:
        """How far two losses are from the front: min over mu of sqrt((L_pre + mu L_ft) / min_P), >= 1, and 1 on it.

        With one covariance it is (sqrt(L_pre) + sqrt(L_ft)) / D. The ratio is quasiconvex in mu, a linear function over
        a concave one, so that golden sections of ln mu find its minimum.
        """
        golden = float((np.sqrt(5) - 1) / 2)
        shares, gaps = (jnp.asarray(each, pretrain_loss.dtype) for each in (self.shares, self.gaps))

        def excess(log_weight: Array) -> Array:
            weight = jnp.exp(log_weight)
            return (pretrain_loss + weight * finetune_loss) / Front(shares, gaps).least(weight)

        def section(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = ends
            left, right = high - golden * (high - low), low + golden * (high - low)
            falls = excess(left) > excess(right)
            return jnp.where(falls, left, low), jnp.where(falls, high, right)

        ends = jnp.asarray(-_RANGE, pretrain_loss.dtype), jnp.asarray(_RANGE, pretrain_loss.dtype)
        low, high = jax.lax.fori_loop(0, _HALVINGS, section, ends)
        return jnp.sqrt(excess((low + high) / 2))
