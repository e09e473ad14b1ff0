"""Public functions compute in float64 whatever JAX is set to, and nothing else changes that setting."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import tour
from experiments.command import doctor
from linsim import network
from linsim.dynamics.matrices.matrix_flow import matrix_flow
from linsim.dynamics.modes.deep_mode_flow import deep_mode_flow
from linsim.dynamics.modes.mode_flow import mode_flow, rise_time
from linsim.errors import InvalidInput
from linsim.precision import computing_in, in_float64, require_platform
from linsim.sweeping.sweep import chart, sweep
from linsim.theory.noise_turning import noise_inflection
from linsim.theory.stages import critical_time, stage_losses, tuned, tuned_limit
from tests.problems import aligned_problem

SIGMA = np.array([2.0, 1.0, 0.3])
START = SIGMA / 1e3
PROBLEM = aligned_problem(seeds=1, budgets=(5, 40), finetune_steps=30)

PUBLIC = {
    "identity": lambda: network.identity((3, 4, 3), 2.0),
    "balanced": lambda: network.balanced((3, 4, 3), 0.1, jax.random.key(0)),
    "lambda_balanced": lambda: network.lambda_balanced((3, 3, 3), 0.1, 0.5, jax.random.key(0)),
    "gaussian": lambda: network.gaussian((3, 4, 3), 0.1, jax.random.key(0)),
    "mode_flow": lambda: mode_flow(START, SIGMA, 1.0, 0.7),
    "deep_mode_flow": lambda: deep_mode_flow(START, SIGMA, 1.0, 0.7, 3),
    "rise_time": lambda: rise_time(SIGMA, START),
    "matrix_flow": lambda: matrix_flow((np.eye(3) / 10, np.eye(3) / 10), np.diag(SIGMA), 0.7),
    "tuned": lambda: tuned(START, SIGMA, 0.5, 0.7),
    "tuned_limit": lambda: tuned_limit(START, SIGMA, 0.5),
    "critical_time": lambda: critical_time(SIGMA, 4 * SIGMA, 0.5),
    "stage_losses": lambda: stage_losses(SIGMA, 4 * SIGMA, 0.5),
    "noise_inflection": lambda: noise_inflection(SIGMA, START, 0.1, 0.1, 10.0),
    "sweep": lambda: sweep(PROBLEM, {"learning_rate": [1e-3, 1e-2]}),
    "chart": lambda: chart(PROBLEM, np.array([1e-3, 1e-2]), np.array([0.0, 1.0])),
}


def numbers(result):
    """All of them, as they are."""
    if hasattr(result, "data_vars"):
        return [variable.values for variable in result.data_vars.values()]
    return [np.asarray(leaf) for leaf in jax.tree.leaves(result)]


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_function_gives_the_same_numbers_whatever_jax_is_set_to(name):
    expected = numbers(PUBLIC[name]())
    with jax.enable_x64(False):
        found = numbers(PUBLIC[name]())
        assert not jax.config.jax_enable_x64
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_inside_a_compiled_program_the_one_who_compiles_it_has_decided():
    inside = in_float64(lambda x: jnp.ones(2) * x)
    with jax.enable_x64(False):
        assert jax.jit(inside)(jnp.float32(2)).dtype == jnp.float32
        assert inside(jnp.float32(2)).dtype == jnp.float64


def test_a_module_for_users_has_the_precision_that_they_are_in():
    with jax.enable_x64(False):
        module = network.LinearNetwork(network.gaussian((3, 4, 3), 0.1, jax.random.key(0)))
        assert module(jnp.ones((5, 3))).dtype == jnp.float32  # and no warning, which would be an error


def test_a_precision_ends_where_it_was_asked_for():
    before = jax.config.jax_enable_x64
    for precision in ("float32", "float64"):
        with computing_in(precision):
            assert jnp.ones(1).dtype == precision
        assert jax.config.jax_enable_x64 == before


def test_who_stops_at_every_nan_means_their_own_programs():
    with jax.debug_nans(True), jax.debug_infs(True):
        diverging = chart(
            aligned_problem(seeds=1, budgets=(5, 40), finetune_steps=60), np.array([1e-3, 5.0]), np.zeros(1)
        )
        assert jax.config.jax_debug_nans
        assert jax.config.jax_debug_infs
    assert diverging["diverged"].values.any() != diverging["diverged"].values.all()


@pytest.mark.parametrize("error", [RuntimeError("Unable to initialize backend 'tpu'"), AssertionError()])
def test_a_platform_that_is_not_here_is_one_line(error, monkeypatch, capsys):
    def devices():
        raise error

    monkeypatch.setattr(jax, "devices", devices)
    monkeypatch.setattr("linsim.precision.require_platform", require_platform.__wrapped__)  # which is asked once
    with pytest.raises(InvalidInput, match="^JAX_PLATFORMS: got cpu; allowed: a platform that is here"):
        network.identity((2, 2), 1.0)
    assert tour.main([]) == doctor.main([]) == 2
    assert [line[:13] for line in capsys.readouterr().err.splitlines()] == ["JAX_PLATFORMS"] * 2
