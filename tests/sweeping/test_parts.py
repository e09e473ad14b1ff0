"""Parts of phases in sweeps: their numbers are axes of either phase, and what does not work is one line."""

import json
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from linsim import losses
from linsim.dynamics.moving.ascent import SharpnessAware
from linsim.dynamics.moving.averages import ExponentialAverage, TailAverage
from linsim.dynamics.moving.parameters import Layers, LowRank, Masked
from linsim.errors import InvalidInput
from linsim.phase import Phase, Term
from linsim.sweeping.sweep import sweep
from tests.dynamics.by_hand import loss, slopes, stepped
from tests.problems import gaussian_problem

LOSSES = ("pretrain_loss_before", "pretrain_loss_after", "finetune_loss_after")


def near(weights, checkpoint, pretrain, finetune):
    """The fourth power of the distance to the checkpoint."""
    return sum(jnp.sum((weight - home) ** 4) for weight, home in zip(weights, checkpoint, strict=True))


def rehearsal(weights, checkpoint, pretrain, finetune):
    """The pre-training loss."""
    return pretrain.loss(losses.end_to_end(weights))


ALL = Phase(
    0.02,
    terms=(Term("near", near), Term("rehearsal", rehearsal, 0.3)),
    averaging=ExponentialAverage(),
    gradient_at=SharpnessAware(0.1),
    moves=LowRank(scale=1.5),
)
VALUES = {
    "near": [0.0, 0.5],
    "rehearsal": [0.1, 0.6],
    "averaging_decay": [0.5, 0.9],
    "sharpness_radius": [0.0, 0.2],
    "sharpness_start": [0, 9],
    "rank": [1, 3],
    "rank_scale": [0.5, 2.0],
}


def small(pretrain=None, finetune=None, **changes):
    """Of few steps, each of which matters."""
    phases = {"pretrain": pretrain or Phase(0.02), "finetune": finetune or Phase(0.02)}
    return gaussian_problem(dim=4, scale=0.8, budgets=np.asarray((5, 16)), finetune_steps=12, **phases, **changes)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("phase", ["pretrain", "finetune"])
def test_every_number_of_every_part_is_an_axis_of_either_phase(phase):
    prefix = "pretrain_" if phase == "pretrain" else ""
    problem = small(**{phase: ALL})
    axes = {f"{prefix}{name}": values for name, values in VALUES.items()}
    whole = sweep(problem, axes, rechecked=0)
    assert whole.attrs["solver"] == "dense"
    told = {axis: (whole[axis].attrs["long_name"], whole[axis].attrs["units"]) for axis in axes}
    assert told[f"{prefix}rank"] == (f"{'pre-training' if prefix else 'fine-tuning'} rank of the addition", "1")
    assert told[f"{prefix}near"][0].endswith("strength of near")
    for place in ([0] * 7, [1] * 7, [1, 0, 1, 0, 1, 0, 1]):
        point = {name: values[where] for where, (name, values) in zip(place, VALUES.items(), strict=True)}
        alone = sweep(replace(problem, **{phase: ALL.put(point)}), {}, rechecked=0)
        for name in LOSSES:
            at = {f"{prefix}{axis}": value for axis, value in point.items() if f"{prefix}{axis}" in whole[name].dims}
            np.testing.assert_allclose(whole[name].sel(at, drop=True), alone[name], rtol=1e-11)
    for axis in axes:  # each of them matters
        assert float(np.abs(whole["finetune_loss_after"].diff(axis)).max()) > 1e-6, axis


def test_a_tail_may_begin_anywhere():
    problem = small(Phase(0.02, averaging=TailAverage()))
    whole = sweep(problem, {"pretrain_averaging_start": [0, 10, 16]}, rechecked=0)["pretrain_loss_before"]
    plain = sweep(small(), {}, rechecked=0)["pretrain_loss_before"]
    np.testing.assert_allclose(whole.sel(pretrain_averaging_start=16, drop=True), plain, rtol=1e-12)
    np.testing.assert_allclose(whole.isel(pretrain_steps=0, pretrain_averaging_start=1), plain.isel(pretrain_steps=0))
    assert np.all(whole.sel(pretrain_averaging_start=0, pretrain_steps=16) > plain.sel(pretrain_steps=16))


def test_fine_tuning_begins_and_is_anchored_at_the_weights_that_pre_training_evaluates():
    pulled = Phase(0.01, terms=(Term("near", near, 0.7),), product_penalty=0.2)
    problem = small(Phase(0.02, averaging=ExponentialAverage(0.7)), pulled, seeds=1)
    result = sweep(problem, {}, rechecked=0)
    first, second = problem.transfer.pretrain, problem.transfer.finetune
    weights = average = [np.asarray(weight[0]) for weight in problem.initial]
    for budget in range(1, 17):
        weights = stepped(weights, 0.02, slopes(weights, first))
        average = [0.7 * mean + 0.3 * weight for mean, weight in zip(average, weights, strict=True)]
        if budget not in (5, 16):
            continue
        tuned = average
        for _ in range(12):
            apart = 2 * 0.2 * (tuned[1] @ tuned[0] - average[1] @ average[0])
            penalties = [tuned[1].T @ apart, apart @ tuned[0].T]
            parts = zip(slopes(tuned, second), penalties, tuned, average, strict=True)
            tuned = stepped(tuned, 0.01, [slope + p + 4 * 0.7 * (w - home) ** 3 for slope, p, w, home in parts])
        told = result.sel(pretrain_steps=budget, seed=0)
        np.testing.assert_allclose(told["pretrain_loss_before"], loss(average, first), rtol=1e-10)
        np.testing.assert_allclose(told["pretrain_loss_after"], loss(tuned, first), rtol=1e-10)
        np.testing.assert_allclose(told["finetune_loss_after"], loss(tuned, second), rtol=1e-10)


def test_additions_of_low_rank_are_drawn_alike_in_both_precisions_and_differently_for_every_seed():
    problem = small(finetune=Phase(0.02, moves=LowRank(1)))
    same = replace(problem, initial=tuple(np.stack([weight[0]] * 2) for weight in problem.initial))
    double, single = (sweep(same, {}, precision=precision, rechecked=0) for precision in ("float64", "float32"))
    np.testing.assert_allclose(double["finetune_loss_after"], single["finetune_loss_after"], rtol=1e-4)
    assert np.all(np.abs(double["finetune_loss_after"].diff("seed")) > 1e-3)


def test_parts_are_told_in_the_result():
    told = json.loads(sweep(small(finetune=ALL), VALUES, rechecked=0).attrs["training"])
    assert told["pretrain"]["terms"] == [] and told["pretrain"]["moves"] is None
    assert told["finetune"]["moves"] == {
        **{"is": "LowRank", "rank": None, "scale": 1.5, "layers": None, "orthonormal": False, "most": None}
    }
    assert told["finetune"]["terms"][1] == {"is": "Term", "name": "rehearsal", "of": "rehearsal", "strength": 0.3}


@dataclass(frozen=True)
class Unregistered:
    """An average that JAX does not know."""

    decay: float = 0.5

    def begin(self, parameters):
        return parameters

    def update(self, memory, parameters, step):
        return memory

    def read(self, memory, parameters):
        return memory


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Growing(Unregistered):
    """An average whose memory does not keep its shape."""

    def update(self, memory, parameters, step):
        return tuple(jnp.concatenate([weight, weight]) for weight in memory)


class Factory:
    """Whose instance no mapping can hold."""

    __hash__ = None

    def __call__(self, rate):
        return optax.sgd(rate)


def opaque(rate):
    return optax.contrib.sam(optax.sgd(rate), optax.sgd(0.1), opaque_mode=True)


def plateau(rate):
    return optax.chain(optax.sgd(rate), optax.contrib.reduce_on_plateau())


def look(rate):
    return optax.lookahead(optax.sgd(rate), 5, 0.5)


def of_two(weights, *_):
    return weights[0].sum(axis=0)


MORE = "no more than the gradient; this fails with"
BAD_OPTIMIZERS = {
    "lbfgs": optax.lbfgs,
    "polyak_sgd": optax.polyak_sgd,
    "momo": optax.contrib.momo,
    "plateau": plateau,
    "opaque": opaque,
    "look": look,
    "sophia": optax.contrib.sophia,
    "built": optax.adam(0.1),
    "name": "adam",
    "number": 3,
    "instance": Factory(),
    "transformation class": optax.GradientTransformation,
    "gives a function": lambda rate: optax.sgd,
}
TERM = Term("near", near, 0.1)
MASK = np.ones((4, 4))
BAD = {
    "strength": (Phase(0.1, terms=(Term("near", near),)), r"near: got None; allowed: a number, or an axis near"),
    "negative": (Phase(0.1, terms=(replace(TERM, strength=-1.0),)), r"near: got -1.0; allowed: .* >= 0"),
    "terms": (Phase(0.1, terms=(TERM, TERM)), r": got \['near'\]; allowed: every number under a name of its own"),
    "a field": (
        Phase(0.1, terms=(replace(TERM, name="momentum"),)),
        r"terms: got momentum; allowed: .*none of a field",
    ),
    "a prefix": (Phase(0.1, terms=(replace(TERM, name="pretrain_x"),)), r"terms: got pretrain_x"),
    "no scalar": (Phase(0.1, terms=(Term("two", of_two, 1.0),)), r"two: got of_two; allowed: .*gives one real number"),
    "fails": (Phase(0.1, terms=(Term("f", lambda *_: 1 / 0, 1.0),)), r"f: got .*this fails with ZeroDivisionError"),
    "not a tuple": ({"terms": TERM}, r"terms: got Term.*; allowed: a tuple of linsim.Term"),
    "decay": (Phase(0.1, averaging=ExponentialAverage(1.0)), r"averaging_decay: got 1.0; allowed: .*< 1"),
    "start": (Phase(0.1, averaging=TailAverage(2.5)), r"averaging_start: got 2.5; allowed: a whole number"),
    "unswept": (Phase(0.1, averaging=TailAverage()), r"averaging_start: got None; allowed: a number, or an axis"),
    "class": ({"averaging": ExponentialAverage}, r"averaging: got <class.*; allowed: a dataclass of numbers"),
    "unregistered": (Phase(0.1, averaging=Unregistered()), r"averaging: got Unregistered.*registered with JAX"),
    "growing": (Phase(0.1, averaging=Growing()), r"averaging: got Growing.*allowed: an average of the shapes"),
    "radius": (Phase(0.1, gradient_at=SharpnessAware(-0.1)), r"sharpness_radius: got -0.1"),
    "rank 0": (Phase(0.1, moves=LowRank(0)), r"rank: got 0; allowed: .*>= 1"),
    "rank 1.5": (Phase(0.1, moves=LowRank(1.5)), r"rank: got 1.5; allowed: a whole number"),
    "rank 5": (Phase(0.1, moves=LowRank(5)), r"moves.rank: got 5; allowed: at most 4, the smaller side of a layer"),
    "room": (
        Phase(0.1, moves=LowRank(3, most=2)),
        r"moves.rank: got 3; allowed: at most 2, what `most` makes room for",
    ),
    "layer": (Phase(0.1, moves=Layers((3,))), r"moves.layers: got \(3,\); allowed: .*distinct layers within 1..2"),
    "no layer": (Phase(0.1, moves=Layers(())), r"moves.layers: got \(\); allowed: .*at least one"),
    "frozen": (Phase(0.1, moves=Masked((0 * MASK, 0 * MASK))), r"moves.masks: got 0 everywhere; allowed: at least one"),
    "half": (Phase(0.1, moves=Masked((MASK, 0.5 * MASK))), r"moves.masks: got other entries; allowed: 0"),
    "mask": (Phase(0.1, moves=Masked((MASK,))), r"moves.masks: got \[\(4, 4\)\]; allowed: one for every layer"),
    "schedule": ({"schedule": 0.5}, r"schedule: got 0.5; allowed: a function of the step that gives one number"),
    "branches": (
        Phase(0.1, schedule=lambda step: 1.0 if step < 5 else 0.1),
        r"schedule: got .*this fails with TracerBoolConversionError",
    ),
    **{title: ({"optimizer": made}, rf"optimizer: got .*{MORE}") for title, made in BAD_OPTIMIZERS.items()},
}


@pytest.mark.parametrize("name", ["pretrain", "finetune"])
@pytest.mark.parametrize("title", BAD)
def test_what_cannot_move_the_weights_is_one_line(unchecked, title, name):
    given, message = BAD[title]
    phase = Phase(0.1, **given) if isinstance(given, dict) else given
    with pytest.raises(InvalidInput, match=f"^{name}(.|: ){message.removeprefix(': ')}") as told:
        sweep(small(**{name: phase}), {}, rechecked=0)
    assert len(str(told.value).splitlines()) == 1


BAD_AXES = {
    "rank": ([1, 2.5], r"axes\['rank'\]: got 2.5; allowed: a whole number"),
    "near": ([-1.0, 1.0], r"axes\['near'\]: got -1.0"),
    "pretrain_rank": (
        [1, 2],
        r"axes: got pretrain_rank; allowed: one of learning_rate, .*rank_scale, pretrain_learning_r",
    ),
    "harm": ([0.1], r"axes: got harm; allowed: a name that nothing else in a result has"),
}


@pytest.mark.parametrize("axis", BAD_AXES)
def test_axes_that_no_phase_of_the_problem_has_are_one_line(axis):
    values, message = BAD_AXES[axis]
    phase = replace(ALL, terms=(*ALL.terms, Term("harm", near)))
    with pytest.raises(InvalidInput, match=message):
        sweep(small(finetune=phase), {axis: values}, rechecked=0)
    with pytest.raises(InvalidInput, match=r"moves.rank: got 9.0; allowed: at most 4"):
        sweep(small(finetune=Phase(0.1, moves=LowRank())), {"rank": [1, 9]}, rechecked=0)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "factory",
    [
        optax.adamw,
        optax.contrib.muon,
        optax.lion,
        partial(optax.noisy_sgd, key=jax.random.key(0)),
        optax.contrib.prodigy,
        optax.adafactor,
    ],
)
def test_optimisers_that_need_the_gradient_alone_are_taken(factory):
    result = sweep(small(Phase(0.01, optimizer=factory), Phase(0.01, optimizer=factory)), {}, rechecked=0)
    assert np.all(np.isfinite(result["pretrain_loss_after"]))
