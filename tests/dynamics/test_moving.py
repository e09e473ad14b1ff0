"""Parts of a phase, each against descent written out in NumPy, or stepped with optax alone, at depths 2 and 3."""

import itertools
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from linsim import losses
from linsim.dynamics.matrices.dense import Dense
from linsim.dynamics.moving.ascent import SharpnessAware
from linsim.dynamics.moving.averages import ExponentialAverage, TailAverage
from linsim.dynamics.moving.parameters import Layers, LowRank, Masked
from linsim.phase import Phase, Term
from tests.dynamics.by_hand import slopes, stepped
from tests.problems import gaussian_problem

RATE, STEPS = 0.02, 20
EXACT = 1e-10  # relative: 20 stable steps of 1e-16 each, with room for the order of sums
DENSE = Dense()
ADVANCE = jax.jit(DENSE.advance)
DEPTHS = pytest.mark.parametrize("depth", [2, 3])


def trained(depth, phase, pieces=(STEPS,), **changes):
    """The problem, its initial weights, and where `dense` stands after pieces of a phase, with its carry."""
    problem = gaussian_problem(depth, dim=4, seeds=1, scale=1.0, pretrain=phase, **changes)
    key, encoded = jax.random.key(3), DENSE.encode(problem, np.float64)
    start = tuple(weight[0] for weight in encoded.initial)
    carry = DENSE.begin(start, phase, key)
    for steps in pieces:
        carry = ADVANCE(carry, encoded.pretrain, phase.as_dtype(np.float64), steps, key)
    return problem, [np.asarray(weight) for weight in start], DENSE.state(carry), carry


def same(ours, theirs):
    """Whether two networks are the same to rounding."""
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=EXACT, atol=EXACT)


@DEPTHS
def test_exponential_average_is_evaluated_and_plain_descent_goes_on(depth):
    problem, weights, reached, carry = trained(depth, Phase(RATE, averaging=ExponentialAverage(0.8)), pieces=(7, 13))
    average = weights
    for _ in range(STEPS):
        weights = stepped(weights, RATE, slopes(weights, problem.transfer.pretrain))
        average = [0.8 * mean + 0.2 * weight for mean, weight in zip(average, weights, strict=True)]
    same(reached, average)
    same(carry.moving, weights)


@DEPTHS
@pytest.mark.parametrize("start", [0, 12, 19, 30])
def test_tail_average_is_the_mean_of_what_comes_after_its_start(depth, start):
    problem, weights, reached, _ = trained(depth, Phase(RATE, averaging=TailAverage(start)), pieces=(5, 15))
    passed = []
    for _ in range(STEPS):
        weights = stepped(weights, RATE, slopes(weights, problem.transfer.pretrain))
        passed.append(weights)
    same(reached, [np.mean(layers, axis=0) for layers in zip(*passed[min(start, STEPS - 1) :], strict=True)])


def test_parts_of_other_kinds_make_another_phase_to_jax_though_their_fields_are_alike():
    @jax.tree_util.register_dataclass
    @dataclass(frozen=True)
    class Lagging(TailAverage):
        pass

    @jax.tree_util.register_dataclass
    @dataclass(frozen=True)
    class Holding(TailAverage):
        inner: object = None

    averages = [ExponentialAverage(0.8), TailAverage(3), Lagging(3)]
    averages += [Holding(3, inner) for inner in averages]
    phases = [Phase(RATE, averaging=average) for average in averages]
    structures = [jax.tree.structure(phase) for phase in phases]
    for one, other in itertools.combinations(structures, 2):
        assert one != other  # or a program of one is that of the other, once in a hundred times
    again = [jax.tree.structure(jax.tree.map(np.asarray, phase)) for phase in phases]
    assert again == structures
    for phase in phases:
        assert jax.tree.map(lambda leaf: leaf, phase) == phase


@DEPTHS
@pytest.mark.parametrize("start", [0, 11])
def test_sharpness_aware_descent_takes_the_gradient_uphill(depth, start):
    phase = Phase(RATE, gradient_at=SharpnessAware(0.3, start))
    problem, weights, reached, _ = trained(depth, phase, pieces=(9, 11))
    for step in range(STEPS):
        uphill = slopes(weights, problem.transfer.pretrain)
        reach = 0.3 / np.sqrt(sum(np.sum(slope**2) for slope in uphill)) if step >= start else 0.0
        ahead = [weight + reach * slope for weight, slope in zip(weights, uphill, strict=True)]
        weights = stepped(weights, RATE, slopes(ahead, problem.transfer.pretrain))
    same(reached, weights)


def test_sharpness_aware_descent_takes_both_gradients_of_one_minibatch():
    phase = Phase(RATE, batch_size=5, gradient_at=SharpnessAware(0.3))
    problem, weights, reached, _ = trained(2, phase)
    target = DENSE.encode(problem, np.float64).pretrain
    for step in range(STEPS):
        drawn = losses.draw_batch(
            jax.random.fold_in(jax.random.key(3), step), target.matrix, target.root, target.label_noise, 5
        )
        inputs, outputs = (np.asarray(part) for part in drawn)

        def slope(at, inputs=inputs, outputs=outputs):
            error = 2 / 5 * (inputs @ at[0].T @ at[1].T - outputs)
            return [at[1].T @ error.T @ inputs, error.T @ inputs @ at[0].T]

        uphill = slope(weights)
        reach = 0.3 / np.sqrt(sum(np.sum(each**2) for each in uphill))
        ahead = [weight + reach * each for weight, each in zip(weights, uphill, strict=True)]
        weights = stepped(weights, RATE, slope(ahead))
    same(reached, weights)


def test_at_a_critical_point_there_is_no_uphill():
    found = SharpnessAware(0.3).gradient(lambda at: at, (jnp.zeros((2, 2)),), 0, None)
    np.testing.assert_array_equal(found[0], 0)


def anchored(weights, checkpoint, pretrain, finetune):
    """As elastic weight consolidation: a quadratic around the checkpoint, with weights that depend on a task."""
    pulls = zip(weights, checkpoint, strict=True)
    return sum(jnp.sum(finetune.target**2 * (weight - home) ** 2) for weight, home in pulls)


def rehearsed(weights, checkpoint, pretrain, finetune):
    """The loss of the other task."""
    return finetune.loss(losses.end_to_end(weights)) + 0 * jnp.sum(pretrain.input_covariance)


@DEPTHS
def test_terms_of_the_objective_add_their_gradients(depth):
    terms = (Term("anchored", anchored, 0.4), Term("rehearsed", rehearsed, 0.3))
    problem, start, reached, _ = trained(depth, Phase(RATE, terms=terms, weight_decay=0.1), pieces=(8, 12))
    pretrain, finetune = problem.transfer.pretrain, problem.transfer.finetune
    weights = start
    for _ in range(STEPS):
        parts = zip(weights, start, slopes(weights, pretrain), slopes(weights, finetune), strict=True)
        found = [a + 0.3 * b + 0.8 * finetune.target**2 * (w - home) + 0.1 * w for w, home, a, b in parts]
        weights = stepped(weights, RATE, found)
    same(reached, weights)


def test_terms_add_to_the_gradient_of_a_minibatch():
    batches = Phase(RATE, batch_size=5)
    with_term = Phase(RATE, batch_size=5, terms=(Term("anchored", anchored, 0.4),))
    problem, start, plain, _ = trained(2, batches, pieces=(2,))
    _, _, reached, _ = trained(2, with_term, pieces=(2,))
    _, _, one, _ = trained(2, batches, pieces=(1,))
    # After one step both stand at W_1, where the term pulls with 2 * 0.4 * A^2 (W_1 - W_0); at W_0 it does not.
    pulls = [0.8 * problem.transfer.finetune.target**2 * (w - home) for w, home in zip(one, start, strict=True)]
    same(reached, stepped(plain, RATE, pulls))


def adamw(weights, task, masks, decay=0.3):
    """AdamW by its published rule on the entries that move, in NumPy."""
    first, second = ([np.zeros_like(weight) for weight in weights] for _ in range(2))
    for step in range(1, STEPS + 1):
        gradient = [mask * slope for mask, slope in zip(masks, slopes(weights, task), strict=True)]
        first = [0.9 * m + 0.1 * g for m, g in zip(first, gradient, strict=True)]
        second = [0.999 * v + 0.001 * g**2 for v, g in zip(second, gradient, strict=True)]
        scaled = [
            m / (1 - 0.9**step) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8) for m, v in zip(first, second, strict=True)
        ]
        moves = zip(weights, scaled, masks, strict=True)
        weights = [w - RATE * mask * (s + decay * w) for w, s, mask in moves]
    return weights


@DEPTHS
@pytest.mark.parametrize("kind", ["entries", "layers"])
def test_what_does_not_move_stays_bit_for_bit_under_adamw(depth, kind):
    rng = np.random.default_rng(0)
    masks = [rng.integers(2, size=(4, 4)) for _ in range(depth)]
    if kind == "layers":
        masks = [np.full((4, 4), int(layer == depth - 1)) for layer in range(depth)]
    moves = Masked(tuple(masks)) if kind == "entries" else Layers((depth,))
    phase = Phase(RATE, optimizer=partial(optax.adamw, weight_decay=0.3), moves=moves)
    problem, weights, reached, _ = trained(depth, phase, pieces=(6, 14))
    same(reached, adamw(weights, problem.transfer.pretrain, masks))
    for mask, before, after in zip(masks, weights, reached, strict=True):
        np.testing.assert_array_equal(np.asarray(after)[mask == 0], before[mask == 0])


@DEPTHS
@pytest.mark.parametrize("orthonormal", [False, True])
def test_an_addition_of_low_rank_follows_the_gradient_of_its_factors(depth, orthonormal):
    moves = LowRank(2, scale=1.5, orthonormal=orthonormal)
    problem, start, reached, _ = trained(depth, Phase(RATE, moves=moves), pieces=(6, 14))
    _, _, begun, drawn = trained(depth, Phase(RATE, moves=moves), pieces=())
    same(begun, start)
    outer, inner = ([np.asarray(factor) for factor in factors] for factors in zip(*drawn.moving, strict=True))
    for factor in inner:
        assert np.linalg.matrix_rank(factor) == 2
        if orthonormal:
            np.testing.assert_allclose(factor[:2] @ factor[:2].T, np.eye(2), atol=1e-12)
    for _ in range(STEPS):
        weights = [w + 1.5 * b @ a for w, b, a in zip(start, outer, inner, strict=True)]
        gradient = slopes(weights, problem.transfer.pretrain)
        to_outer = [1.5 * slope @ a.T for slope, a in zip(gradient, inner, strict=True)]
        to_inner = [1.5 * b.T @ slope for slope, b in zip(gradient, outer, strict=True)]
        # Rows of A beyond the rank have neither size nor slope: columns of B beside them do not move.
        assert all(np.all(slope[:, 2:] == 0) for slope in to_outer)
        outer, inner = stepped(outer, RATE, to_outer), stepped(inner, RATE, to_inner)
    same(reached, [w + 1.5 * b @ a for w, b, a in zip(start, outer, inner, strict=True)])
    for weight, before in zip(reached, start, strict=True):
        assert np.linalg.matrix_rank(np.asarray(weight) - before, tol=1e-9) == 2


def test_draws_of_a_lower_rank_are_the_first_of_a_higher_one_and_differ_between_layers_and_keys():
    weights = (jnp.zeros((5, 6)), jnp.zeros((5, 6)))
    for orthonormal in (False, True):
        draw = partial(LowRank, orthonormal=orthonormal)
        (_, low), _ = draw(2).begin(weights, jax.random.key(0))
        (_, narrow), (_, other) = draw(4, most=4).begin(weights, jax.random.key(0))
        (_, elsewhere), _ = draw(4).begin(weights, jax.random.key(1))
        np.testing.assert_allclose(low[:2], narrow[:2], atol=1e-15)
        assert np.all(low[2:] == 0) and narrow.shape == (4, 6)
        assert np.all(narrow != other) and np.all(narrow != elsewhere[:4])


def test_only_chosen_layers_are_added_to():
    moves = LowRank(1, layers=(3, 1))
    _, start, reached, _ = trained(3, Phase(RATE, moves=moves, averaging=ExponentialAverage(0.5)))
    ranks = [np.linalg.matrix_rank(np.asarray(w) - before, tol=1e-9) for w, before in zip(reached, start, strict=True)]
    assert ranks == [1, 0, 1]


def free(rate):
    """Schedule-free descent inside other wrappers."""
    return optax.chain(optax.clip_by_global_norm(1.0), optax.contrib.schedule_free_sgd(rate, b1=0.8))


def injected(rate):
    """Its numbers injected."""
    return optax.inject_hyperparams(optax.contrib.schedule_free_adamw)(learning_rate=rate)


def partly(rate):
    """On one layer; the other steps as it is."""
    parts = {"free": optax.contrib.schedule_free_sgd(rate), "plain": optax.sgd(rate)}
    return optax.partition(parts, lambda weights: ("free", *("plain" for _ in weights[1:])))


def sharp(rate):
    """Between synchronisations at an adversarial point."""
    adversary = optax.chain(optax.contrib.normalize(), optax.sgd(0.3))
    return optax.chain(optax.contrib.sam(optax.sgd(rate), adversary, sync_period=3, reset_state=False))


def by_wrapper(memory, weights):
    """The weights to evaluate of each of the above, by what optax documents."""
    if isinstance(memory, optax.PartitionState):
        inner = memory.inner_states["free"].inner_state
        first = optax.contrib.schedule_free_eval_params(inner._replace(z=inner.z[0]), weights[0])
        return (first, *weights[1:])
    if isinstance(memory[-1], optax.contrib.SAMState):
        return weights if int(memory[-1].steps_since_sync) == 0 else memory[-1].cache
    state = memory.inner_state if hasattr(memory, "inner_state") else memory[-1]
    return optax.contrib.schedule_free_eval_params(state, weights)


@pytest.mark.sampled(4)
@DEPTHS
@pytest.mark.parametrize("factory", [free, injected, partly, sharp], ids=lambda factory: factory.__name__)
def test_weights_are_those_that_optax_says_are_to_be_evaluated(depth, factory):
    pieces = (1, 5, 1, 13)
    problem, weights, *_ = trained(depth, Phase(RATE, optimizer=factory), pieces=())
    optimizer, weights = factory(RATE), tuple(map(jnp.asarray, weights))
    update, memory = jax.jit(optimizer.update), optimizer.init(weights)
    for number, steps in enumerate(pieces, start=1):
        for _ in range(steps):
            gradient = tuple(map(jnp.asarray, slopes([np.asarray(w) for w in weights], problem.transfer.pretrain)))
            change, memory = update(gradient, memory, weights)
            weights = optax.apply_updates(weights, change)
        *_, reached, _ = trained(depth, Phase(RATE, optimizer=factory), pieces=pieces[:number])
        same(reached, by_wrapper(memory, weights))
