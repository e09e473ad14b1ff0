"""Optimisers and harm: steps against NumPy, curves over the base loss, what the shift decides, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.optimizers import Config, experiment, main, run
from experiments.optimizers.axis import on_axis, shares
from experiments.optimizers.finding import find, table
from linsim.commands.config import FinetuneConfig, NetworkConfig, PretrainConfig
from linsim.errors import InvalidInput
from linsim.finding import Finding
from linsim.labels import texts
from linsim.theory.optimizers.order import at_loss
from tests.computed import computed

CONFIG = Config(
    dim=2,
    seeds=2,
    optimizers=("descent", "muon"),
    settings=("gaussian",),
    shifts=("tail", "head"),
    points=16,
    network=NetworkConfig(tau=2.0),
    pretrain=PretrainConfig(learning_rate=0.05, steps=800, first=20, budgets=24, schedule="linear"),
    finetune=FinetuneConfig(steps=16, rates=8, lowest_rate=1e-3, highest_rate=0.06, regularizations=(0.0,)),
)
ALONE = replace(CONFIG, settings=("aligned",), seeds=1)
"""All of it in modes."""
VERDICTS = {
    "each does harm on one of the two shifts": (ALONE, "seen"),
    "Muon does none to weak modes that are tuned for little": (replace(ALONE, shifts=("tail",), level=0.8), "not seen"),
    "descent does none where modes are weakened": (replace(ALONE, factor=0.5), "cannot tell"),
}


@pytest.fixture(scope="module")
def small():
    return computed(experiment, CONFIG)


def polar(matrix):
    left, _, right = np.linalg.svd(matrix)
    return left @ right


def trained(weights, target, rates, rule):
    """Two layers in NumPy alone."""
    first, second = weights
    for rate in rates:
        residual = 2 * (second @ first - target)
        change = rule(second.T @ residual), rule(residual @ first.T)
        first, second = first - rate * change[0], second - rate * change[1]
    return first, second


@pytest.mark.parametrize("arm", ["pretrain", "finetune"])
def test_losses_are_those_of_a_script_in_numpy(small, arm):
    cell = small.sel(setting="gaussian", task_shift="head", arm=arm, optimizer="muon").isel(seed=1, pretrain_steps=8)
    first, second = (small[f"initial_weights_{layer}"] for layer in (1, 2))
    start = [each.isel(dict.fromkeys(each.dims[:-2], -1)).values for each in (first, second)]
    tasks = [small[f"{name}_target"] for name in ("pretrain", "finetune")]
    pretrain, finetune = (
        each.isel({dim: -1 for dim in each.dims if dim not in ("output", "input")}).values for each in tasks
    )
    muon_first = arm == "pretrain"
    factors = 1 - np.arange(int(cell["pretrain_steps"])) / 800
    rules = (polar, lambda gradient: gradient) if muon_first else (lambda gradient: gradient, polar)
    weights = trained(start, pretrain, (0.005 if muon_first else 0.05) * factors, rules[0])
    np.testing.assert_allclose(
        cell["pretrain_loss_before"], np.sum((weights[1] @ weights[0] - pretrain) ** 2), rtol=1e-7
    )
    for at in (0, 1, 3):
        rate = float(cell["fixed_rate"]) * float(small["relative_rate"][at])
        tuned = trained(weights, finetune, [rate] * 16, rules[1])
        for name, target in (("pretrain", pretrain), ("finetune", finetune)):
            # The same recurrence: rounding of some 300 steps, and that of a polar factor where modes are done.
            loss = np.sum((tuned[1] @ tuned[0] - target) ** 2)
            np.testing.assert_allclose(cell[f"{name}_loss_after"][at], loss, rtol=1e-6)


def test_the_last_loss_is_what_the_shift_decides(small):
    told = small.sel(arm="pretrain")
    # Descent of 16 steps for the flow: half of rate x curvature = 0.02 x 16 in the exponents.
    off = abs(told["fixed_last"] / told["any_order_last"] - 1)
    assert float(off.max()) < 0.2
    among = told["fixed_last"].max("optimizer") / told["fixed_last"].min("optimizer") - 1
    # From the same point: what is left of the base loss, 1e-4 of that of the zero network, is 1 % of a strength.
    assert float(among.max()) < 0.05
    assert bool((told["fixed_best"] > told["any_order_bound"] * 0.8).all())


def test_muon_goes_along_its_closed_form_where_all_is_aligned():
    cell = (
        computed(experiment, ALONE)
        .sel(setting="aligned", task_shift="head", arm="pretrain", optimizer="muon")
        .isel(seed=0)
    )
    known = np.isfinite(cell["fixed_curve"]) & (cell["base_loss"] < 0.1)
    # Of the loss that is the largest on the way; between budgets curves are straight.
    off = abs(cell["fixed_curve"] - cell["predicted_curve"]).where(known).max() / cell["fixed_last"]
    assert float(off) < 0.15


def test_the_trace_is_never_below_that_of_the_soft_threshold():
    cell = computed(experiment, ALONE).sel(setting="aligned", task_shift="tail", arm="pretrain").isel(seed=0)
    for optimizer in CONFIG.optimizers:
        here = cell.sel(optimizer=optimizer)
        for loss, trace in zip(here["pretrain_loss_before"].values, here["hessian_trace"].values, strict=True):
            # 2 (d_in + d_out) sum s_i of balanced layers; a loss of rounding moves strengths by its root.
            least = 2 * 4 * at_loss(np.array([2.0, 1.0]), loss, "soft threshold").sum()
            assert trace >= least - 1e-6


def test_curves_are_read_at_a_base_loss_and_only_where_it_was():
    before = np.array([[4.0], [1.0], [2.0], [0.25]])
    values = np.array([[0.0], [1.0], [9.0], [3.0]])
    np.testing.assert_allclose(on_axis(values, before, np.array([2.0, 1.0, 0.5]))[:, 0], [0.5, 1.0, 2.0])
    assert np.isnan(on_axis(values, before, np.array([5.0, 0.1]))).all()
    assert shares(0.01, 5)[[0, -1]].tolist() == pytest.approx([0.99, 0.01])


@pytest.mark.parametrize("name", VERDICTS)
def test_every_verdict_has_a_configuration(name):
    config, verdict = VERDICTS[name]
    result = computed(experiment, config)
    finding = Finding.of(result)
    assert finding.verdict == verdict, finding.sentence
    assert "nan" not in " ".join((finding.sentence, *finding.details, *table(result)))


def test_the_finding_tells_best_last_excess_and_harm(small):
    assert Finding.of(small).numbers.keys() == {f"{name}_{s}" for name in CONFIG.optimizers for s in CONFIG.shifts}
    lines = table(small)
    assert len(lines) == 3
    for word in ("tail: best", "last", "excess", "harm", "head: best"):
        assert word in lines[0]
    assert any("belongs to the shift" in line for line in Finding.of(small).details)


def test_the_first_setting_is_told_beside_the_last(small):
    two = small.isel(setting=[0, 0]).assign_coords(setting=texts(["aligned", "gaussian"]))
    assert any("In the setting aligned harm on the tail is" in line for line in find(two).details)


def test_one_optimiser_alone_tells_nothing(small):
    found = find(small.isel(optimizer=[0]))
    assert found.verdict == "cannot tell"
    undone = find(small.assign(reached=small["reached"] + 1))
    assert undone.verdict == "cannot tell"
    assert "not done" in undone.details[-1]


BAD = {
    "optimizers": ({"optimizers": ("descent", "momentums")}, "some of descent, momentum"),
    "settings": ({"settings": ()}, "some of aligned"),
    "shifts": ({"shifts": ("tail", "tail")}, "some of tail"),
    "level": ({"level": 1.0}, "a finite number > 0 and < 1"),
    "end": ({"end": 0.0}, "a finite number > 0 and < 1"),
    "factor": ({"factor": -1.0}, "a finite number > 0"),
    "points": ({"points": 1}, "an integer >= 2"),
    "dim": ({"dim": 1}, "at least 2"),
    "network.init": ({"network": NetworkConfig(init="gaussian")}, "--settings says"),
    "pretrain.optimizer": ({"pretrain": replace(CONFIG.pretrain, optimizer="adam")}, "--optimizers says"),
    "finetune.momentum": ({"finetune": replace(CONFIG.finetune, momentum=0.5)}, "--optimizers says"),
    "finetune.regularizations": ({"finetune": replace(CONFIG.finetune, regularizations=(0.0, 1.0))}, "one strength"),
}


@pytest.mark.parametrize("field", BAD)
def test_bad_fields_are_refused_in_one_line(field):
    changes, allowed = BAD[field]
    with pytest.raises(InvalidInput) as refused:
        run(replace(CONFIG, **changes), progress=False)
    assert refused.value.field == field or str(refused.value).startswith(field)
    assert allowed in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_bad_flag_ends_with_status_2(tmp_path, capsys):
    assert main(["--level", "2", "--out", str(tmp_path / "result")]) == 2
    assert "level: got 2" in capsys.readouterr().err
