"""What is measured of a checkpoint: losses on both languages, the rise under noise, and the monitors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from linsim.measures.estimates import Estimate
from linsim.measures.perturbation import gaussian, perturbed_increase
from linsim.monitoring.measuring import Monitor
from linsim.monitoring.predictive import CROSS_ENTROPY, Predictive

from .config import MonitorSettings
from .language import Language, Tables, draw_text
from .model import Model, Params, excess_loss, stream_scale, stream_scaled

MEASURES = ("fisher", "empirical_fisher", "gradient_square", "hessian_trace", "top_eigenvalue", "noise_increase")
"""Monitors that are read, by their names in `linsim.monitoring`."""

DIVERGED = 10.0
"""A run whose final excess loss is not finite, or above this multiple of uniform guessing's, has diverged."""

_UNDER_NOISE = 64  # sequences: the same ones for all draws, which differ far more than texts do


class Losses(NamedTuple):
    """Excess losses of checkpoints in nats a token, over leading axes of checkpoints."""

    pretrain: Float[np.ndarray, "..."]
    kept: Float[np.ndarray, "..."]
    """Pre-training loss at the contexts that fine-tuning does not change."""
    finetune: Float[np.ndarray, "..."]


class Evaluation(NamedTuple):
    """A model with the fixed texts on which it is measured: common random numbers for all checkpoints."""

    model: Model
    tables: tuple[Tables, Tables]
    """Of pre-training and of fine-tuning."""
    texts: tuple[Int[Array, "sequences length"], Int[Array, "sequences length"]]
    ceiling: float
    """Excess loss above which a run has diverged."""

    @classmethod
    def of(cls, model: Model, languages: tuple[Language, Language], sequences: int, key: PRNGKeyArray) -> Evaluation:
        """Draw the texts."""
        kept, length = languages[1].kept, model.shape.context
        tables = languages[0].tables(kept), languages[1].tables(kept)
        first, second = (
            draw_text(table, one, sequences, length + 1)
            for table, one in zip(tables, jax.random.split(key), strict=True)
        )
        guessing = max(np.log(model.tokens) - language.entropy(length) for language in languages)
        return cls(model, tables, (first, second), DIVERGED * float(guessing))

    def losses_of_lanes(self, params: Params) -> Losses:
        """Of parameters with one leading axis."""
        return Losses(*jax.device_get(_losses(self.model, self.tables, self.texts, params)))

    def losses(self, checkpoints: Params) -> Losses:
        """Of all checkpoints, over (budget, seed)."""
        alone = _per_checkpoint(
            lambda params: self.losses_of_lanes(jax.tree.map(lambda leaf: leaf[None], params)), checkpoints
        )
        return Losses(*(values[..., 0] for values in alone))

    def diverged(self, losses: Losses) -> Bool[np.ndarray, "..."]:
        """Which of these losses are those of a run that has diverged."""
        worst = np.maximum(losses.pretrain, losses.finetune)
        return ~(np.isfinite(worst) & (worst <= self.ceiling))

    def rises(
        self, checkpoints: Params, key: PRNGKeyArray, scales: Sequence[float], relative: bool, pairs: int
    ) -> Estimate:
        """How noise raises the pre-training loss of every checkpoint, over (budget, seed, scale)."""
        gammas, text = jnp.asarray(scales, jnp.float32), self.texts[0][:_UNDER_NOISE]
        measure = partial(_rises, self.model, relative, pairs, self.tables[0], text, key, gammas)
        return _per_checkpoint(measure, checkpoints)

    def at_first_scale(self, checkpoints: Params) -> tuple[Params, Float[np.ndarray, "budgets seeds"]]:
        """Checkpoints that compute the same with the residual stream of the first budget's scale, and their scales."""
        scales = jax.vmap(jax.vmap(stream_scale))(checkpoints)
        return jax.vmap(jax.vmap(stream_scaled))(checkpoints, scales[:1] / scales), np.asarray(scales)

    def monitors(self, checkpoints: Params, settings: MonitorSettings, key: PRNGKeyArray) -> Estimate:
        """What every monitor says of every checkpoint, over (budget, seed, measure).

        All checkpoints are read on the same held-out text with the same draws. Where the loss is not finite there is
        nothing to read: NaN.
        """
        for_text, for_probes = jax.random.split(key)
        count, length = settings.microbatches, self.model.shape.context + 1
        texts = draw_text(self.tables[0], for_text, count * settings.sequences, length)
        batches = [(text[:, :-1], text[:, 1:]) for text in jnp.split(texts, count)]
        monitor = _monitor(self.model, settings.probes, settings.noise, settings.lanczos)

        def read(params: Params) -> Estimate:
            if not np.isfinite([monitor.loss(params, batch) for batch in batches]).all():
                return Estimate(*np.full((2, len(MEASURES)), np.nan))
            reading = monitor.measure(params, batches, for_probes)
            pairs = np.asarray([jax.device_get(reading[name]) for name in MEASURES], np.float64)
            return Estimate(pairs[:, 0], pairs[:, 1])

        return _per_checkpoint(read, checkpoints)


@cache
def _monitor(model: Model, probes: int, noise: float, lanczos: int) -> Monitor:
    """Compiled once for all checkpoints, of any run."""
    loss = Predictive(jax.jit(model.logits), CROSS_ENTROPY)
    return Monitor(loss, MEASURES, probes=probes, noise=noise, lanczos=lanczos)


@partial(jax.jit, static_argnames="model")
def _losses(
    model: Model, tables: tuple[Tables, Tables], texts: tuple[Array, Array], params: Params
) -> tuple[Float[Array, " lanes"], Float[Array, " lanes"], Float[Array, " lanes"]]:
    def measure(params: Params) -> tuple[Array, Array, Array]:
        first, second = (excess_loss(model, params, table, text) for table, text in zip(tables, texts, strict=True))
        return first.all, first.kept, second.all

    return jax.vmap(measure)(params)


@partial(jax.jit, static_argnames=("model", "relative", "pairs"))
def _rises(
    model: Model, relative: bool, pairs: int, tables: Tables, text: Array, key: Array, scales: Array, params: Params
) -> Estimate:
    """The mean rise of the excess loss under noise of each scale; the same directions serve all scales."""

    def rise(scale: Array) -> Estimate:
        noise = gaussian(scale, relative=relative)
        return perturbed_increase(
            lambda moved: excess_loss(model, moved, tables, text).all, params, key, noise, pairs, antithetic=True
        )

    return jax.lax.map(rise, scales)


def _per_checkpoint(measure: Callable[[Params], Any], checkpoints: Params) -> Any:
    """Measure checkpoint after checkpoint; the results keep the two leading axes."""
    shape = jax.tree.leaves(checkpoints)[0].shape[:2]
    rows = [measure(jax.tree.map(lambda leaf, at=at: leaf[at], checkpoints)) for at in np.ndindex(shape)]
    return jax.tree.map(lambda *leaves: np.stack(leaves).reshape(shape + leaves[0].shape), *rows)
