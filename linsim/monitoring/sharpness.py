"""Sharpness of a model: the largest eigenvalue of its mean Hessian over microbatches, with its error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from linsim.errors import require
from linsim.measures.estimates import Estimate, from_samples
from linsim.measures.products import loss_product
from linsim.monitoring.layers import holding
from linsim.monitoring.top_eigenvalue import Carry, begun, dot, extended, top_eigenvalue
from linsim.monitoring.trees import Batch, Loss, Params, shapes_of, spread


_begun = jax.jit(begun)


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
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches)
        shares = np.asarray(sizes, np.float64) / np.sum(sizes)
        leaves, structure = jax.tree.flatten(params)
        drawn = zip(jax.random.split(key, len(leaves)), leaves, strict=True)
        start = structure.unflatten([jax.random.normal(one, leaf.shape, leaf.dtype) for one, leaf in drawn])
        (params, held, masks, start), stacked = spread((params, held, masks, start), stacked, axis=1)
        count = len(jax.tree.leaves(masks)[0])
        blocks = [jax.tree.map(lambda mask, block=block: mask[block], masks) for block in range(count)]
        return [self._of_block(params, held, stacked, shares, start, block) for block in blocks]

    def _of_block(
        self, params: Params, held: Params, batches: Batch, shares: np.ndarray, start: Params, mask: Params
    ) -> Estimate:
        first = _begun(jax.tree.map(jnp.multiply, mask, start))

        def step(carry: Carry, weight: Any) -> Any:
            return self._step(params, held, batches, jnp.asarray(shares, jnp.float32), mask, carry, weight)

        found = top_eigenvalue(step, first, self.tolerance, self.most)
        scatter = 0.0
        if len(shares) > 1:
            carry = first
            for weight in found.weights:  # the same recurrence again, for the vector that was not kept
                carry, _ = step(carry, float(weight))
            along = step(_begun(carry.gathered), 0.0)[1].told
            scatter = from_samples(np.asarray(along, np.float64), shares).error
        return Estimate(np.float64(found.value), np.hypot(scatter, found.error))

    @cached_property
    def _step(self) -> Any:
        """One product with the mean Hessian, and the curvature of every microbatch along the vector; compiled once."""

        def step(
            params: Params, held: Params, batches: Batch, shares: Array, mask: Params, carry: Carry, weight: Any
        ) -> Any:
            loss = holding(self.loss, held)

            def mean_product(vector: Params) -> tuple[Params, Array]:
                def add(so_far: Params, part: tuple[Batch, Array]) -> tuple[Params, Array]:
                    batch, share = part
                    image = loss_product(loss, params, batch)(vector)
                    mean = jax.tree.map(lambda sum_, leaf: sum_ + share.astype(leaf.dtype) * leaf, so_far, image)
                    return mean, dot(image, vector)

                nothing = jax.tree.map(jnp.zeros_like, vector)
                mean, along = jax.lax.scan(add, nothing, (batches, shares))
                return jax.tree.map(jnp.multiply, mask, mean), along

            return extended(mean_product, carry, weight)

        return jax.jit(step)
