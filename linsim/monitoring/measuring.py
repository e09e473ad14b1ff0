"""A monitor: sensitivity and curvature of a loss at some parameters, over microbatches, with standard errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from linsim.errors import (
    LARGEST,
    brief,
    brief_fields,
    listed,
    require,
    require_callable,
    require_integer,
    require_kind,
    require_number,
)
from linsim.measures.estimates import Estimate, from_samples
from linsim.measures.matrix_free import curvature_along, top_eigenvalues
from linsim.measures.products import loss_product
from linsim.monitoring import probes
from linsim.monitoring.predictive import Predictive
from linsim.monitoring.trees import (
    Batch,
    Loss,
    Params,
    examples_in,
    parameters_of,
    require_scalar,
    shapes_of,
    spread,
)
from linsim.network import require_key

Reading = dict[str, Estimate]
"""What a monitor says of one checkpoint, by the names of its measures."""

OF_OUTPUTS: dict[str, probes.Probe] = {"fisher": probes.fisher, "gauss_newton": probes.gauss_newton}
OF_LOSSES: dict[str, probes.Probe] = {
    "empirical_fisher": probes.empirical_fisher,
    "hessian_trace": probes.hessian_trace,
}
MEASURES = (*OF_OUTPUTS, *OF_LOSSES, "gradient_square", "noise_increase", "top_eigenvalue")
"""Names of all measures; the mean loss is always told beside them."""


@dataclass(frozen=True, eq=False)
class Monitor:
    """Measures of how easily a model is harmed, for any mean loss over a tree of parameters.

    fisher            tr F, gradients of log-likelihood at targets drawn from the model; a `Predictive` only
    gauss_newton      tr G = 2 tr F for squared errors, tr F for cross-entropy; a `Predictive` only
    empirical_fisher  mean square of the gradients at the true targets, prediction by prediction, of log-likelihoods;
                      of a loss that is no `Predictive` of the loss itself, example by example: for squared errors
                      4 times as much
    gradient_square   square of the gradient of a microbatch's mean loss, what is often, wrongly, called Fisher trace;
                      it carries the scatter of single gradients over the microbatch's size
    hessian_trace     tr H
    noise_increase    E L(W + noise Z) - L(W), Z standard normal; relative noise leaves arrays of zeros alone
    top_eigenvalue    largest eigenvalue of H on these batches, by Lanczos: from below in the number of products, above
                      that of all data where these are few, as maxima are; its error knows neither

    Example:
      >>> from linsim.monitoring.predictive import SQUARED_ERROR
      >>> loss = Predictive(lambda params, inputs: inputs @ params, SQUARED_ERROR)
      >>> monitor = Monitor(loss, ("gauss_newton", "hessian_trace"))
      >>> batch = jnp.eye(2), jnp.zeros((2, 2))
      >>> reading = monitor.measure(jnp.eye(2), [batch], jax.random.key(0))
      >>> {name: round(float(estimate.mean), 3) for name, estimate in reading.items()}
      {'gauss_newton': 4.0, 'hessian_trace': 4.0, 'loss': 1.0}
    """

    loss: Loss
    """(params, batch) -> mean loss, a scalar; a `Predictive` allows all measures."""
    measures: Sequence[str] | None = None
    """Which to take; None takes all that the loss allows."""
    probes: int = 4
    """Random probes of each microbatch; each costs one to three gradients."""
    noise: float = 0.01
    """gamma of `noise_increase`."""
    relative: bool = True
    """Whether gamma is in units of the root mean square of each array of parameters, or absolute."""
    lanczos: int = 16
    """Products with the Hessian for `top_eigenvalue`."""

    __repr__ = brief_fields

    def __post_init__(self) -> None:
        allowed = MEASURES if isinstance(self.loss, Predictive) else tuple(m for m in MEASURES if m not in OF_OUTPUTS)
        require_callable("loss", self.loss, "a function loss(params, batch), or a `Predictive`")
        chosen = allowed if self.measures is None else listed("measures", self.measures, "a list of names")
        require(len(chosen) > 0, "measures", chosen, "at least one")
        needed = "" if isinstance(self.loss, Predictive) else f"; {' and '.join(OF_OUTPUTS)} for a `Predictive` loss"
        for name in chosen:
            require(name in allowed, "measures", name, f"{', '.join(allowed)}{needed}")
        object.__setattr__(self, "measures", chosen)
        require_integer("probes", self.probes, at_least=1, at_most=10**6)
        require_number("noise", self.noise, above=0, at_most=LARGEST)
        require_kind("relative", self.relative, bool)
        require_integer("lanczos", self.lanczos, at_least=2, at_most=10**4)

    def measure(self, model: Any, batches: Iterable[Batch], key: Array) -> Reading:
        """Take all measures at one checkpoint, microbatch after microbatch.

        The error is that between microbatches, of data and probes together; with a single microbatch that of the
        probes alone, given its data. Use one key for all checkpoints: common random numbers make smoother curves.

        Args:
          model: a tree of floating-point arrays, or a Flax module.
          batches: microbatches, at least one; examples along the first axis. They count by their predictions that
            count, for a loss that is no `Predictive` by their examples.
          key: of everything that is drawn.

        Raises:
          InvalidInput: parameters that are not floating-point, no or an empty batch, a loss that is no scalar, a value
            that is not finite.
        """
        require_key(key)
        several = isinstance(batches, Iterable) and not isinstance(batches, str | bytes | Mapping)
        several &= getattr(batches, "ndim", 1) > 0
        require(several, "batches", brief(batches), "a list of microbatches")
        params, keeps = parameters_of(model), "top_eigenvalue" in self._measures
        for_probes, for_start = jax.random.split(key)
        sizes: list[int] = []
        samples: list[dict[str, np.ndarray]] = []
        kept: list[Batch] = []
        for number, batch in enumerate(batches):
            sizes.append(self._size(batch))
            if number == 0:
                require_scalar(self.loss, params, batch)
            taken = jax.device_get(self._sample(*spread(params, batch), jax.random.fold_in(for_probes, number)))
            for name in ("loss", *taken):
                finite = bool(np.isfinite(taken[name]).all())
                require(finite, name, f"{np.mean(taken[name])} of batch {number}", "a finite number")
            samples.append(taken)
            if keeps:
                kept.append(batch)
        require(len(samples) > 0, "batches", "none", "at least one microbatch")
        enough = self.probes > 1 or len(samples) > 1
        require(enough, "probes", self.probes, "at least 2 with a single microbatch: one alone tells no error")
        reading = {name: _estimate([one[name] for one in samples], sizes) for name in samples[0]}
        if "noise_increase" in reading:  # the rounding of L(W) is the same in all probes
            rounding = np.finfo(samples[0]["loss"].dtype).eps * abs(reading["loss"].mean)
            mean, error = reading["noise_increase"]
            reading["noise_increase"] = Estimate(mean, np.hypot(error, rounding))
        if keeps:
            reading["top_eigenvalue"] = self._top_eigenvalue(params, kept, sizes, for_start)
        return {name: reading[name] for name in (*self._measures, "loss")}

    @property
    def _measures(self) -> tuple[str, ...]:
        return tuple(self.measures or ())

    @cached_property
    def _sample(self) -> Any:
        """(params, batch, key) -> samples of every measure on one microbatch; compiled once for each shape."""
        wanted = {name: probe for name, probe in (OF_OUTPUTS | OF_LOSSES).items() if name in self._measures}

        def sample(params: Params, batch: Batch, key: Array) -> dict[str, Array]:
            def probe(one: Array) -> dict[str, Array]:
                drawn = {name: take(self.loss, params, batch, one) for name, take in wanted.items()}
                if "noise_increase" in self._measures:
                    drawn["noise_increase"] = probes.noise_increase(
                        self.loss, params, batch, one, self.noise, self.relative
                    )
                return drawn

            value, gradient = jax.value_and_grad(self.loss)(params, batch)
            exact = {"loss": value, "gradient_square": probes.square(gradient)}
            return exact | jax.lax.map(probe, jax.random.split(key, self.probes))

        return jax.jit(sample)

    def _size(self, batch: Batch) -> int:
        """How much a microbatch counts."""
        examples = examples_in(batch)
        return self.loss.count(batch) if isinstance(self.loss, Predictive) else examples

    def _top_eigenvalue(self, params: Params, batches: Sequence[Batch], sizes: Sequence[int], key: Array) -> Estimate:
        """The largest eigenvalue of the mean Hessian over microbatches of one shape."""
        shapes = [str(shapes_of(batch)) for batch in batches]
        same = len(set(shapes)) == 1
        require(same, "batches", f"shapes {sorted(set(shapes))}", "microbatches of one shape, for top_eigenvalue")
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches)
        shares = jnp.asarray(np.asarray(sizes) / np.sum(sizes), jnp.float32)
        return Estimate(*self._lanczos(*spread(params, stacked, axis=1), shares, key))

    @cached_property
    def _lanczos(self) -> Any:
        def top(params: Params, batches: Batch, shares: Array, key: Array) -> tuple[Array, Array]:
            def mean_product(direction: Params) -> Params:
                each = jax.lax.map(lambda batch: loss_product(self.loss, params, batch)(direction), batches)
                return jax.tree.map(lambda leaf: jnp.tensordot(shares.astype(leaf.dtype), leaf, 1), each)

            found = top_eigenvalues(mean_product, params, key, count=1, steps=self.lanczos)
            vector = jax.tree.map(lambda leaf: leaf[0], found.vectors)

            def curvature(batch: Batch) -> Array:
                return curvature_along(loss_product(self.loss, params, batch), vector)

            # To first order the eigenvalue scatters over microbatches as the curvature along its own direction does.
            along = jax.lax.map(curvature, batches)
            scatter = from_samples(along, shares.astype(along.dtype)).error
            alone = jax.tree.leaves(batches)[0].shape[0] == 1
            return found.values[0], jnp.hypot(0.0 if alone else scatter, found.errors[0])

        return jax.jit(top)


def _estimate(samples: Sequence[np.ndarray], sizes: Sequence[int]) -> Estimate:
    """Microbatches as independent samples; with one alone its probes, or no error where nothing is drawn."""
    together = np.stack(samples).astype(np.float64)
    if len(together) > 1:
        means = together.reshape(len(together), -1).mean(axis=1)
        return from_samples(means, np.asarray(sizes, np.float64))
    return from_samples(together[0]) if together.ndim == 2 else Estimate(together[0], np.float64(0.0))
