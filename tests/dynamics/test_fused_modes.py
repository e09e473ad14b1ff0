"""The kernel of all steps against the loop, without a GPU: interpreted, and lowered for one."""

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest

from linsim.dynamics.modes import fused_modes
from linsim.dynamics.modes.chains import Target
from linsim.dynamics.modes.descent_modes import Modes
from linsim.dynamics.modes.fused_modes import descend, in_one_kernel
from linsim.dynamics.modes.mode_steps import Constants, Moving, loop
from linsim.phase import Phase

ODD = (11, 47)  # 517 modes of all lanes: two whole blocks and a rest


def drawn(depth, shape, dtype="float64", *, decay=False, momentum=False):
    """Constants and chains of every kind."""
    draw = np.random.default_rng(depth)

    def array(low, high):
        return jnp.asarray(draw.uniform(low, high, shape), dtype)

    layers = tuple(array(-0.3, 0.4) for _ in range(depth))
    constants = Constants(
        aim=array(0.0, 0.02),
        slope=array(0.01, 0.05) if depth == 1 else None,
        decay=array(0.0, 0.01) if decay else None,
        pull=array(0.0, 0.01) if decay else None,
        home=tuple(array(-0.3, 0.4) for _ in range(depth)) if decay else None,
        momentum=array(0.3, 0.7) if momentum else None,
    )
    return constants, Moving(layers, tuple(array(-0.01, 0.01) for _ in range(depth)) if momentum else None)


def pallas_calls(jaxpr):
    """Every kernel of a program, those of inner programs included."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "pallas_call":
            yield equation
        else:
            for inner in jax.extend.core.jaxprs_in_params(equation.params):
                yield from pallas_calls(inner)


@pytest.mark.sampled(5)
@pytest.mark.parametrize("steps", [0, 23])
@pytest.mark.parametrize(
    ("depth", "kind", "nesterov"),
    [
        *((depth, {}, False) for depth in (1, 2, 3, 4)),
        (2, {"decay": True}, False),
        (3, {"momentum": True}, False),
        (2, {"decay": True, "momentum": True}, True),
    ],
)
def test_one_kernel_for_all_steps_equals_the_loop(depth, kind, nesterov, steps):
    constants, moving = drawn(depth, ODD, **kind)
    kernel = in_one_kernel(constants, moving, steps, nesterov, interpret=True)
    plain = loop(constants, moving, steps, nesterov)
    assert jax.tree.structure(kernel) == jax.tree.structure(plain)
    for ours, expected in zip(jax.tree.leaves(kernel), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-14)  # 23 steps of numbers below 1, 1e-16 each


def test_the_kernel_keeps_float32():
    constants, moving = drawn(2, ODD, "float32")
    kernel, plain = in_one_kernel(constants, moving, 23, interpret=True), loop(constants, moving, 23)
    for ours, expected in zip(kernel.layers, plain.layers, strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-6)  # 23 steps of numbers below 1, 6e-8 each


@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
def test_lanes_of_a_vmap_are_modes_of_one_kernel(shared, monkeypatch):
    monkeypatch.setattr(fused_modes, "_descend", lambda *a, nesterov: in_one_kernel(*a, nesterov, interpret=True))
    constants, moving = drawn(2, ODD)
    if shared:
        constants = jax.tree.map(lambda leaf: leaf[0], constants)

    def run(constants, moving):
        return jax.vmap(lambda c, m: descend(c, m, 9, False), (None if shared else 0, 0))(constants, moving)

    (kernel,) = pallas_calls(jax.make_jaxpr(run)(constants, moving).jaxpr)
    assert kernel.params["grid_mapping"].grid == (3,)  # blocks of 256 for 11 x 47 modes
    spread = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, ODD), constants)
    for ours, expected in zip(run(constants, moving).layers, loop(spread, moving, 9).layers, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-14)  # as above


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_solver_lowers_for_a_gpu_to_one_kernel_without_a_loop_around_it(dtype, monkeypatch):
    monkeypatch.setattr(fused_modes, "_on_gpu", lambda: True)
    solver = Modes()
    target = Target(jnp.ones(7, dtype), jnp.ones(7, dtype))

    def tune(chains, rate, steps):
        phase = Phase(rate, product_penalty=rate, weight_penalty=rate, weight_decay=rate, momentum=rate, nesterov=True)
        return solver.state(solver.advance(solver.begin(chains, phase), target, phase, steps, None))

    traced = jax.jit(jax.vmap(tune, (0, 0, None))).trace(jnp.ones((9, 3, 7), dtype), jnp.ones(9, dtype), np.int32(5))
    programs = {platform: traced.lower(lowering_platforms=(platform,)).as_text() for platform in ("cuda", "cpu")}
    calls = {platform: text.count("xla.gpu.triton(") for platform, text in programs.items()}
    loops = {platform: text.count("stablehlo.while(") for platform, text in programs.items()}
    assert calls == {"cuda": 1, "cpu": 0}
    assert loops == {"cuda": 0, "cpu": 2}
