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
from linsim.monitoring import probes
from linsim.monitoring.layers import Layers, chosen_in, holding, layers_of, masks_of, split, sums_of
from linsim.monitoring.other_task import OF_BOTH, readings, require_taken
from linsim.monitoring.predictive import Predictive
from linsim.monitoring.sharpness import Sharpness
from linsim.monitoring.trees import (
    Batch,
    Loss,
    Params,
    examples_in,
    leaves_of,
    parameters_of,
    require_scalar,
    spread,
    state_of,
)
from linsim.network import require_key

Reading = dict[str, Estimate]
"""What a monitor says of one checkpoint, by the names of its measures; of a layer by MEASURE@LAYER."""

OF_OUTPUTS: dict[str, probes.Probe] = {"fisher": probes.fisher, "gauss_newton": probes.gauss_newton}
OF_LOSSES: dict[str, probes.Probe] = {
    "empirical_fisher": probes.empirical_fisher,
    "hessian_trace": probes.hessian_trace,
}
MEASURES = (*OF_OUTPUTS, *OF_LOSSES, "gradient_square", "noise_increase", "top_eigenvalue")
"""Names of all measures of the loss alone; the mean loss is always told beside them."""


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
    top_eigenvalue    largest eigenvalue of H on these batches, not the one of largest size: by Lanczos until its
                      residual is `tolerance` of it; above that of all data where these are few, as maxima are
    finetune_loss     loss on the microbatches of `finetune`, of what is to be fine-tuned on, before it is
    loss_ratio        that over the mean loss: of squared errors the mean square of the factor by which fine-tuning will
                      change what is not learned yet (`linsim.forecasting.loss_ratio`)

    All of them are of the parameters that `params` chooses: the others are held, as frozen layers beside an adapter.
    With `by_layer` they are told of each layer as well, as MEASURE@LAYER: of its gradients, its diagonal block of the
    Hessian, noise on it alone.

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
    lanczos: int = 500
    """Most products with the Hessian for `top_eigenvalue`."""
    tolerance: float = 1e-3
    """Residual of `top_eigenvalue`, relative to it: H has an eigenvalue no further away."""
    params: str = ""
    """Which parameters, by a pattern as `linsim.monitoring.layers.chosen_in` takes it; empty for all."""
    by_layer: bool = False
    """Whether every measure is told of each layer as well."""
    stacked: str = ""
    """Pattern of arrays whose first axis runs over layers."""
    finetune: Sequence[Batch] | None = None
    """Microbatches of the fine-tuning task, which `finetune_loss` and `loss_ratio` need, and nothing else."""

    __repr__ = brief_fields

    def __post_init__(self) -> None:
        allowed = MEASURES if isinstance(self.loss, Predictive) else tuple(m for m in MEASURES if m not in OF_OUTPUTS)
        if self.finetune is not None:
            allowed += OF_BOTH
            some = "a list of microbatches of the fine-tuning task, at least one"
            require(len(listed("finetune", self.finetune, some)) > 0, "finetune", "none", some)
            for number, batch in enumerate(self.finetune):
                examples_in(batch, f"finetune[{number}]")
        require_callable("loss", self.loss, "a function loss(params, batch), or a `Predictive`")
        chosen = allowed if self.measures is None else listed("measures", self.measures, "a list of names")
        require(0 < len(chosen) == len({*map(str, chosen)}), "measures", brief(chosen), "at least one, each once")
        needed = "" if isinstance(self.loss, Predictive) else f"; {' and '.join(OF_OUTPUTS)} for a `Predictive` loss"
        needed += "" if self.finetune is not None else f"; {' and '.join(OF_BOTH)} where `finetune` is given"
        for name in chosen:
            require(name in allowed, "measures", name, f"{', '.join(allowed)}{needed}")
        object.__setattr__(self, "measures", chosen)
        require_integer("probes", self.probes, at_least=1, at_most=10**6)
        require_number("noise", self.noise, above=0, at_most=LARGEST)
        require_kind("relative", self.relative, bool)
        require_integer("lanczos", self.lanczos, at_least=2, at_most=10**4)
        require_number("tolerance", self.tolerance, above=0, below=1)
        require_kind("by_layer", self.by_layer, bool)
        for name in ("params", "stacked"):
            require_kind(name, getattr(self, name), str, "a regular expression, as text")
        require(self.by_layer or not self.stacked, "stacked", self.stacked, "empty, unless by_layer is set")

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
          InvalidInput: parameters that are not floating-point, or none that `params` chooses, no or an empty batch, a
            loss that is no scalar, a value that is not finite, microbatches of `finetune` that the loss does not take.
        """
        require_key(key)
        several = isinstance(batches, Iterable) and not isinstance(batches, str | bytes | Mapping)
        several &= getattr(batches, "ndim", 1) > 0
        require(several, "batches", brief(batches), "a list of microbatches")
        (params, held), keeps = self._chosen(model), "top_eigenvalue" in self._measures
        for_probes, for_start = jax.random.split(key)
        sizes: list[int] = []
        samples: list[dict[str, np.ndarray]] = []
        kept: list[Batch] = []
        for number, batch in enumerate(batches):
            sizes.append(self._size(batch))
            if number == 0:
                require_scalar(holding(self.loss, held), params, batch)
            placed, rows = spread((params, held), batch)
            taken = jax.device_get(self._sample(*placed, rows, jax.random.fold_in(for_probes, number)))
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
        for name in reading:
            if name.startswith("noise_increase"):  # the rounding of L(W) is the same in all probes
                rounding = np.finfo(samples[0]["loss"].dtype).eps * abs(reading["loss"].mean)
                mean, error = reading[name]
                reading[name] = Estimate(mean, np.hypot(error, rounding))
        layers = list(self._layers(params))
        if keeps:
            masks = self._masks(params)
            tops = self._sharpness.measure(params, held, kept, sizes, for_start, masks)
            reading |= dict(zip(_names("top_eigenvalue", layers), tops, strict=True))
        if self.finetune is not None and set(OF_BOTH) & {*self._measures}:
            counts = require_taken(holding(self.loss, held), params, self.finetune, self._size)
            reading |= readings(self._value, (params, held), self.finetune, counts, reading["loss"])
        split_up = [name for name in self._measures if name not in OF_BOTH]
        names = [*self._measures, "loss", *(f"{name}@{layer}" for name in split_up for layer in layers)]
        return {name: reading[name] for name in names}

    def _chosen(self, model: Any) -> tuple[Params, Params]:
        """The parameters that are measured and those that are held, each with None in place of the other."""
        tree = state_of(model)
        chosen, held = split(tree, chosen_in(leaves_of(tree), self.params))
        return parameters_of(chosen), jax.tree.map(jnp.asarray, held)

    def _layers(self, params: Params) -> Layers:
        return layers_of(params, self.stacked) if self.by_layer else {}

    def _masks(self, params: Params) -> Params:
        """Of all parameters, then of each layer."""
        masks = masks_of(params, self._layers(params))
        return jax.tree.map(lambda mask: np.concatenate([np.ones((1, *mask.shape[1:]), mask.dtype), mask]), masks)

    @property
    def _measures(self) -> tuple[str, ...]:
        return tuple(self.measures or ())

    @cached_property
    def _sample(self) -> Any:
        """(params, held, batch, key) -> samples of every measure on one microbatch; compiled once for each shape."""
        wanted = {name: probe for name, probe in (OF_OUTPUTS | OF_LOSSES).items() if name in self._measures}

        def sample(params: Params, held: Params, batch: Batch, key: Array) -> dict[str, Array]:
            loss, layers = holding(self.loss, held), self._layers(params)

            def told(name: str, parts: Params) -> dict[str, Array]:
                sums = [probes.total(parts), *sums_of(parts, layers).values()]
                return dict(zip(_names(name, layers), sums, strict=True))

            def probe(one: Array) -> dict[str, Array]:
                drawn: dict[str, Array] = {}
                for name, take in wanted.items():
                    drawn |= told(name, take(loss, params, batch, one))
                if "noise_increase" in self._measures:

                    def increase(mask: Params) -> Array:
                        return probes.noise_increase(loss, params, batch, one, self.noise, self.relative, mask)

                    rises = jax.lax.map(increase, self._masks(params))
                    drawn |= dict(zip(_names("noise_increase", layers), rises, strict=True))
                return drawn

            value, gradient = jax.value_and_grad(loss)(params, batch)
            exact = {"loss": value} | told("gradient_square", jax.tree.map(jnp.square, gradient))
            return exact | jax.lax.map(probe, jax.random.split(key, self.probes))

        return jax.jit(sample)

    @cached_property
    def _value(self) -> Any:
        """((params, held), batch) -> mean loss; compiled once for each shape."""
        return jax.jit(lambda tree, batch: holding(self.loss, tree[1])(tree[0], batch))

    @cached_property
    def _sharpness(self) -> Sharpness:
        return Sharpness(self.loss, self.tolerance, self.lanczos)

    def _size(self, batch: Batch) -> int:
        """How much a microbatch counts."""
        examples = examples_in(batch)
        return self.loss.count(batch) if isinstance(self.loss, Predictive) else examples


def _names(measure: str, layers: Iterable[str]) -> list[str]:
    return [measure, *(f"{measure}@{layer}" for layer in layers)]


def _estimate(samples: Sequence[np.ndarray], sizes: Sequence[int]) -> Estimate:
    """Microbatches as independent samples; with one alone its probes, or no error where nothing is drawn."""
    together = np.stack(samples).astype(np.float64)
    if len(together) > 1:
        means = together.reshape(len(together), -1).mean(axis=1)
        return from_samples(means, np.asarray(sizes, np.float64))
    return from_samples(together[0]) if together.ndim == 2 else Estimate(together[0], np.float64(0.0))
