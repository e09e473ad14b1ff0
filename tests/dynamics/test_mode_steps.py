"""The step by hand against the gradient of the loss, and against optax."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linsim import losses
from linsim.dynamics import descent
from linsim.dynamics.modes.chains import Chains, Target
from linsim.dynamics.modes.descent_modes import Modes
from linsim.dynamics.modes.mode_steps import Moving, descent_of, in_own_unit, loop, step
from linsim.phase import REGULARIZERS, Phase

DEPTHS = [1, 2, 3, 4]
CHAINS, SOLVER = Chains(), Modes()
ALL = {"product_penalty": 0.4, "weight_penalty": 0.3, "weight_decay": 0.2}
PENALTIES = [{}, *({name: ALL[name]} for name in REGULARIZERS), ALL]


def drawn(depth, seed, modes=5):
    """Chains, their anchor, and a task whose last mode has no strength and no variance."""
    draw = np.random.default_rng(seed)
    chains, anchor = draw.uniform(-1.5, 1.5, (2, depth, modes))
    strengths, variances = draw.uniform(0.2, 2.0, (2, modes))
    strengths[-1] = variances[-1] = 0
    return jnp.asarray(chains), jnp.asarray(anchor), Target(jnp.asarray(strengths), jnp.asarray(variances))


def traced(**numbers):
    """A phase with its numbers as arrays, as in a compiled program."""
    return jax.tree.map(jnp.asarray, Phase(**numbers))


def constants_of(phase, target, anchor):
    return in_own_unit(phase, target, anchor, CHAINS.product(anchor), len(anchor))


def objective(chains, anchor, target, phase):
    """What a phase descends, from the formulas of `linsim.losses`."""
    value = CHAINS.loss(chains, target)
    if phase.product_penalty is not None:
        value += losses.product_penalty(CHAINS.product(chains), CHAINS.product(anchor), phase.product_penalty)
    if phase.weight_penalty is not None:
        value += losses.weight_penalty(chains, anchor, phase.weight_penalty)
    if phase.weight_decay is not None:
        value += losses.weight_decay(chains, phase.weight_decay)
    return value


@pytest.mark.sampled(6)
@pytest.mark.parametrize("penalties", PENALTIES, ids=lambda penalties: "+".join(penalties) or "none")
@pytest.mark.parametrize("depth", DEPTHS)
@settings(max_examples=5)
@given(seed=st.integers(0, 2**32 - 1), rate=st.floats(1e-6, 1.0))
def test_the_step_by_hand_is_the_gradient_of_the_loss_with_its_penalties(depth, penalties, seed, rate):
    chains, anchor, target = drawn(depth, seed)
    phase = traced(learning_rate=rate, **penalties)
    unit, constants = constants_of(phase, target, anchor)
    changes = jnp.stack([each / unit for each in descent_of(constants, tuple(unit * layer for layer in chains))])
    expected = rate * jax.grad(objective)(chains, anchor, target, phase)
    # A dozen roundings of numbers of at most 1.5^4 each; differences may cancel, so relative to the largest.
    np.testing.assert_allclose(changes, expected, rtol=0, atol=1e-12 * float(jnp.max(jnp.abs(expected))))


@pytest.mark.sampled(4)
@pytest.mark.parametrize("changes", [{}, {"momentum": 0.6}, {"momentum": 0.6, "nesterov": True}], ids=str)
@pytest.mark.parametrize("depth", DEPTHS)
def test_the_loop_by_hand_is_the_loop_of_optax(depth, changes):
    chains, _, target = drawn(depth, seed=depth)
    phase = traced(learning_rate=0.02, **ALL, **changes)

    @partial(jax.jit, static_argnames="begin")
    def final(begin, steps):
        return SOLVER.state(SOLVER.advance(begin(0.3 * chains, phase), target, phase, steps, jax.random.key(0)))

    for steps in (0, 1, 75):  # none, the remainder alone, several passes and a remainder
        by_hand, by_optax = final(SOLVER.begin, steps), final(descent.begin, steps)
        np.testing.assert_allclose(by_hand, by_optax, rtol=0, atol=1e-13)  # 75 stable steps at 1e-16 each


@pytest.mark.parametrize("velocity", [False, True])
@pytest.mark.parametrize("depth", DEPTHS)
def test_several_steps_in_one_pass_are_as_many_single_steps(depth, velocity):
    chains, anchor, target = drawn(depth, seed=7)
    phase = traced(learning_rate=0.02, product_penalty=0.4, momentum=0.5 if velocity else None)
    _, constants = constants_of(phase, target, anchor)
    layers = tuple(0.3 * chains)
    here = Moving(layers, tuple(jnp.zeros_like(layer) for layer in layers) if velocity else None)
    looped = jax.jit(loop)(constants, here, 37)
    for _ in range(37):
        here = step(constants, here)
    for ours, expected in zip(jax.tree.leaves(looped), jax.tree.leaves(here), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-14)  # products and sums may be fused: 37 x 1e-16


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_mode_that_nothing_pulls_stays_where_it_is(depth):
    chains, _, target = drawn(depth, seed=3)
    phase = traced(learning_rate=0.1)
    final = SOLVER.state(SOLVER.advance(SOLVER.begin(0.5 * chains, phase), target, phase, 50, None))
    # Into its unit and back: two roundings.
    np.testing.assert_allclose(final[:, -1], 0.5 * chains[:, -1], rtol=1e-15)
    assert np.all(np.abs(final - 0.5 * chains)[:, :-1].max(axis=0) > 1e-3)


def test_a_carry_remembers_the_anchor_only_for_penalties():
    chains, _, _ = drawn(2, seed=0)
    assert SOLVER.begin(chains, Phase(0.1, weight_decay=0.1, momentum=0.5)).anchor is None
    for name in ("product_penalty", "weight_penalty"):
        np.testing.assert_array_equal(SOLVER.begin(chains, Phase(0.1, **{name: 0.1})).anchor, chains)
