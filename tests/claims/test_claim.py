"""What a claim must be made of, and its margins."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linsim.claims.claim import Claim, Outside, Variant, plain_from_json, require_plain
from linsim.claims.margins import equals, every, exceeds, holds, same_side
from linsim.errors import InvalidInput

ROOT = Path(__file__).parent.parent.parent
DOMAIN = st.fixed_dictionaries({"x": st.floats(0, 1)})


def check(problem, power=2.0):
    return problem["x"] ** power


def make(**changes):
    parts = {
        "id": "squares-are-positive",
        "statement": "x^2 > 0",
        "source": "re-derived",
        "equation": "0.0",
        "domain": DOMAIN,
        "check": check,
        "variants": (Variant(name="cube", changes={"power": 3.0}),),
    }
    return Claim(**(parts | changes))


CUBE = Variant(name="cube", changes={"power": 3.0})
BAD = {
    "no domain": (lambda: make(domain=None), "domain: got None; allowed: a Hypothesis strategy over problems"),
    "a list for a domain": (
        lambda: make(domain=[{"x": 1.0}]),
        "domain: got [{'x': 1.0}]; allowed: a Hypothesis strategy",
    ),
    "no variant": (lambda: make(variants=()), "variants: got (); allowed: at least one Variant that must fail"),
    "a variant that is none": (
        lambda: make(variants=("cube",)),
        "variants: got ('cube',); allowed: at least one Variant",
    ),
    "two variants of one name": (
        lambda: make(variants=(CUBE, CUBE)),
        "variants: got cube, cube; allowed: names that differ",
    ),
    "a change that the check does not take": (
        lambda: make(variants=(Variant(name="cube", changes={"exponent": 3.0}),)),
        "variants.cube.changes: got exponent; allowed: keyword arguments that the check takes",
    ),
    "a variant that changes nothing": (lambda: Variant(name="same"), "variant: got same; allowed: changes or a domain"),
    "changes that have no names": (
        lambda: Variant(name="cube", changes=[3.0]),
        "variant.changes: got [3.0]; allowed: keyword",
    ),
    "a domain of a variant that is none": (
        lambda: Variant(name="cube", domain=3),
        "variant.domain: got 3; allowed: a Hypothesis",
    ),
    "a variant named in capitals": (
        lambda: Variant(name="Cube", changes={"power": 3.0}),
        "variant.name: got Cube; allowed: kebab",
    ),
    "an id with underscores": (lambda: make(id="squares_are"), "id: got squares_are; allowed: kebab-case"),
    "an id that ends in a hyphen": (lambda: make(id="squares-"), "id: got squares-; allowed: kebab-case"),
    "an id that is no text": (lambda: make(id=3), "id: got 3; allowed: kebab-case"),
    "a statement of two lines": (
        lambda: make(statement="x^2\n> 0"),
        "statement: got 'x^2\\n> 0'; allowed: one line of text",
    ),
    "an empty statement": (lambda: make(statement=""), "statement: got ''; allowed: one line of text"),
    "no source": (lambda: make(source=" "), "source: got ' '; allowed: one line of text"),
    "an equation that is a number": (
        lambda: make(equation=1.1),
        "equation: got 1.1; allowed: a number of paper_notes.md",
    ),
    "a check that cannot be called": (
        lambda: make(check=0.5),
        "check: got 0.5; allowed: a function problem, **changes",
    ),
    "a boundary without example": (
        lambda: Outside(assumption="x > 0", domain=DOMAIN, example={}),
        "beyond.example: got {}; allowed: plain data",
    ),
    "an example with an array": (
        lambda: Outside(assumption="x > 0", domain=DOMAIN, example={"x": np.zeros(2)}),
        "beyond.example.x: got array([0., 0.]); allowed: plain data",
    ),
    "a boundary without domain": (
        lambda: Outside(assumption="x > 0", domain=None, example={"x": 0.0}),
        "beyond.domain: got None; allowed: a Hypothesis strategy",
    ),
    "a boundary without assumption": (
        lambda: Outside(assumption="", domain=DOMAIN, example={"x": 0.0}),
        "beyond.assumption: got ''; allowed: one line of text",
    ),
    "a boundary that is a strategy": (lambda: make(beyond=DOMAIN), "allowed: an Outside, or None"),
}


def messages():
    """What each of BAD says; other exceptions pass."""
    told = {}
    for case, (build, _) in BAD.items():
        try:
            build()
        except InvalidInput as error:
            told[case] = str(error)
    return told


@pytest.fixture(scope="module")
def told():
    """As a user is told, without the checks of types at run time that the tests put before ours."""
    script = "import json\nfrom tests.claims.test_claim import messages\nprint(json.dumps(messages()))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("case", BAD)
def test_a_claim_that_is_not_whole_is_one_clear_line(told, case):
    assert BAD[case][1] in told[case]
    assert "\n" not in told[case]


def test_a_whole_claim_is_accepted_with_and_without_a_boundary():
    outside = Outside(assumption="x > 0", domain=DOMAIN, example={"x": 0.0})
    assert make().beyond is None
    assert make(beyond=outside).beyond is outside
    assert make(variants=[CUBE, Variant(name="other-domain", domain=DOMAIN)]).id == "squares-are-positive"


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, np.float64(1), np.int64(1), None, [1.0], ((1.0,),), ("a",), {"y": 1}]
)
def test_a_problem_holds_plain_finite_data_only(value):
    with pytest.raises(InvalidInput, match=r"problem\.x: got .*; allowed: plain data"):
        require_plain("problem", {"x": value})


def test_a_plain_problem_survives_a_file():
    problem = {"sigma": (2.0, 1.0), "steps": 3, "kind": "gaussian", "whitened": True, "none": ()}
    require_plain("problem", problem)
    assert plain_from_json(json.loads(json.dumps(problem))) == problem


def test_equals_is_1_where_exact_0_at_the_tolerance_and_negative_beyond():
    assert equals(2.0, 2.0, 1e-3) == 1.0
    assert equals(np.asarray([0.0, 2.0]), np.asarray([0.0, 2.002]), 1e-3, scale=2.0) == pytest.approx(0.0, abs=1e-9)
    assert equals(1.0, 1.01, 1e-3, scale=1.0) == pytest.approx(-9.0)
    assert equals([1.0, 1.0], 1.0, 1e-3) == 1.0
    assert equals(0.0, 0.0, 1e-3) == 1.0
    assert equals(-4.0, 4.0, 1.0) == pytest.approx(-1.0)  # relative to the larger magnitude, here 4


def test_exceeds_is_strict_without_rounding():
    assert exceeds(1.0, 1.0) == 0.0
    assert exceeds(1.0, 1.0, rounding=1e-12) == 1e-12
    assert exceeds([3.0, 1.0], [1.0, 2.0], scale=1.0) == -1.0
    assert exceeds([2.0, 4.0], 1.0) == 0.25
    assert exceeds(1e9, 0.0, scale=1.0) == 1.0


def test_same_side_holds_where_both_or_neither_are_beyond_their_threshold():
    assert same_side(0.5, 0.2) == 0.2
    assert same_side(-0.5, -0.2) == 0.2
    assert same_side(-0.5, 0.2) == -0.2
    assert same_side(-1e-14, 1e-14, rounding=1e-12) > 0


@given(st.sampled_from([math.nan, math.inf, -math.inf]))
def test_what_cannot_be_computed_counts_as_refuted(value):
    assert not holds(exceeds(value, value, rounding=1e-12))
    if math.isnan(value):
        assert not holds(same_side(value, 1.0))
        assert not holds(exceeds(value, 1.0))
        assert not holds(equals(1.0, 1.0, 1e-3, scale=value))
    assert not holds(equals(value, 1.0, 1e-3))
    assert not holds(equals([value, 1.0], [value, 1.0], 1e-3))
    assert not holds(every(1.0, -math.inf if value > 0 else value))
    assert not holds(math.nan)
    assert every(1.0, math.nan, 1.0) == every(math.nan, 1.0) == -math.inf
    assert every(0.5, 0.25) == 0.25


def test_margins_of_shapes_that_do_not_match_are_refused_rather_than_broadcast():
    with pytest.raises(InvalidInput, match=r"margin: got shapes \(2, 1\) and \(2,\)"):
        equals(np.ones((2, 1)), np.ones(2), 1e-3)
    with pytest.raises(InvalidInput, match="tolerance: got 0"):
        equals(1.0, 1.0, 0)
    with pytest.raises(InvalidInput, match="margin: .* at least one"):
        exceeds([], [])
    with pytest.raises(InvalidInput, match="scale: got 0"):
        equals(1.0, 1.0, 1e-3, scale=0.0)
