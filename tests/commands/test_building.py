"""The boundary of configurations: any input gives a problem or one line, never a traceback."""

import dataclasses
import json
import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linsim.commands.building import budgets, build_phase, build_problem, learning_rates, strengths
from linsim.commands.config import (
    ChartConfig,
    FinetuneConfig,
    NetworkConfig,
    PretrainConfig,
    ShiftConfig,
    TaskConfig,
    require_choices,
)
from linsim.commands.transfers import build_transfer
from linsim.errors import InvalidInput
from linsim.problem import Problem

# Values around every boundary, and far beyond; floats include NaN, infinities and subnormals.
small = st.one_of(st.integers(-2, 9), st.sampled_from([10**6, 10**12, -(10**12)]))
wild = st.one_of(st.floats(), st.floats(0, 10), st.sampled_from([0.0, -1.0, 1e300, 1e-300, math.nan]))
few = lambda values: st.lists(values, max_size=5).map(tuple)  # noqa: E731
maybe = lambda values: st.one_of(st.none(), values)  # noqa: E731

phases = {
    "momentum": st.one_of(st.just(0.0), wild),
    "optimizer": st.sampled_from(["sgd", "sgd", "adam", "lion"]),
    "schedule": st.sampled_from(["constant", "linear", "cosine", "stable_decay"]),
    "batch_size": maybe(small),
    "weight_decay": st.one_of(st.just(0.0), wild),
    "steps": st.one_of(st.integers(1, 50), small),
}
# Plain dictionaries: building the dataclasses while drawing would run the checker of annotations inside a strategy.
fields = st.builds(
    dict,
    dim=maybe(st.one_of(st.integers(1, 6), st.sampled_from([-1, 0, 10**9]))),
    depth=st.one_of(st.integers(1, 4), small),
    seeds=st.one_of(st.integers(1, 3), st.sampled_from([0, -1])),
    seed=st.one_of(st.integers(0, 5), st.integers(-5, 2**70)),
    checkpoints=st.sampled_from(["real", "idealised"]),
    task=st.builds(
        dict,
        outputs=maybe(st.one_of(st.integers(1, 6), st.just(0))),
        inputs=maybe(st.one_of(st.integers(1, 6), st.just(-3))),
        spectrum=st.sampled_from(["power", "exponential", "blocks", "explicit"]),
        scale=wild,
        decay=wild,
        values=few(wild),
        sizes=few(st.integers(-1, 3)),
        rank=maybe(st.integers(-1, 7)),
        bases=st.sampled_from(["identity", "random"]),
        covariance=st.sampled_from(["identity", "aligned", "random"]),
        covariance_decay=wild,
        label_noise=wild,
    ),
    shift=st.builds(
        dict,
        rescale_from=maybe(st.integers(-1, 8)),
        rescale_factor=wild,
        permute=st.one_of(st.just(()), few(st.integers(0, 6)), st.permutations([1, 2, 3]).map(tuple)),
        zero=few(st.integers(0, 7)),
        new=few(wild),
        rotate_degrees=wild,
        rotate_side=st.sampled_from(["left", "right", "both"]),
    ),
    network=st.builds(
        dict,
        hidden=maybe(st.integers(0, 8)),
        init=st.sampled_from(["identity", "aligned", "balanced", "lambda_balanced", "gaussian"]),
        tau=wild,
        balance=wild,
    ),
    pretrain=st.builds(dict, **phases, learning_rate=wild, first=small, budgets=small),
    finetune=st.builds(
        dict,
        **phases,
        rates=st.one_of(st.integers(1, 4), small),
        lowest_rate=wild,
        highest_rate=wild,
        learning_rates=st.one_of(st.just(()), few(wild)),
        regularizer=st.sampled_from(["product_penalty", "weight_penalty", "weight_decay"]),
        strengths=st.one_of(st.integers(1, 4), small),
        lowest_strength=wild,
        highest_strength=wild,
        regularizations=st.one_of(st.just(()), few(wild)),
    ),
)


def is_one_line(error):
    text = str(error)
    return "\n" not in text and ": got " in text and "; allowed: " in text and len(text) < 400


PARTS = {
    "task": TaskConfig,
    "shift": ShiftConfig,
    "network": NetworkConfig,
    "pretrain": PretrainConfig,
    "finetune": FinetuneConfig,
}


@given(fields)
@settings(max_examples=400)
def test_any_configuration_gives_a_problem_or_one_line(values):
    config = ChartConfig(**values | {name: part(**values[name]) for name, part in PARTS.items()})
    try:
        problem = build_problem(config, build_transfer(config))
    except InvalidInput as error:
        assert is_one_line(error)
    else:
        assert isinstance(problem, Problem)
        assert all(np.isfinite(weight).all() for weight in problem.initial)


def set_field(config, path, value):
    head, *rest = path.split(".")
    return dataclasses.replace(
        config, **{head: set_field(getattr(config, head), ".".join(rest), value) if rest else value}
    )


@given(st.data())
@settings(max_examples=300)
def test_one_wild_value_in_a_good_configuration_is_named(data):
    # The test above rarely gets past its first bad field; here every field is bad on its own.
    path = data.draw(
        st.sampled_from(
            [
                "task.scale",
                "task.decay",
                "task.covariance_decay",
                "task.label_noise",
                "shift.rescale_factor",
                "network.tau",
                "network.balance",
                "pretrain.learning_rate",
                "finetune.lowest_rate",
                "finetune.highest_rate",
                "finetune.lowest_strength",
                "finetune.highest_strength",
                "pretrain.momentum",
                "finetune.weight_decay",
                "shift.rotate_degrees",
            ]
        )
    )
    value = data.draw(
        st.one_of(st.sampled_from([math.nan, math.inf, -math.inf]), st.floats(max_value=-6, allow_nan=False))
    )
    config = set_field(ChartConfig(dim=4), path, value)
    try:
        build_problem(config, build_transfer(config))
    except InvalidInput as error:
        assert error.field.startswith(path.split(".")[0])
        assert is_one_line(error)
    else:
        assert path in ("shift.rescale_factor", "shift.rotate_degrees", "network.balance")
        assert math.isfinite(value)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("dim", 0, "dim: got 0; allowed: an integer >= 1"),
        ("depth", 0, "depth: got 0"),
        ("seeds", 0, "seeds: got 0"),
        ("task.rank", 5, "task.rank: got 5; allowed: an integer >= 0 and <= 4"),
        ("shift.rescale_from", 9, "shift.rescale_from: got 9; allowed: an integer >= 1 and <= 4"),
        ("shift.permute", (1, 1, 2, 3), "shift.permute: got"),
        ("shift.zero", (7,), "shift.zero: got"),
        ("shift.new", (1.0,), "shift.new: got .*at most 0 values"),
        ("network.hidden", 0, "network.hidden: got 0"),
        ("pretrain.first", 0, "pretrain.first: got 0; allowed: an integer >= 1"),
        ("pretrain.budgets", 0, "pretrain.budgets: got 0"),
        ("pretrain.batch_size", 0, "pretrain.batch_size: got 0"),
        ("finetune.learning_rates", (1e-3, -1.0), "finetune.learning_rates: got -1.0; allowed: a finite number > 0"),
        ("finetune.learning_rates", (2e-3, 1e-3), "finetune.learning_rates: got .*strictly increasing"),
        ("finetune.regularizations", (math.nan,), "finetune.regularizations: got nan"),
        ("finetune.rates", 10**5, "finetune.rates: got 100000; allowed: an integer >= 1 and <= 10000"),
        ("finetune.highest_rate", 1e-6, "finetune.highest_rate: got 1e-06; allowed: > finetune.lowest_rate"),
        ("finetune.momentum", 1.0, "finetune.momentum: got 1.0; allowed: a finite number >= 0 and < 1"),
    ],
)
def test_a_bad_field_is_named_with_its_value_and_what_is_allowed(path, value, message):
    config = set_field(ChartConfig(dim=4), path, value)
    with pytest.raises(InvalidInput, match=message):
        build_problem(config, build_transfer(config))


@pytest.mark.parametrize(("part", "field"), [(None, "solver"), ("task", "spectrum"), ("finetune", "regularizer")])
def test_an_unknown_choice_is_refused(part, field):
    config = ChartConfig()
    object.__setattr__(getattr(config, part) if part else config, field, "magic")  # past the checks of the tests
    name = f"{part}.{field}" if part else field
    with pytest.raises(InvalidInput, match=f"{name}: got magic; allowed: one of "):
        require_choices(config)


def test_no_optimizer_decays_weights_unasked():
    for name in ("adamw", "lion"):
        config = ChartConfig(dim=2, finetune=FinetuneConfig(optimizer=name))
        optimizer = build_problem(config, build_transfer(config)).finetune.build_optimizer()
        weights = jnp.ones(3)
        change, _ = optimizer.update(jnp.zeros(3), optimizer.init(weights), weights)
        assert not np.any(change)


def test_decoupled_decay_is_that_of_optax_where_there_is_some_and_refused_elsewhere():
    weights = (jnp.ones((2, 2)),)
    for name in ("adamw", "lion", "muon"):
        phase = build_phase("pretrain", PretrainConfig(optimizer=name, decoupled_decay=0.5), 0.1, 1)
        change, _ = phase.build_optimizer().update((jnp.zeros((2, 2)),), phase.build_optimizer().init(weights), weights)
        np.testing.assert_allclose(change[0], -0.05 * np.ones((2, 2)), rtol=1e-6)  # rate x decay of weights of 1
    with pytest.raises(
        InvalidInput, match=r"decoupled_decay: got 0.5; allowed: 0 with sgd; the optimizers adamw, lion"
    ):
        build_phase("pretrain", PretrainConfig(decoupled_decay=0.5), 0.1, 1)


def test_momentum_beside_an_optimizer_of_its_own_is_refused():
    config = ChartConfig(finetune=FinetuneConfig(optimizer="adam", momentum=0.5))
    with pytest.raises(InvalidInput, match="finetune.momentum: got 0.5; allowed: None beside"):
        build_problem(config, build_transfer(config))


def test_default_axes_are_those_of_the_confirmed_problem():
    config = ChartConfig()
    steps, rates, swept = budgets(config.pretrain), learning_rates(config.finetune), strengths(config.finetune)
    assert (len(steps), steps[-1], len(rates), len(swept)) == (60, 40_000, 30, 20)
    np.testing.assert_allclose(rates[[0, -1]], [1e-5, 2.5e-2])
    np.testing.assert_allclose(swept[[0, 1, -1]], [0, 0.1, 16])
    transfer = build_transfer(config)
    np.testing.assert_allclose(transfer.pretrain.strengths, 2 / np.arange(1, 17))
    np.testing.assert_allclose(transfer.finetune.strengths / transfer.pretrain.strengths, [1] * 4 + [4] * 12)


def test_the_configuration_is_stored_as_json():
    assert json.loads(ChartConfig(dim=3).to_json())["dim"] == 3
