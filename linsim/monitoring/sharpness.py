"""Sharpness of a model: the largest eigenvalue of its mean Hessian over microbatches, with its error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from linsim.errors import require
from linsim.measures.estimates import Estimate, from_samples
from linsim.measures.products import loss_product
from linsim.monitoring.layers import holding
from linsim.monitoring.top_eigenvalue import Carry, begun, extended, top_eigenvalue
from linsim.monitoring.trees import Batch, Loss, Params, shapes_of, spread


@dataclass(frozen=True, eq=False)
class Sharpness:
    """The largest eigenvalue of the mean Hessian, of all parameters or of some."""

    loss: Loss
    tolerance: float
    most: int
    """See `linsim.monitoring.top_eigenvalue.top_eigenvalue`."""

    def measure(
        self, params: Params, held: Params, batches: Sequence[Batch], sizes: Sequence[int], key: Array, masks: Params
    ) -> list[Estimate]:
        """The largest eigenvalue of every block of the Hessian.

        Args:
          params: the parameters that the Hessian is of.
          held: the others, see `linsim.monitoring.layers.holding`.
          batches: microbatches of one shape.
          sizes: how much each counts.
          key: of the random starts.
          masks: 1 in a block and 0 elsewhere, behind a first axis over blocks; see `linsim.monitoring.layers.masks_of`.

        Returns:
          Values with their errors: the residual, and to first order the eigenvalue scatters over microbatches as the
          curvature along its own direction does.
        """
        shapes = sorted({str(shapes_of(batch)) for batch in batches})
        require(len(shapes) == 1, "batches", f"shapes {shapes}", "microbatches of one shape, for top_eigenvalue")
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *batches)
        shares = np.asarray(sizes, np.float64) / np.sum(sizes)
        start = np.random.default_rng(np.asarray(jax.random.key_data(key))).standard_normal(_length(params))
        (params, held), stacked = spread((params, held), stacked, axis=1)
        count = len(jax.tree.leaves(masks)[0])
        blocks = [jax.tree.map(lambda mask, block=block: mask[block], masks) for block in range(count)]
        return [self._of_block(params, held, stacked, shares, start, block) for block in blocks]

    def _of_block(
        self, params: Params, held: Params, batches: Batch, shares: np.ndarray, start: np.ndarray, mask: Params
    ) -> Estimate:
        kind = jnp.result_type(*jax.tree.leaves(params))
        inside = [np.broadcast_to(one, leaf.shape).ravel() for one, leaf in _pairs(mask, params)]

        def place(vector: Any) -> Carry:
            return spread(begun(vector), batches, axis=1)[0]

        def step(carry: Carry, weight: Any) -> Any:
            return self._step(params, held, batches, shares.astype(np.float32), mask, carry, weight)

        first = place((start * np.concatenate(inside)).astype(kind))
        found = top_eigenvalue(step, first, self.tolerance, self.most)
        scatter = 0.0
        if len(shares) > 1:
            carry = first
            for weight in found.weights:  # the same recurrence again, for the vector that was not kept
                carry, _ = step(carry, float(weight))
            along = step(place(carry.gathered), 0.0)[1].told
            scatter = from_samples(np.asarray(along, np.float64), shares).error
        return Estimate(np.float64(found.value), np.hypot(scatter, found.error))

    @cached_property
    def _step(self) -> Any:
        """One product with the mean Hessian, and the curvature of every microbatch along the vector; compiled once."""

        def step(
            params: Params, held: Params, batches: Batch, shares: Array, mask: Params, carry: Carry, weight: Any
        ) -> Any:
            loss, (flat, as_tree) = holding(self.loss, held), ravel_pytree(params)

            def mean_product(vector: Array) -> tuple[Array, Array]:
                direction = as_tree(vector)

                def add(so_far: Array, part: tuple[Batch, Array]) -> tuple[Array, Array]:
                    image = loss_product(loss, params, part[0])(direction)
                    inside = jax.tree.map(lambda one, leaf: one.astype(leaf.dtype) * leaf, mask, image)
                    image = ravel_pytree(inside)[0]
                    return so_far + part[1].astype(flat.dtype) * image, jnp.sum(image * vector)

                return jax.lax.scan(add, jnp.zeros_like(vector), (batches, shares))

            return extended(mean_product, carry, weight)

        return jax.jit(step)


def _pairs(masks: Params, params: Params) -> list[tuple[Any, Any]]:
    return list(zip(jax.tree.leaves(masks), jax.tree.leaves(params), strict=True))


def _length(params: Params) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))
