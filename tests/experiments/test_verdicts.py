"""Every verdict of every experiment by a configuration: what has to be seen for each of them, and that it is."""

import re
from dataclasses import replace
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, NamedTuple

import pytest

import experiments
from experiments import (
    checkpoint_pair,
    claims,
    depth_and_width,
    digits,
    fixed_rate,
    incremental_learning,
    overtraining_chart,
    progressive_sensitivity,
    regularization,
    rich_and_lazy,
    sweep,
    tuned_rate,
)
from experiments.tuned_rate.losses import SampleConfig
from linsim.claims.report import finding
from linsim.commands.config import (
    FinetuneConfig,
    NetworkConfig,
    PretrainConfig,
    RefinedConfig,
    ShiftConfig,
    TaskConfig,
)
from linsim.finding import VERDICTS, Finding, Verdict
from linsim.sweeping.running import running
from tests.experiments import (
    test_data_distribution,
    test_early_exposure,
    test_finite_sample,
    test_forecast,
    test_forecast_scores,
    test_goldilocks,
    test_mitigations,
    test_new_heads,
    test_objectives,
    test_optimizers,
    test_relabelled_digits,
    test_severity,
    test_stages,
    test_superposition,
    test_tasks_in_turn,
    test_three_phases,
    test_watch,
)
from tests.experiments.monitors import test_experiment as test_monitors
from tests.experiments.transformer import test_experiment as test_transformer
from tests.experiments.transformer import test_result as test_stored_transformer

BESIDE = {
    "data_distribution": test_data_distribution.VERDICTS,
    "early_exposure": test_early_exposure.VERDICTS,
    "finite_sample": test_finite_sample.VERDICTS,
    "goldilocks": test_goldilocks.VERDICTS,
    "forecast": test_forecast.VERDICTS,
    "forecast_scores": test_forecast_scores.VERDICTS,
    "mitigations": test_mitigations.VERDICTS,
    "monitors": test_monitors.VERDICTS,
    "new_heads": test_new_heads.VERDICTS,
    "objectives": test_objectives.VERDICTS,
    "optimizers": test_optimizers.VERDICTS,
    "relabelled_digits": test_relabelled_digits.VERDICTS,
    "severity": test_severity.VERDICTS,
    "stages": test_stages.VERDICTS,
    "superposition": test_superposition.VERDICTS,
    "tasks_in_turn": test_tasks_in_turn.VERDICTS,
    "three_phases": test_three_phases.VERDICTS,
    "transformer": test_transformer.VERDICTS | test_stored_transformer.VERDICTS,
    "watch": test_watch.VERDICTS,
}
"""Tables of experiments whose rows share fixtures or compiled programs with their other tests; verdicts come last."""

IMPOSSIBLE = {
    ("claims", "not seen"): "a claim that fails is corrected; test_claims.py registers wrong ones",
    ("claims", "cannot tell"): "a claim holds on every problem that is tried, or one of them refutes it",
}


class Row(NamedTuple):
    """A configuration, and what is found with it."""

    experiment: str
    verdict: Verdict
    why: str
    config: Any


def of(experiment: str, base: Any, *rows: tuple[Verdict, str, dict[str, Any]]) -> list[Row]:
    """Rows of one experiment, each the base configuration with some fields changed."""
    return [Row(experiment, verdict, why, replace(base, **changes)) for verdict, why, changes in rows]


# Shapes are the same wherever they can be, so that one compiled program serves many rows.
SHORT = PretrainConfig(learning_rate=0.02, steps=500, first=5, budgets=12)
REFINED = RefinedConfig(learning_rate=0.02, steps=500, first=5, budgets=12)
TUNING = FinetuneConfig(steps=50, learning_rates=(1e-3, 1e-2), regularizations=(0.0,))
CHART = {"dim": 3, "seeds": 1, "network": NetworkConfig(tau=3.0), "pretrain": SHORT, "finetune": TUNING}
SAME, WEAKER = {"shift": ShiftConfig(rescale_factor=1.0)}, {"shift": ShiftConfig(rescale_factor=0.5)}
PENALISED = replace(TUNING, regularizations=(0.0, 1.0))
ALONE = replace(TUNING, strengths=1, regularizations=None)
LEVELS = replace(TUNING, learning_rates=None, rates=12, lowest_rate=1e-4, highest_rate=2e-2)
RATES = FinetuneConfig(steps=40, rates=12, lowest_rate=1e-3, highest_rate=0.2, strengths=1)
LONGER = replace(SHORT, steps=2000)
DENSE = {"pretrain": replace(SHORT, first=1, budgets=80)}
BETWEEN = "turns may lie between the budgets"
RISES = PretrainConfig(learning_rate=0.01, steps=300, first=1, budgets=60)


def at(*rates: float, among: FinetuneConfig = TUNING, **changes: Any) -> dict[str, Any]:
    """Fine-tuning at other rates."""
    return {"finetune": replace(among, learning_rates=rates, **changes)}


ROWS = [
    *of(
        "overtraining_chart",
        overtraining_chart.Config(**CHART | {"pretrain": REFINED}),
        ("seen", "weak modes times four", {}),
        ("not seen", "the same task", SAME),
        ("cannot tell", BETWEEN, SAME | {"pretrain": SHORT}),
        ("cannot tell", "rates that diverge", at(50.0, 100.0)),
        # Curvature grows from 2 to 4 sigma as a mode is learned: a step that is stable early on no longer is.
        ("cannot tell", "later checkpoints are too sharp", SAME | at(0.35, 0.4, steps=1) | {"pretrain": SHORT}),
    ),
    *of(
        "digits",
        digits.Config(dim=4, seeds=1, pretrain=replace(REFINED, learning_rate=0.05, steps=2000), finetune=TUNING),
        ("seen", "other digits at large rates", at(0.1, 0.2)),
        ("not seen", "hardly any fine-tuning", at(1e-6, 1e-5)),
        ("cannot tell", "rates that diverge", at(50.0, 100.0)),
    ),
    *of(
        "sweep",
        sweep.Config(also=(), **CHART),
        ("seen", "two rates", {}),
        ("not seen", "the same task", SAME | DENSE),
        ("cannot tell", BETWEEN, SAME),
        ("cannot tell", "rates that diverge", at(50.0, 100.0)),
        ("cannot tell", "one rate", at(1e-3)),
    ),
    *of(
        "fixed_rate",
        fixed_rate.Config(**CHART, task=TaskConfig(rank=2), angles=(30.0,), checkpoints=("real",)),
        ("seen", "modes that overshoot", {}),
        ("not seen", "hardly any fine-tuning", at(1e-9, 2e-9) | DENSE),
        ("cannot tell", BETWEEN, at(1e-9, 2e-9)),
        ("cannot tell", "rates that diverge", at(50.0, 100.0)),
    ),
    *of(
        "checkpoint_pair",
        checkpoint_pair.Config(**CHART),
        ("seen", "weak modes times four", {}),
        ("not seen", "weak modes by half", WEAKER),
        ("cannot tell", "no two budgets so near", {"factor": 1.01}),
        ("cannot tell", "rates that diverge", at(50.0, 100.0)),
    ),
    *of(
        "depth_and_width",
        depth_and_width.Config(
            **CHART | {"finetune": ALONE, "checkpoints": ("real",), "depth": (2,), "starts": (3.0,)},
            **{"width": (3,), "width_dim": 3, "width_steps": 500, "width_budgets": 12},
        ),
        ("seen", "weak modes times four", {}),
        ("not seen", "weak modes by half", WEAKER | DENSE | {"width_budgets": 80}),
        ("cannot tell", f"the same task: {BETWEEN}", SAME),
        ("cannot tell", "rates that diverge", at(50.0, 100.0, among=ALONE)),
    ),
    *of(
        "regularization",
        regularization.Config(
            **CHART | {"finetune": PENALISED, "checkpoints": ("real",), "regularizers": ("weight_decay",)},
            **{"drawn": 1, "targets": 3},
        ),
        ("seen", "weak modes times four", {}),
        ("not seen", "weak modes by half", WEAKER | DENSE),
        ("cannot tell", BETWEEN, WEAKER),
        ("cannot tell", "rates that diverge", at(50.0, 100.0, among=PENALISED)),
    ),
    *of(
        "rich_and_lazy",
        rich_and_lazy.Config(
            **CHART | {"network": NetworkConfig(), "finetune": LEVELS},
            **{"taus": (3.0,), "balances": (0.02, 10.0), "levels": (0.5,)},
        ),
        ("seen", "a lazy network", {}),
        ("not seen", "one that is hardly lazier", {"balances": (0.02, 0.1)}),
        ("cannot tell", "the rich network shows no U", WEAKER),
        ("cannot tell", "the rates reach no level", {"finetune": replace(LEVELS, highest_rate=2e-4)}),
        ("cannot tell", "rates that diverge", {"finetune": replace(LEVELS, lowest_rate=50.0, highest_rate=100.0)}),
        ("cannot tell", "one balance", {"balances": (0.02,)}),
    ),
    *of(
        "tuned_rate",
        tuned_rate.Config(
            **CHART | {"network": NetworkConfig(init="gaussian"), "pretrain": LONGER, "finetune": RATES},
            **{"factors": (4.0,), "largest_rate": 0.02, "sample": SampleConfig(size=6)},
        ),
        ("seen", "a far task", {}),
        ("not seen", "a near task", {"factors": (2.0,)}),
        ("not seen", "the same task", {"factors": (1.0,)}),
        ("cannot tell", "a fixed rate that diverges", {"largest_rate": 50.0}),
        ("cannot tell", "a fixed rate beyond the edge of stability", {"largest_rate": 0.07}),
    ),
    *of(
        "progressive_sensitivity",
        progressive_sensitivity.Config(
            **{name: CHART[name] for name in ("dim", "seeds", "network", "pretrain")},
            **{"starts": ("identity",), "absolute": (0.2,), "relative": (0.3,), "samples": 0},
        ),
        ("seen", "noise of a fifth", {}),
        ("not seen", "hardly any noise", {"absolute": (1e-4,), "relative": (1e-4,)}),
        ("cannot tell", "a rate beyond the edge of stability", {"pretrain": replace(SHORT, learning_rate=0.3)}),
    ),
    *of(
        "incremental_learning",
        incremental_learning.Config(dim=2, depth=(2,), seeds=1, scales=(0.01, 0.1), pretrain=RISES),
        ("seen", "two layers", {}),
        ("not seen", "one layer", {"depth": (1,)}),
        ("cannot tell", "one scale", {"scales": (0.01,)}),
        ("cannot tell", "one mode", {"task": TaskConfig(rank=1)}),
        ("cannot tell", "no mode is learned", {"pretrain": replace(RISES, learning_rate=1e-6)}),
        ("cannot tell", "a rate beyond the edge of stability", {"pretrain": replace(RISES, learning_rate=0.4)}),
    ),
    Row("claims", "seen", "a claim that holds", claims.Config(examples=1, only=("stronger-first",))),
]


@pytest.mark.sampled(15)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.experiment}: {row.verdict}, {row.why}")
def test_every_verdict_has_a_configuration(row):
    module = import_module(f"experiments.{row.experiment}")
    if module is claims:  # whose result is no dataset
        assert finding(module.run(row.config)).verdict == row.verdict
        return
    with running(recheck=0):  # samples tell whether to trust a result, and take most of the compiling
        result = module.run(row.config)
    found = Finding.of(result)
    assert found.verdict == row.verdict, found.sentence
    assert not re.search(r"\bnan\b", module.experiment.tell(result))


def test_no_experiment_lacks_a_verdict():
    modules = {name: import_module(f"experiments.{name}") for _, name, _ in iter_modules(experiments.__path__)}
    asking = {name for name, module in modules.items() if hasattr(module, "run")}
    assert {"claims", "tuned_rate", "watch"} < asking
    driven = {(row.experiment, row.verdict) for row in ROWS}
    driven |= {(name, row[-1]) for name, table in BESIDE.items() for row in table.values()}
    assert not driven & IMPOSSIBLE.keys()
    assert driven | IMPOSSIBLE.keys() == {(name, verdict) for name in asking for verdict in VERDICTS}
