"""The judge: what holds holds, what fails is refuted by a simple problem, and the same seed says the same."""

import json
import math
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import pytest
from hypothesis import assume, reject, settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture.engine import ConjectureRunner

from linsim.claims.claim import Claim, Outside, Variant
from linsim.claims.judge import Case, judge, on_domain
from linsim.claims.registry import CLAIMS
from linsim.claims.report import as_json, from_json
from linsim.errors import InvalidInput, require_axis
from linsim.testing.draws import numbers

ROOT = Path(__file__).parent.parent.parent
UNIT = st.fixed_dictionaries({"x": numbers(0.0, 100.0)})


def below(problem, most=100.0):
    return most + 0.5 - problem["x"]


CLAIM = Claim(
    id="bounded",
    statement="x < 100.5",
    source="re-derived",
    equation="0.0",
    domain=UNIT,
    check=below,
    variants=(Variant(name="ten", changes={"most": 10.0}), Variant(name="wider", domain=st.just({"x": 200.0}))),
    beyond=Outside(
        assumption="x <= 100",
        domain=st.fixed_dictionaries({"x": numbers(0.0, 1000.0)}),
        example={"x": 101.0},
    ),
)


def test_a_true_claim_holds_and_its_variants_are_refuted():
    verdict = judge(CLAIM, 50)
    assert verdict.status == "holds"
    assert verdict.sound
    assert verdict.inside.tried == 50
    assert verdict.inside.counterexample is None
    assert {name: trial.status for name, trial in verdict.variants.items()} == {"ten": "refuted", "wider": "refuted"}
    assert 0.5 <= verdict.inside.worst.margin < 1
    assert str(replace(verdict, inside=replace(verdict.inside, worst=Case({"x": 100.0}, 0.5)))) == (
        "bounded holds; 50 examples, worst margin 0.5; 2 of 2 wrong variants refuted"
    )


def test_a_verdict_survives_a_file():
    for claim in (CLAIM, replace(CLAIM, beyond=None, check=lambda problem, most=0.0: math.nan)):
        verdict = judge(claim, 10)
        assert from_json(json.loads(json.dumps(as_json(verdict)))) == verdict


def test_the_search_goes_towards_small_margins():
    needle = replace(CLAIM, domain=st.fixed_dictionaries({"x": numbers(0.0, 1e9).map(lambda x: x / 1e7)}))
    assert judge(needle, 200).inside.worst.margin < 1.0


def test_steering_that_gets_nowhere_ends(monkeypatch):
    calls, run = [], ConjectureRunner.test_function
    monkeypatch.setattr(ConjectureRunner, "test_function", lambda self, data: calls.append(1) or run(self, data))
    assert on_domain(CLAIMS["saturation"], 300).tried == 300
    assert len(calls) < 10 * 300  # left alone, Hypothesis makes some 28,000


def test_counterexamples_are_the_simplest_ones():
    verdict = judge(CLAIM, 50)
    assert verdict.variants["ten"].counterexample.problem == {"x": 11.0}
    assert verdict.variants["ten"].counterexample.margin == -0.5
    assert verdict.outside.found.counterexample.problem == {"x": 101.0}
    rough = judge(CLAIM, 50, shrink=False)
    assert rough.variants["ten"].status == "refuted"
    assert rough.variants["ten"].counterexample.problem != {"x": 11.0}


def test_a_false_claim_is_refuted_inside_its_domain():
    margins = []

    def false(problem, most=50.0):
        margins.append(below(problem, most))
        return margins[-1]

    verdict = judge(replace(CLAIM, check=false), 50)
    assert verdict.status == "refuted"
    assert not verdict.sound
    assert verdict.inside.counterexample.problem == {"x": 51.0}
    assert verdict.inside.worst.margin <= 0
    assert verdict.inside.tried == 1 + next(n for n, margin in enumerate(margins) if margin <= 0) < 50
    assert "bounded refuted on {'x': 51.0}" in str(verdict)


def test_a_variant_that_survives_makes_a_claim_unsound():
    verdict = judge(replace(CLAIM, variants=(Variant(name="same", changes={"most": 100.0}),)), 20)
    assert verdict.status == "holds"
    assert verdict.variants["same"].status == "holds"
    assert not verdict.sound


def test_a_kept_example_that_is_no_counterexample_makes_a_claim_unsound():
    verdict = judge(replace(CLAIM, beyond=replace(CLAIM.beyond, example={"x": 3.0})), 20)
    assert verdict.outside.kept.status == "holds"
    assert verdict.outside.kept.worst.margin == 97.5
    assert not verdict.sound


@pytest.mark.parametrize("margin", [math.nan, -math.inf, 0.0, -0.0])
def test_a_margin_of_nan_or_zero_is_refuted(margin):
    trial = judge(replace(CLAIM, check=lambda problem, most=0.0: margin), 10).inside
    assert trial.status == "refuted"
    assert trial.counterexample.margin == (-math.inf if math.isnan(margin) else margin)
    assert trial.tried == 1


def test_a_check_that_raises_is_an_error_with_its_message_and_the_simplest_problem():
    def broken(problem, most=0.0):
        if problem["x"] > 10:
            raise RuntimeError("solver\ndiverged")
        return 1.0

    verdict = judge(replace(CLAIM, check=broken), 50)
    assert verdict.status == "error"
    assert not verdict.sound
    assert verdict.inside.error == "RuntimeError: solver diverged"
    assert verdict.inside.counterexample.problem == {"x": 11.0}
    assert "bounded error on {'x': 11.0}: RuntimeError: solver diverged" in str(verdict)


def test_shrinking_never_turns_an_error_into_a_refutation():
    for seed in range(4):
        failures = []

        def both(problem, most=0.0, failures=failures):  # simpler problems are refuted, others raise
            if problem["x"] > 10:
                failures.append("error" if problem["x"] > 20 else "refuted")
            if problem["x"] > 20:
                raise RuntimeError("far off")
            return 10.5 - problem["x"]

        trial = judge(replace(CLAIM, check=both), 50, seed).inside
        assert trial.status == failures[0]
    assert failures[0] == "error"  # the harder case came up


def test_a_check_that_gives_no_number_is_an_error():
    trial = judge(replace(CLAIM, check=lambda problem, most=0.0: None), 10).inside
    assert trial.status == "error"
    assert "TypeError" in trial.error


def test_broken_assumptions_are_not_counted_as_tried():
    calls = []

    def choosy(problem, most=100.0):
        calls.append(problem["x"])
        assume(problem["x"] >= 50)
        if problem["x"] > 90:
            reject()
        return below(problem, most)

    trial = judge(replace(CLAIM, check=choosy, beyond=None), 30).inside
    assert trial.status == "holds"
    assert trial.tried == 30
    assert len(calls) > 30
    assert 50 <= trial.worst.problem["x"] <= 90


def test_every_problem_that_counts_is_a_different_one():
    seen = []

    def record(problem, most=100.0):
        seen.append(tuple(problem.values()))
        return below(problem, most)

    few = st.fixed_dictionaries({"x": st.sampled_from([1.0, 2.0, 3.0]), "y": st.booleans()})
    trial = judge(replace(CLAIM, domain=few, check=record, variants=CLAIM.variants[1:], beyond=None), 100).inside
    assert trial.tried == 6
    assert sorted(set(seen) - {(200.0,)}) == sorted({(x, y) for x in (1.0, 2.0, 3.0) for y in (False, True)})
    assert len(seen) == len(set(seen))


def test_problems_that_are_drawn_twice_are_made_up_for():
    # Steering towards a margin that never changes draws the same problems over and over.
    flat = st.fixed_dictionaries({"x": numbers(0.0, 1.0), "y": numbers(0.0, 1.0), "steps": st.integers(1, 300)})
    assert judge(replace(CLAIM, domain=flat, check=lambda problem, most=0.0: 1.0), 40).inside.tried == 40


def test_an_empty_domain_is_an_error():
    trial = judge(replace(CLAIM, domain=UNIT.filter(lambda problem: problem["x"] > 100)), 10).inside
    assert (trial.status, trial.tried, trial.error) == ("error", 0, "no problem could be drawn from the domain")


def test_a_domain_that_draws_no_plain_data_is_an_error():
    trial = judge(replace(CLAIM, domain=st.just({"x": jnp.ones(2)})), 10).inside
    assert trial.status == "error"
    assert "problem.x: got Array" in trial.error


def test_a_check_cannot_change_the_problem_it_is_told_of():
    def greedy(problem, most=0.0):
        return -problem.pop("x") - 1

    assert "x" in judge(replace(CLAIM, check=greedy), 10).inside.counterexample.problem


def test_checks_run_in_float64_and_domains_may_use_what_type_checkers_look_into():
    def precise(problem, most=100.0):
        return 1.0 if jnp.ones(1).dtype == jnp.float64 else -1.0

    def positive(values):
        require_axis("values", [*values], above=-1)  # checked at run time, with the global `random`
        return random.random() >= 0  # Hypothesis warns of this in a strategy

    lists = st.lists(numbers(0, 1), min_size=3, max_size=3, unique=True).map(sorted).filter(positive)
    domain = lists.map(lambda values: {"x": values[0]})
    assert judge(replace(CLAIM, check=precise, domain=domain), 20).inside.status == "holds"


def test_the_same_seed_gives_the_same_verdict_whatever_the_profile():
    first = judge(CLAIM, 40, 7)
    profile = settings.get_current_profile_name()
    try:
        settings.load_profile("ci" if profile == "quick" else "quick")
        random.seed(1)
        assert judge(CLAIM, 40, 7) == first
    finally:
        settings.load_profile(profile)
    assert judge(CLAIM, 40, 8) != first


SCRIPT = """
import constants, experiments.digits
from tests.claims.test_judge import CLAIM, judge
print(judge(CLAIM, 300, 3))
print(judge(CLAIM, 300, 3).inside.worst, judge(CLAIM, 300, 3, shrink=False).variants)
"""


def test_a_verdict_depends_neither_on_the_process_nor_on_what_is_loaded(tmp_path):
    # Left alone, Hypothesis draws some of its numbers from the source of loaded modules, and keeps a folder of them.
    (tmp_path / "constants.py").write_text("NUMBERS = [" + ", ".join(f"{n / 7}" for n in range(600)) + "]\n")
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    here = judge(CLAIM, 300, 3)
    assert done.stdout == f"{here}\n{here.inside.worst} {judge(CLAIM, 300, 3, shrink=False).variants}\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["constants.py"]


def test_judging_leaves_the_global_random_numbers_alone():
    random.seed(5)
    expected = random.random()
    random.seed(5)
    judge(CLAIM, 10)
    assert random.random() == expected


def test_an_interrupt_is_passed_on():
    def stop(problem, most=0.0):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge(replace(CLAIM, check=stop), 10)


@pytest.mark.parametrize("arguments", [{"examples": 0}, {"seed": -1}])
def test_a_number_of_examples_or_a_seed_that_is_none_is_refused(arguments):
    with pytest.raises(InvalidInput, match=next(iter(arguments))):
        judge(CLAIM, **arguments)
