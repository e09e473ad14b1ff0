"""The synthetic language: its entropy, its long tail, its shift."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest

from experiments.transformer.language import contexts_of, draw_language, draw_text, true_logs
from linsim.errors import InvalidInput

TOKENS, LENGTH = 7, 9


@pytest.fixture(scope="module")
def language():
    return draw_language(TOKENS, 1.0, 1.0, 1.5, seed=0)


@pytest.fixture(scope="module")
def text(language):
    return np.asarray(draw_text(language.tables(), jax.random.key(0), 20_000, LENGTH + 1))


def test_token_frequencies_follow_zipf_exactly(language):
    zipf = 1 / np.arange(1, TOKENS + 1)
    # The iteration stops at 1e-14, absolute; the rarest token has 1/18 of all.
    np.testing.assert_allclose(language.frequencies.sum(axis=0), zipf / zipf.sum(), rtol=1e-12)


def test_context_frequencies_are_those_of_a_dense_markov_chain(language):
    # Contexts as states of a chain with an explicit 49 x 49 matrix; its left eigenvector to eigenvalue 1.
    chain = np.zeros((TOKENS,) * 4)
    for a, b in itertools.product(range(TOKENS), repeat=2):
        odds = language.weights * np.exp(language.last[b] + language.context[a, b])
        chain[a, b, b] = odds / odds.sum()
    values, vectors = np.linalg.eig(chain.reshape(TOKENS**2, TOKENS**2).T)
    leading = vectors[:, np.argmax(values.real)].real
    np.testing.assert_allclose(language.frequencies.ravel(), leading / leading.sum(), rtol=1e-10)


def test_default_contexts_have_a_long_tail():
    frequencies = np.sort(draw_language(64, 1.0, 1.0, 1.5, seed=0).frequencies, axis=None)[::-1]
    ranks = np.arange(1, frequencies.size + 1)
    slope = np.polyfit(np.log(ranks[9:1000]), np.log(frequencies[9:1000]), 1)[0]
    assert -1.2 < slope < -0.9  # a power law of about -1 over two decades of ranks, then a steeper end
    assert frequencies[:100].sum() < 0.6  # 2 % of all contexts leave much of the text to the others
    assert frequencies[2048:].sum() > 0.02


def test_entropy_is_the_cross_entropy_of_the_true_probabilities(language, text):
    logs = np.asarray(true_logs(language.tables(), text[:, :-1]))
    surprise = -np.take_along_axis(logs, text[:, 1:, None], axis=-1)[..., 0].mean(axis=1)
    error = surprise.std(ddof=1) / np.sqrt(len(surprise))
    assert error < 0.005
    assert abs(surprise.mean() - language.entropy(LENGTH)) < 4 * error


def test_true_probabilities_are_those_counted_in_text(language, text):
    logs = np.asarray(true_logs(language.tables(), text[:, :-1]))
    for position in (0, 1, LENGTH - 1):  # the start, where one token is known, and two places with a whole context
        before = text[:, max(position - 1, 0) : position + 1]
        chosen = np.all(before == before[0], axis=1)
        counted = np.bincount(text[chosen, position + 1], minlength=TOKENS) / chosen.sum()
        expected = np.exp(logs[0, position])
        assert chosen.sum() > 200
        error = np.sqrt(expected * (1 - expected) / chosen.sum())
        assert np.all(np.abs(counted - expected) < 4 * error)


def test_text_is_stationary(language, text):
    expected = language.frequencies.ravel()
    for position in (0, LENGTH - 1):
        contexts = np.asarray(contexts_of(language.tables(), text[:, position : position + 2]))
        counted = np.bincount(contexts.ravel(), minlength=expected.size) / len(text)
        error = np.sqrt(expected * (1 - expected) / len(text))
        assert np.all(np.abs(counted - expected) < 4.5 * error)  # 98 comparisons


def test_shift_changes_exactly_the_stated_share_of_contexts(language):
    for share, where in itertools.product((0.0, 0.3, 1.0), ("any", "rare", "frequent")):
        shifted = language.shifted(share, where, seed=1)
        changed = np.any(shifted.following != language.following, axis=-1)
        assert changed.sum() == round(share * TOKENS**2)
        np.testing.assert_array_equal(changed, ~shifted.kept)
        np.testing.assert_array_equal(shifted.tables().kept, shifted.kept.ravel())


def test_rare_and_frequent_shifts_take_the_ends_of_the_ranking(language):
    frequencies = language.frequencies
    rare, frequent = (~language.shifted(0.4, where, seed=1).kept for where in ("rare", "frequent"))
    assert frequencies[rare].max() <= frequencies[~rare].min()
    assert frequencies[frequent].min() >= frequencies[~frequent].max()


def test_a_shifted_language_knows_its_own_frequencies_and_entropy(language):
    shifted = language.shifted(0.5, "any", seed=1)
    moved = np.einsum("ab,abx->bx", shifted.frequencies, shifted.following)
    np.testing.assert_allclose(moved, shifted.frequencies, atol=1e-13)
    assert abs(shifted.entropy(LENGTH) - language.entropy(LENGTH)) > 1e-3


def test_without_effects_of_context_the_language_is_drawn_token_by_token():
    plain = draw_language(TOKENS, 1.0, 0.0, 0.0, seed=0)
    zipf = 1 / np.arange(1, TOKENS + 1)
    zipf /= zipf.sum()
    np.testing.assert_allclose(plain.entropy(1), -np.sum(zipf * np.log(zipf)), rtol=1e-12)
    np.testing.assert_allclose(plain.entropy(50), plain.entropy(1), rtol=1e-12)


def test_the_same_seed_gives_the_same_language_and_another_seed_another():
    first, again, other = (draw_language(TOKENS, 1.0, 1.0, 1.5, seed=seed) for seed in (3, 3, 4))
    for name in (field.name for field in dataclasses.fields(first)):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert np.abs(first.context - other.context).max() > 1


@pytest.mark.parametrize(
    ("change", "field"),
    [((1, 1.0, 1.0, 1.0), "tokens"), ((7, -1.0, 1.0, 1.0), "exponent"), ((7, 1.0, 9.0, 1.0), "last")],
)
def test_values_outside_their_domain_are_refused(change, field):
    with pytest.raises(InvalidInput, match=f"^{field}: got"):
        draw_language(*change, seed=0)


def test_a_share_above_one_is_refused(language):
    with pytest.raises(InvalidInput, match="^shift: got 1.5"):
        language.shifted(1.5, "any", seed=0)
    with pytest.raises(InvalidInput, match="^where: got odd; allowed: one of any, rare, frequent"):
        language.shifted(0.5, "odd", seed=0)
