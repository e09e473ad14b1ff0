"""Sampled losses against their exact expectations, and their standard errors against repetition."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linsim.errors import InvalidInput
from linsim.losses import end_to_end, population_loss
from linsim.measures import sensitivity
from linsim.measures.perturbation import gaussian, perturbed_increase, perturbed_loss, uniform

SAMPLES = 4000


def problem(widths, seed=0):
    rng = np.random.default_rng(seed)
    weights = tuple(
        jnp.asarray(rng.standard_normal((rows, columns)) / np.sqrt(columns))
        for columns, rows in itertools.pairwise(widths)
    )
    factor = rng.standard_normal((widths[0], widths[0]))
    target, covariance = rng.standard_normal((widths[-1], widths[0])), factor @ factor.T / widths[0]
    return weights, target, covariance, lambda w: population_loss(w, jnp.asarray(target), jnp.asarray(covariance))


def scales_of(weights, kind):
    """Scales as `gaussian` takes them and as `expected_loss` does."""
    each = [0.1 + 0.1 * l for l in range(len(weights))]
    if kind == "one":
        return 0.2, 0.2
    if kind == "layers":
        return tuple(each), each
    rows = [gamma * jnp.arange(1, weight.shape[0] + 1) for gamma, weight in zip(each, weights, strict=True)]
    return tuple(gamma[:, None] for gamma in rows), rows


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("widths", "kind", "antithetic"),
    [
        ((4, 3), "rows", True),
        ((5, 4, 3), "one", False),
        ((3, 2, 4, 2), "layers", True),
        ((2, 3, 1, 3, 2), "rows", False),
    ],
)
def test_samples_agree_with_the_exact_expectation(widths, kind, antithetic):
    weights, target, covariance, loss = problem(widths)
    scale, exact_scale = scales_of(weights, kind)
    run = {"samples": SAMPLES, "antithetic": antithetic, "batch_size": 500}
    of_loss = perturbed_loss(loss, weights, jax.random.key(0), gaussian(scale), **run)
    of_increase = perturbed_increase(loss, weights, jax.random.key(1), uniform(scale), **run)
    exact = sensitivity.expected_loss(weights, target, exact_scale, covariance)
    increase = sensitivity.expected_increase(weights, exact_scale, covariance)
    assert abs(of_loss.mean - exact) < 4.5 * of_loss.error
    # Uniform noise of the same variance has the same mean, exactly.
    assert abs(of_increase.mean - increase) < 4.5 * of_increase.error
    assert of_loss.error < 0.1 * exact  # else the lines above would say nothing
    assert of_increase.error < 0.15 * increase


@pytest.mark.parametrize("make", [gaussian, uniform])
def test_relative_noise_is_that_of_relative_scales(make):
    weights, _, covariance, loss = problem((5, 4, 3))
    weights = (10 * weights[0], weights[1])
    found = perturbed_increase(
        loss, weights, jax.random.key(0), make((0.3, 0.1), relative=True), SAMPLES, antithetic=True, batch_size=500
    )
    exact = sensitivity.expected_increase(weights, sensitivity.relative_scales(weights, (0.3, 0.1)), covariance)
    assert abs(found.mean - exact) < 4.5 * found.error
    assert found.error < 0.05 * exact


@pytest.mark.parametrize("antithetic", [False, True])
def test_standard_errors_cover_the_truth_as_often_as_they_say(antithetic):
    weights, target, covariance, loss = problem((3, 4, 2))
    exact = sensitivity.expected_loss(weights, target, 0.2, covariance)
    repeats, samples = 400, 200
    keys = jax.random.split(jax.random.key(3), repeats)
    mean, error = jax.jit(
        jax.vmap(
            lambda key: perturbed_loss(
                loss, weights, key, gaussian(0.2), samples, antithetic=antithetic, batch_size=samples
            )
        )
    )(keys)
    within = np.mean(np.abs(mean - exact) < 2 * error)
    # 95.4 % for normal means; skewed losses cost a per cent, and 400 repeats give it a standard error of 1 %.
    assert 0.91 < within < 0.985
    # The error itself: 1 / sqrt(2 * 400) = 3.5 % for its spread over repeats, kurtosis of the losses aside.
    assert np.std(mean, ddof=1) == pytest.approx(np.sqrt(np.mean(error**2)), rel=0.15)


def test_pairs_help_away_from_minima_and_not_at_them():
    weights, _, _, _ = problem((6, 6, 6))
    product = end_to_end(weights)

    def ratio(target, gamma):
        """Error of pairs over that of single draws, at equal numbers of evaluations."""
        run = lambda samples, antithetic: perturbed_increase(  # noqa: E731
            lambda w: population_loss(w, target), weights, jax.random.key(0), gaussian(gamma), samples,
            antithetic=antithetic, batch_size=500,
        )  # fmt: skip
        return float(run(2000, True).error / run(4000, False).error)

    away = jnp.zeros_like(product)
    assert ratio(away, 1e-3) < 0.02
    assert ratio(away, 0.1) < 1
    assert ratio(product, 1e-3) == pytest.approx(np.sqrt(2), rel=0.1)  # the errors of errors of 2000 draws are 3 %


def test_of_one_layer_pairs_leave_the_square_of_the_noise():
    # (L(W + Z) + L(W - Z)) / 2 - L(W) = ||Z||^2: the mean is the variance of all noise, whatever the residual.
    weights = (1e3 * jnp.ones((2, 3)),)
    found = perturbed_increase(
        lambda w: population_loss(w, jnp.zeros((2, 3))), weights, jax.random.key(0), gaussian(0.5), 2000,
        antithetic=True, batch_size=500,
    )  # fmt: skip
    # ||Z||^2 has mean 6 gamma^2 and variance 12 gamma^4.
    np.testing.assert_allclose(found.error, 0.25 * np.sqrt(12 / 2000), rtol=0.1)
    assert abs(found.mean - 1.5) < 4.5 * found.error


def test_batches_and_compilation_change_rounding_only_and_more_samples_extend_fewer():
    weights, _, _, loss = problem((3, 4, 2))
    draw = gaussian(0.1)

    def run(key, samples, batch_size):
        return perturbed_loss(loss, weights, key, draw, samples, batch_size=batch_size)

    one = run(jax.random.key(5), 10, 1)
    for other in (run(jax.random.key(5), 10, 4), jax.jit(run, static_argnums=(1, 2))(jax.random.key(5), 10, 7)):
        np.testing.assert_allclose(other, one, rtol=1e-12)
    # The first ten of eleven: their mean is what the eleventh leaves.
    eleven = run(jax.random.key(5), 11, 1)
    last = draw(jax.random.split(jax.random.key(5), 11)[10], weights)
    np.testing.assert_allclose(11 * eleven.mean - 10 * one.mean, loss(last), rtol=1e-10)


def test_any_tree_and_any_perturbation():
    params = {"layer": {"weight": jnp.ones((2, 3)), "bias": jnp.zeros(2)}, "steps": jnp.asarray(7)}
    moved = gaussian({"layer": 0.1, "steps": 0.0}, relative=True)(jax.random.key(0), params)
    assert moved["steps"] == 7  # whole numbers stay
    np.testing.assert_array_equal(moved["layer"]["bias"], 0)  # zeros have no size
    assert 0.01 < jnp.std(moved["layer"]["weight"]) < 0.3
    single = gaussian(0.1)(jax.random.key(0), jnp.ones(3, jnp.float32))
    assert single.dtype == jnp.float32

    def dropped(key, params):
        return jax.tree.map(lambda leaf: leaf * jax.random.bernoulli(key, 0.5), params)

    found = perturbed_loss(lambda p: jnp.sum(p), jnp.asarray(2.0), jax.random.key(1), dropped, 1000, batch_size=100)
    assert abs(found.mean - 1) < 4.5 * found.error
    np.testing.assert_allclose(found.error, 1 / np.sqrt(1000), rtol=0.05)


def test_leaves_draw_noise_of_their_own_and_uniform_noise_is_bounded():
    first, second = gaussian(1.0)(jax.random.key(0), (jnp.zeros(100), jnp.zeros(100)))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.45  # 4.5 / sqrt(100)
    noise = np.asarray(uniform(0.5)(jax.random.key(0), jnp.zeros(10_000)))
    assert np.abs(noise).max() <= 0.5 * np.sqrt(3)
    np.testing.assert_allclose(noise.std(), 0.5, rtol=0.03)  # its standard error is 0.45 %


def test_a_key_gives_every_checkpoint_the_same_noise():
    weights, _, _, loss = problem((3, 4, 2))
    layers = tuple(jnp.stack([weight, weight, 2 * weight]) for weight in weights)
    found = jax.vmap(lambda *w: perturbed_increase(loss, w, jax.random.key(0), gaussian(0.1), 50))(*layers)
    np.testing.assert_allclose(found.mean[0], found.mean[1], rtol=1e-13)
    assert found.mean[2] != found.mean[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda w: gaussian(-0.1), "scale: got -0.1; allowed: finite numbers >= 0"),
        (lambda w: gaussian((0.1, float("nan"))), "scale: got nan"),
        (lambda w: gaussian((0.1,) * 3)(jax.random.key(0), w), "scale: got .*; allowed: one number, or a tree"),
        (lambda w: gaussian(np.ones(2))(jax.random.key(0), w), r"scale: got shape \(2,\); allowed: a number, or a sh"),
        (lambda w: gaussian(np.ones((3, 1)))(jax.random.key(0), w), r"scale: got shape \(3, 1\); allowed: a number"),
        (lambda w: perturbed_loss(jnp.sum, w, jax.random.key(0), gaussian(0.1), 0), "samples: got 0; allowed: an int"),
        (
            lambda w: perturbed_loss(jnp.sum, w, jax.random.key(0), gaussian(0.1), 1, batch_size=0),
            "batch_size: got 0; allowed: an integer >= 1",
        ),
        (
            lambda w: perturbed_loss(lambda moved: moved[0], w, jax.random.key(0), gaussian(0.1), 2),
            r"loss: got a result of shape \(2, 2\); allowed: a scalar",
        ),
    ],
)
def test_bad_input_is_one_clear_line(call, message):
    with pytest.raises(InvalidInput, match=message):
        call((jnp.ones((2, 2)), jnp.ones((2, 2))))
