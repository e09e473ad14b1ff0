"""A synthetic language with a long tail, whose every probability is known.

Each token depends on the two before it, the *context*: p(x | a, b) ~ c_x exp(beta B_bx + tau T_abx), with B and T
drawn once from N(0, 1). Token k has a frequency proportional to k^-exponent (Zipf's law) exactly: that fixes c. There
are three layers to learn, each rarer than the one before: frequencies of tokens, effects of the last token, effects of
the context. Contexts have a long tail too: the longer training goes on, the rarer those that are learned.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from linsim.errors import require, require_integer, require_number

Where = Literal["any", "rare", "frequent"]

_MOST_TOKENS = 256  # the table of a language has tokens^3 entries
_CONVERGED = 1e-14  # of probabilities: some roundings of float64


class Tables(NamedTuple):
    """A language in float32, for programs that draw from it."""

    first: Float[Array, " contexts"]
    """Cumulative frequencies of contexts; context a, b is row a x tokens + b."""
    following: Float[Array, "contexts tokens"]
    """Cumulative probabilities of the next token."""
    logs: Float[Array, "contexts tokens"]
    """log p(x | a, b)."""
    logs_at_start: Float[Array, "tokens tokens"]
    """log p(x | b), where nothing is known of a."""
    kept: Bool[Array, " contexts"]
    """Contexts that follow the same law in both languages of a pair."""


@dataclass(frozen=True)
class Language:
    """Probabilities of a language, in float64."""

    weights: Float[np.ndarray, " tokens"]
    """c."""
    last: Float[np.ndarray, "tokens tokens"]
    """beta B, over (last token, next token)."""
    context: Float[np.ndarray, "tokens tokens tokens"]
    """tau T, over (token before the last, last token, next token)."""
    kept: Bool[np.ndarray, "tokens tokens"]
    """Contexts that follow the language this one was shifted from."""

    @cached_property
    def following(self) -> Float[np.ndarray, "tokens tokens tokens"]:
        """p(x | a, b), over (a, b, x)."""
        odds = self.weights * np.exp(self.last + self.context)
        return odds / odds.sum(axis=-1, keepdims=True)

    @cached_property
    def frequencies(self) -> Float[np.ndarray, "tokens tokens"]:
        """The stationary frequency of every context."""
        return _stationary(self.following)

    def entropy(self, length: int) -> float:
        """The smallest possible cross-entropy, in nats a token, when `length` tokens are predicted after a first one.

        H = (H(x | b) + (length - 1) H(x | a, b)) / length: of what precedes the first token nothing is known.
        """
        at_start = _at_start(self.frequencies, self.following)
        of_pairs = -np.sum(self.frequencies.sum(axis=0)[:, None] * at_start * np.log(at_start))
        of_contexts = -np.sum(self.frequencies[..., None] * self.following * np.log(self.following))
        return float(of_pairs + (length - 1) * of_contexts) / length

    def shifted(self, share: float, where: Where, seed: int) -> Language:
        """The same language with new effects T for a share of its contexts.

        Args:
          share: of the contexts, in [0, 1], rounded to a whole number of them.
          where: which ones: drawn at random, the rarest, or the most frequent.
          seed: of the draw.
        """
        require_number("shift", share, at_least=0, at_most=1)
        require(where in get_args(Where), "where", where, f"one of {', '.join(get_args(Where))}")
        generator = np.random.default_rng(seed)
        rarest_first = np.argsort(self.frequencies, axis=None, kind="stable")
        anyhow = generator.permutation(rarest_first)
        order = {"any": anyhow, "rare": rarest_first, "frequent": rarest_first[::-1]}[where]
        changed = np.zeros_like(self.kept)
        changed.flat[order[: round(share * changed.size)]] = True
        drawn = self.context.std() * generator.standard_normal(self.context.shape)
        return replace(self, context=np.where(changed[..., None], drawn, self.context), kept=~changed)

    def tables(self, kept: Bool[np.ndarray, "tokens tokens"] | None = None) -> Tables:
        """What is needed to draw from the language; `kept` is that of a language shifted from it, for both alike."""
        rows = self.following.reshape(-1, len(self.weights))
        kept = self.kept if kept is None else kept
        return Tables(
            first=jnp.asarray(np.cumsum(self.frequencies.ravel()), jnp.float32),
            following=jnp.asarray(np.cumsum(rows, axis=-1), jnp.float32),
            logs=jnp.asarray(np.log(rows), jnp.float32),
            logs_at_start=jnp.asarray(np.log(_at_start(self.frequencies, self.following)), jnp.float32),
            kept=jnp.asarray(kept.ravel()),
        )


def draw_language(tokens: int, exponent: float, last: float, context: float, seed: int) -> Language:
    """A language at random.

    Args:
      tokens: size of the vocabulary.
      exponent: of Zipf's law of the tokens.
      last: beta, standard deviation of the effect of the last token on log-odds.
      context: tau, standard deviation of the effect of the context.
      seed: of the draw.

    Raises:
      InvalidInput: a value outside its domain.
    """
    require_integer("tokens", tokens, at_least=2, at_most=_MOST_TOKENS)
    require_number("exponent", exponent, at_least=0, at_most=4)
    require_number("last", last, at_least=0, at_most=4)
    require_number("context", context, at_least=0, at_most=4)
    generator = np.random.default_rng(seed)
    effects = last * generator.standard_normal((tokens, tokens))
    in_context = context * generator.standard_normal((tokens, tokens, tokens))
    zipf = np.arange(1, tokens + 1, dtype=np.float64) ** -exponent
    zipf /= zipf.sum()
    language = Language(zipf, effects, in_context, np.ones((tokens, tokens), bool))
    for _ in range(1000):
        found = language.frequencies.sum(axis=0)
        if np.abs(found - zipf).max() < _CONVERGED:
            break
        language = replace(language, weights=language.weights * zipf / found)
    return language


def draw_text(tables: Tables, key: PRNGKeyArray, sequences: int, length: int) -> Int[Array, "sequences length"]:
    """Stretches of text, each beginning anywhere: the first two tokens are a context by its frequency."""
    tokens = tables.following.shape[-1]
    chances = jax.random.uniform(key, (length - 1, sequences), jnp.float32)

    def step(context: Array, chance: Array) -> tuple[Array, Array]:
        # Cumulative sums end within rounding of 1: the last token takes the rest.
        following = jnp.sum(tables.following[context, :-1] <= chance[:, None], axis=-1, dtype=jnp.int32)
        return context % tokens * tokens + following, following

    contexts = jnp.searchsorted(tables.first[:-1], chances[0], side="right").astype(jnp.int32)
    _, rest = jax.lax.scan(step, contexts, chances[1:])
    return jnp.concatenate([(contexts // tokens)[:, None], (contexts % tokens)[:, None], rest.T], axis=1)


def true_logs(tables: Tables, text: Int[Array, "sequences length"]) -> Float[Array, "sequences length tokens"]:
    """log p of the next token after every token of a text, given all before it."""
    rest = tables.logs[contexts_of(tables, text)]
    return jnp.concatenate([tables.logs_at_start[text[:, :1]], rest], axis=1)


def contexts_of(tables: Tables, text: Int[Array, "sequences length"]) -> Int[Array, "sequences length-1"]:
    """Which context the second and every later token of a text completes."""
    return text[:, :-1] * tables.following.shape[-1] + text[:, 1:]


def _at_start(
    frequencies: Float[np.ndarray, "tokens tokens"], following: Float[np.ndarray, "tokens tokens tokens"]
) -> Float[np.ndarray, "tokens tokens"]:
    """p(x | b)."""
    return np.einsum("ab,abx->bx", frequencies, following) / frequencies.sum(axis=0)[:, None]


def _stationary(following: Float[np.ndarray, "tokens tokens tokens"]) -> Float[np.ndarray, "tokens tokens"]:
    """Frequencies with f_bx = sum_a f_ab p(x | a, b), by iteration: every context reaches every other in two steps."""
    frequencies = np.full(following.shape[:2], 1 / following[..., 0].size)
    for _ in range(1000):
        moved = np.einsum("ab,abx->bx", frequencies, following)
        if np.abs(moved - frequencies).max() < _CONVERGED:
            break
        frequencies = moved
    return frequencies / frequencies.sum()
