"""Gradients of perturbed networks, each against descent written out in NumPy, at depths 2 and 3."""

import jax
import numpy as np
import pytest

from linsim.dynamics.in_turn import train
from linsim.dynamics.moving.parameters import LowRank
from linsim.dynamics.moving.perturbed import Dropout, LayerRates, WeightNoise
from linsim.dynamics.moving.trial import validate_phase
from linsim.errors import InvalidInput
from linsim.measure import Measure
from linsim.network import gaussian
from linsim.phase import Phase
from linsim.tasks import LinearTask
from linsim.theory.mitigations.dropout import dropped
from tests.dynamics.by_hand import slopes, stepped
from tests.dynamics.test_moving import DEPTHS, RATE, STEPS, same, trained


def aside(step):
    """The key of a step for what is drawn beside its minibatch."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(3), step), 2)


@DEPTHS
def test_dropout_takes_the_gradient_of_what_is_left_of_the_network(depth):
    problem, weights, reached, _ = trained(depth, Phase(RATE, gradient_at=Dropout(0.3)))
    target = problem.transfer.pretrain
    for step in range(STEPS):
        key = aside(step)
        masks = [
            np.asarray(jax.random.bernoulli(jax.random.fold_in(key, layer), 0.7, (len(weight), 1))) / 0.7
            for layer, weight in enumerate(weights[:-1])
        ]
        masks = [*masks, 1.0]
        left = slopes([mask * weight for mask, weight in zip(masks, weights, strict=True)], target)
        weights = stepped(weights, RATE, [mask * each for mask, each in zip(masks, left, strict=True)])
    same(reached, weights)


def test_dropout_of_many_steps_ends_at_the_threshold_of_its_mean():
    strengths, p, rate, kept = np.array([1.5, 1.0]), 0.2, 0.002, []
    task = LinearTask.create(strengths)
    start = [np.asarray(layer) for layer in gaussian((2, 4, 2), 0.5, jax.random.key(0))]
    phase = Phase(rate, gradient_at=Dropout(p))
    measured = Measure("map", dims=("out", "in"), at="along", of=lambda seen: seen.product)
    along = train(start, task, phase, 40_000, measures=(measured,), points=np.arange(20_000, 40_001, 50)).along
    kept = along["map"].mean("steps").values
    # Steps of 0.002 shake P by its square root, and the mean of 400 points by a twentieth of that.
    np.testing.assert_allclose(np.diagonal(kept), dropped(strengths, p, 4), atol=0.02)


@DEPTHS
def test_shaken_weights_give_the_gradient_there(depth):
    problem, weights, reached, _ = trained(depth, Phase(RATE, gradient_at=WeightNoise(0.2)))
    for step in range(STEPS):
        key = aside(step)
        shaken = [
            weight + 0.2 * np.asarray(jax.random.normal(jax.random.fold_in(key, at), weight.shape, np.float64))
            for at, weight in enumerate(weights)
        ]
        weights = stepped(weights, RATE, slopes(shaken, problem.transfer.pretrain))
    same(reached, weights)


@DEPTHS
def test_layers_have_rates_of_their_own(depth):
    problem, weights, reached, _ = trained(depth, Phase(RATE, gradient_at=LayerRates(3.0)))
    for _ in range(STEPS):
        each = slopes(weights, problem.transfer.pretrain)
        factors = 3.0 ** (np.arange(depth) - (depth - 1) / 2)
        weights = stepped(weights, RATE, [factor * slope for factor, slope in zip(factors, each, strict=True)])
    same(reached, weights)


@pytest.mark.parametrize("part", [Dropout(0.5), LayerRates(2.0)])
def test_what_is_of_layers_is_refused_where_other_parameters_move(part, unchecked):
    problem, *_ = trained(2, Phase(RATE))
    with pytest.raises(InvalidInput, match="gradient_at: got other parameters; allowed: weights"):
        validate_phase("pretrain", Phase(RATE, gradient_at=part, moves=LowRank(1)), problem)
