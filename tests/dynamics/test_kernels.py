"""Kernels against the programs of XLA, whose numbers they must make, on every width of vectors that is here."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linsim import network
from linsim.dynamics.kernels import host, threads
from linsim.dynamics.kernels.descending import descended, modes_descended
from linsim.dynamics.kernels.vectors import Code, Registers
from linsim.dynamics.matrices.dense import Dense
from linsim.dynamics.matrices.gram import Gram
from linsim.dynamics.modes.descent_modes import Carry, Modes
from linsim.dynamics.modes.mode_steps import Moving, loop
from linsim.phase import Phase
from linsim.problem import Problem, stack_seeds
from linsim.tasks import LinearTask, Transfer
from tests.dynamics.test_fused_modes import drawn

pytestmark = pytest.mark.skipif(host.bits() is None, reason="kernels need a processor with AVX2")

WIDTHS = [wide for wide in (256, 512) if wide <= (host.bits() or 0)]
STEPS, LANES = 30, 5
ROUNDING = {"float64": 1e-12, "float32": 1e-5}
"""Of the largest entry: 30 stable steps of sums of some forty numbers, 1e-16 or 6e-8 each."""
ALL = {"product_penalty": 0.4, "weight_penalty": 0.3, "weight_decay": 0.2}
NESTEROV = {"momentum": 0.8, "nesterov": True}
KINDS = {
    "plain": ((16, 16, 16), {}, False),
    "odd, another S": ((17, 5, 33), {"product_penalty": 0.5}, True),
    "all penalties and momentum": ((9, 12, 7), ALL | {"momentum": 0.7}, False),
    "four layers, Nesterov, another S": ((7, 20, 19, 3, 18), ALL | NESTEROV, True),
    "eight layers": ((3,) * 9, {"weight_decay": 0.1}, False),
    "one row, one column": ((1, 40, 1), {"weight_penalty": 0.3}, True),
    "far wider than both sides": ((8, 300, 9), {}, False),
}


def dense_problem(widths, coloured):
    rng = np.random.default_rng(len(widths))
    inputs, outputs = widths[0], widths[-1]
    samples = rng.normal(size=(inputs, 2 * inputs + 1)) / np.sqrt(2 * inputs + 1)
    covariance = {"input_covariance": samples @ samples.T} if coloured else {}
    tasks = [LinearTask.from_target(rng.normal(size=(outputs, inputs)) / 4, **covariance) for _ in range(2)]
    seeds = stack_seeds([network.gaussian(widths, 0.8, key) for key in jax.random.split(jax.random.key(0), LANES)])
    return Problem(Transfer(*tasks), seeds, Phase(0.01), Phase(0.01), np.asarray([1]), STEPS)


def both(solver, problem, phase, swept, dtype, wide, steps=STEPS):
    """Carries of a kernel and of XLA, a lane a seed."""
    encoded = solver.encode(problem, np.dtype(dtype))
    swept = {name: jnp.asarray(values, dtype) for name, values in swept.items()}
    phase = phase.as_dtype(np.dtype(dtype))
    carry = jax.vmap(lambda state, values: solver.begin(state, phase.put(values)))(encoded.initial, swept)
    # The second task moves from elsewhere than where the penalties hold it.
    advance = jax.jit(
        jax.vmap(lambda one, values: solver.advance(one, encoded.finetune, phase.put(values), np.int32(steps), None))
    )
    registers = host.registers(dtype, wide)
    return descended(registers, solver, carry, encoded.finetune, phase, swept, steps), advance(carry, swept)


def assert_alike(found, expected, dtype):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        size = np.max(np.abs(theirs), initial=1e-300)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=ROUNDING[dtype] * float(size))


@pytest.mark.sampled(12)
@pytest.mark.parametrize("wide", WIDTHS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", KINDS)
def test_matrices_by_a_kernel_are_those_of_xla(kind, dtype, wide):
    widths, numbers, coloured = KINDS[kind]
    rates = np.geomspace(1e-3, 2e-2, LANES)
    found, expected = both(
        Dense(), dense_problem(widths, coloured), Phase(0.01, **numbers), {"learning_rate": rates}, dtype, wide
    )
    assert_alike(found, expected, dtype)


def test_wide_layers_in_their_own_basis_and_a_swept_penalty():
    problem, strengths = dense_problem((5, 60, 6), True), {"product_penalty": np.linspace(0, 1, LANES)}
    assert_alike(*both(Gram(), problem, Phase(0.01, product_penalty=0.0), strengths, "float64", WIDTHS[-1]), "float64")


@pytest.mark.sampled(8)
@pytest.mark.parametrize("wide", WIDTHS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("depth", "kind", "nesterov"),
    [
        *((depth, {}, False) for depth in (2, 3, 8)),
        (3, {"decay": True}, False),
        (4, {"momentum": True}, False),
        (2, {"decay": True, "momentum": True}, True),
    ],
)
def test_modes_by_a_kernel_are_those_of_the_loop(depth, kind, nesterov, dtype, wide):
    constants, moving = drawn(depth, (7, 47), dtype, **kind)
    begun = Carry(moving, jnp.ones((7, 47), dtype), None)
    found = modes_descended(host.registers(dtype, wide), constants, begun, STEPS, nesterov)
    assert_alike(found.moving, loop(constants, moving, STEPS, nesterov), dtype)


def test_a_kernel_of_modes_takes_what_the_solver_gives():
    problem = replace(
        dense_problem((4, 4, 4), False), initial=stack_seeds([network.identity((4, 4, 4), tau=2.0)] * LANES)
    )
    tasks = [LinearTask.from_target(np.diag([3.0, 2.0, 1.0, size])) for size in (0.5, 2.0)]
    problem = replace(problem, transfer=Transfer(*tasks))
    swept = {"learning_rate": np.geomspace(1e-3, 2e-2, LANES)}
    phase = Phase(0.01, **ALL, momentum=0.5)
    assert_alike(*both(Modes(), problem, phase, swept, "float64", WIDTHS[-1]), "float64")


def test_what_is_too_small_for_full_precision_counts_as_nothing_as_in_xla():
    tiny = np.float32(1e-39)
    constants, moving = drawn(2, (1, 64), "float32")
    moving = Moving((jnp.full((1, 64), tiny), moving.layers[1]), None)
    begun = Carry(moving, jnp.ones((1, 64), "float32"), None)
    constants = constants._replace(aim=jnp.zeros((1, 64), "float32"))
    found = modes_descended(host.registers("float32", WIDTHS[-1]), constants, begun, 1, False).moving
    np.testing.assert_array_equal(found.layers[0], np.asarray(jax.jit(loop)(constants, moving, 1).layers[0]))
    np.testing.assert_array_equal(found.layers[0], 0)
    assert np.float32(1e-39) * np.float32(1) > 0  # and the thread that called it keeps them


def test_lanes_are_the_same_whoever_computes_them_and_with_whom(monkeypatch):
    problem, swept = dense_problem((6, 7, 5), True), {"learning_rate": np.geomspace(1e-3, 2e-2, LANES)}
    given = Dense(), problem, Phase(0.01, momentum=0.5), swept, "float64", WIDTHS[-1]
    monkeypatch.setattr(threads, "_cores", lambda: 1)
    alone, _ = both(*given)
    monkeypatch.setattr(threads, "_cores", lambda: 3)
    shared, _ = both(*given)
    swept["learning_rate"] = np.where(np.arange(LANES) == 2, 1e9, swept["learning_rate"])
    diverged, _ = both(*given)
    assert not np.isfinite(diverged.moving[0][2]).all()
    for one, other, beside in zip(*map(jax.tree.leaves, (alone, shared, diverged)), strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(np.delete(one, 2, axis=0), np.delete(beside, 2, axis=0))


def test_a_then_b_steps_are_a_and_b_steps_and_none_are_none():
    problem, phase = dense_problem((6, 7, 5), False), Phase(0.01, weight_penalty=0.2, momentum=0.5)
    encoded = Dense().encode(problem, np.float64)
    registers, begun = (
        host.registers("float64", WIDTHS[-1]),
        jax.vmap(lambda state: Dense().begin(state, phase))(encoded.initial),
    )

    def after(carry, steps):
        return descended(registers, Dense(), carry, encoded.finetune, phase, {}, steps)

    assert int(after(begun, 7).step[0]) == 7
    for ours, theirs in zip(jax.tree.leaves(after(after(begun, 3), 4)), jax.tree.leaves(after(begun, 7)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(jax.tree.leaves(after(begun, 0)), jax.tree.leaves(begun), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_integers_are_summed_where_they_are_known():
    code = Code(Registers("float32", 512, 32))
    assert code.whole((3, 4), 5, (2, 1)) == 19
    assert code.whole() == 0
