"""The transformer as a function of its parameters, its training, and what is measured of it, at a size of seconds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from experiments.transformer import build
from experiments.transformer.config import Shape
from experiments.transformer.language import draw_text, true_logs
from experiments.transformer.measuring import MEASURES, Evaluation
from experiments.transformer.model import Model, Recipe, excess_loss, stream_scaled, train
from experiments.transformer.training import _begin, finetune, pretrain
from linsim.measures.estimates import Estimate
from linsim.monitoring.measuring import Monitor
from tests.experiments.transformer.small import CONFIG

RATE = CONFIG.pretrain.learning_rate


@pytest.fixture(scope="module")
def laboratory():
    return build(CONFIG)


@pytest.fixture(scope="module")
def trained(laboratory):
    """Checkpoints of 10 and 25 steps, of two seeds."""
    keys = jax.random.split(jax.random.key(5), 2)
    return pretrain(laboratory.model, laboratory.regimes[0], RATE, np.asarray([10, 25]), keys, keys, 1)


@pytest.fixture(scope="module")
def params(trained):
    return jax.tree.map(lambda leaf: leaf[1, 0], trained)


@pytest.fixture(scope="module")
def logits(laboratory):
    """(params, text) -> logits."""
    return jax.jit(laboratory.model.logits)


@pytest.fixture(scope="module")
def measured(laboratory):
    return Evaluation.of(laboratory.model, laboratory.languages, CONFIG.evaluation, jax.random.key(2))


def test_no_position_sees_a_later_token(logits, measured, params):
    text = np.asarray(measured.texts[0][:, :-1])
    before = logits(params, text)
    for position in range(6):
        other = np.where(np.arange(6) == position, (text + 1) % 6, text)
        changed = logits(params, other)
        np.testing.assert_array_equal(changed[:, :position], before[:, :position])
        assert np.all(np.any(changed[:, position:] != before[:, position:], axis=-1))


def test_the_default_model_has_a_few_hundred_thousand_parameters_in_float32():
    model = Model(Shape(), 64)
    params = jax.eval_shape(model.draw, jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.float32)}
    # Embeddings in and out, positions; per block attention 4 d^2, perceptron 8 d^2, two norms; a last norm.
    assert model.parameters() == 2 * 64 * 96 + 32 * 96 + 2 * (12 * 96**2 + 2 * 96) + 96


def test_the_excess_loss_is_the_cross_entropy_less_the_entropy(laboratory, logits, params):
    model, language = laboratory.model, laboratory.languages[0]
    tables = language.tables()
    text = draw_text(tables, jax.random.key(2), 20_000, 7)
    odds = np.asarray(logits(params, text[:, :-1]))
    logs = odds - np.log(np.exp(odds).sum(axis=-1, keepdims=True))
    surprise = -np.take_along_axis(logs, np.asarray(text[:, 1:, None]), axis=-1)[..., 0].mean(axis=1)
    error = surprise.std(ddof=1) / np.sqrt(len(surprise))
    assert error < 0.01
    excess = jax.jit(excess_loss, static_argnums=0)(model, params, tables, text)
    assert abs(float(excess.all) - (surprise.mean() - language.entropy(6))) < 4 * error


def test_the_excess_loss_of_the_truth_is_zero(laboratory, monkeypatch):
    tables = laboratory.regimes[0].tables
    text = draw_text(tables, jax.random.key(2), 16, 7)
    monkeypatch.setattr(Model, "logits", lambda self, params, text: true_logs(tables, text) + 3.0)
    losses = excess_loss(laboratory.model, None, tables, text)
    np.testing.assert_allclose(losses, 0, atol=1e-6)  # rounding of float32 sums of six terms of order 1


def test_kept_loss_counts_only_contexts_that_the_shift_leaves_alone(laboratory, monkeypatch):
    before, after = (regime.tables for regime in laboratory.regimes)
    text = draw_text(before, jax.random.key(2), 16, 7)
    monkeypatch.setattr(Model, "logits", lambda self, params, text: true_logs(after, text))
    losses = excess_loss(laboratory.model, None, before, text)
    # Who knows the shifted language is right at the kept contexts, and only there.
    assert float(losses.kept) < 1e-6
    assert float(losses.all) > 0.1


@pytest.mark.thorough("by tests/monitoring/test_measuring.py on smaller models")
def test_noise_and_monitors_agree_with_a_dense_hessian(laboratory, trained, measured):
    model, tables = laboratory.model, laboratory.regimes[0].tables
    checkpoint = jax.tree.map(lambda leaf: leaf[1:, :1], trained)
    flat, unflatten = ravel_pytree(jax.tree.map(lambda leaf: leaf[0, 0], checkpoint))

    def gradient(point):
        return jax.grad(lambda at: excess_loss(model, unflatten(at), tables, measured.texts[0]).all)(point)

    def dense():
        return jax.lax.map(jax.linearize(gradient, flat)[1], jnp.eye(flat.size, dtype=flat.dtype), batch_size=104)

    hessian = np.asarray(jax.jit(dense)(), np.float64)
    leaves = jax.tree.map(lambda leaf: jnp.full(leaf.shape, jnp.mean(leaf**2)), unflatten(flat))
    squares = np.asarray(ravel_pytree(leaves)[0], np.float64)
    scales = (0.005, 0.01)
    for relative, variances in ((False, np.ones(flat.size)), (True, squares)):
        rise = measured.rises(checkpoint, jax.random.key(3), scales, relative, 60)
        for place, scale in enumerate(scales):
            expected = scale**2 * np.vdot(variances, np.diag(hessian)) / 2
            # The next order is smaller by about (gamma / weight)^2 = 1e-3.
            assert abs(rise.mean[0, 0, place] - expected) < 4 * rise.error[0, 0, place]
            assert rise.error[0, 0, place] < 0.25 * expected
    # Monitors see other text of the same language, 128 sequences for 64: their error is less than both together.
    reading = measured.monitors(checkpoint, CONFIG.monitors, jax.random.key(4))
    for name, expected in (("hessian_trace", np.trace(hessian)), ("top_eigenvalue", np.linalg.eigvalsh(hessian)[-1])):
        value, error = (part[0, 0, MEASURES.index(name)] for part in reading)
        assert abs(value - expected) < 4 * np.sqrt(3) * error, name
        assert error < 0.15 * expected, name


def test_readings_are_in_the_order_of_measures_seeds_and_budgets(measured, trained, monkeypatch):
    def measure(self, params, batches, key):
        mark = float(jnp.sum(params["embedding"]["embedding"][...]))
        return {name: Estimate(mark + at, at) for at, name in reversed(list(enumerate(MEASURES)))}

    monkeypatch.setattr(Monitor, "measure", measure)
    reading = measured.monitors(trained, CONFIG.monitors, jax.random.key(3))
    marks = np.asarray(trained["embedding"]["embedding"][...].sum(axis=(2, 3)))
    for at in range(len(MEASURES)):
        np.testing.assert_allclose(reading.mean[..., at], marks + at, rtol=1e-5)  # float32
        np.testing.assert_array_equal(reading.error[..., at], at)


def test_a_checkpoint_without_a_finite_loss_is_not_read(measured, trained, monkeypatch):
    ones = {name: Estimate(1.0, 0.0) for name in MEASURES}
    monkeypatch.setattr(Monitor, "measure", lambda self, params, batches, key: ones)
    broken = jax.tree.map(lambda leaf: leaf.at[1, 0].set(jnp.nan), trained)
    reading = measured.monitors(broken, CONFIG.monitors, jax.random.key(3))
    np.testing.assert_array_equal(np.isnan(reading.mean[..., 0]), [[False, False], [True, False]])


def test_scaling_the_residual_stream_leaves_the_function_as_it_is(logits, measured, params):
    text = measured.texts[0][:, :-1]
    other = stream_scaled(params, jnp.float32(3))
    # The 1e-6 beside the mean square of the stream, about 0.25, is felt before the scaling.
    np.testing.assert_allclose(logits(other, text), logits(params, text), atol=1e-4)
    changed = [bool(np.any(a != b)) for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(other), strict=True)]
    assert sum(changed) == 4  # two embeddings, and two matrices of the one block


def test_checkpoints_at_their_first_scale_start_as_they_are_and_keep_it(measured, trained):
    same, scales = measured.at_first_scale(trained)
    _, levelled = measured.at_first_scale(same)
    np.testing.assert_allclose(levelled, np.stack([scales[0]] * 2), rtol=1e-6)
    assert np.all(scales[1] != scales[0])
    for leaf, other in zip(jax.tree.leaves(trained), jax.tree.leaves(same), strict=True):
        np.testing.assert_array_equal(leaf[0], other[0])
    np.testing.assert_allclose(measured.losses(same).pretrain, measured.losses(trained).pretrain, rtol=1e-4)


def test_training_in_pieces_is_the_same_run_as_training_straight_through(laboratory, trained):
    keys = jax.random.split(jax.random.key(5), 2)
    straight = pretrain(laboratory.model, laboratory.regimes[0], RATE, np.asarray([25]), keys, keys, 1)
    for first, second in zip(jax.tree.leaves(trained), jax.tree.leaves(straight), strict=True):
        np.testing.assert_array_equal(first[1], second[0])
        assert np.any(first[0] != first[1])


def _one_step(laboratory, key, taken, warmup):
    """The change of the parameters over a single step of Adam from rest, after `taken` steps are said to be over."""
    model, regime = laboratory.model, laboratory.regimes[0]
    run = _begin(model, jax.random.split(jax.random.key(0), 1))._replace(steps=jnp.full(1, taken, jnp.int32))
    recipe = Recipe(jnp.full(1, 0.01, jnp.float32), jnp.full(1, warmup, jnp.float32))
    before = ravel_pytree(run.params)[0]
    after = train(model, run, regime.tables, recipe, key[None], regime.batch, np.int32(1))
    return np.asarray(ravel_pytree(after.params)[0] - before)


def test_the_rate_rises_linearly_over_the_warm_up(laboratory):
    # The first step of Adam moves every parameter with a gradient by the rate; 1 is the scale of the norms, in float32.
    for taken, share in ((0, 0.2), (2, 0.6), (4, 1.0), (40, 1.0)):
        change = _one_step(laboratory, jax.random.key(1), taken, 5)
        np.testing.assert_allclose(np.abs(change).max(), 0.01 * share, rtol=1e-4)


def test_every_step_and_every_key_has_its_own_text(laboratory):
    key, other = jax.random.key(1), jax.random.key(2)
    first = _one_step(laboratory, key, 0, 1)
    np.testing.assert_array_equal(first, _one_step(laboratory, key, 0, 1))
    assert np.any(first != _one_step(laboratory, key, 1, 1))
    assert np.any(first != _one_step(laboratory, other, 0, 1))


def test_seeds_have_their_own_text(laboratory):
    model, regime = laboratory.model, laboratory.regimes[0]
    same, texts = jnp.stack([jax.random.key(5)] * 2), jax.random.split(jax.random.key(6), 2)
    trained = jax.tree.leaves(pretrain(model, regime, RATE, np.asarray([10]), same, texts, 1))
    assert all(np.any(leaf[0, 0] != leaf[0, 1]) for leaf in trained)


def test_runs_that_step_together_are_those_that_step_alone(laboratory, trained, measured):
    keys = jax.random.split(jax.random.key(5), 2)
    together = pretrain(laboratory.model, laboratory.regimes[0], RATE, np.asarray([10, 25]), keys, keys, 2)
    for first, second in zip(jax.tree.leaves(trained), jax.tree.leaves(together), strict=True):
        # Products in another order: float32 rounding, which 25 steps of Adam at 0.01 enlarge.
        np.testing.assert_allclose(first, second, atol=2e-3)
    given = measured, laboratory.regimes[1], (1e-3, 1e-2), CONFIG.finetune.steps, trained, keys
    alone, pairs = (finetune(*given, lanes) for lanes in (1, 2))
    for first, second in zip(alone.losses, pairs.losses, strict=True):
        np.testing.assert_allclose(first, second, rtol=2e-3)
