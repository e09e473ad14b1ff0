"""A finding says what it says wherever it is read again, and nothing else can be one."""

import json
import math

import numpy as np
import pytest
import xarray as xr

from linsim.errors import InvalidInput
from linsim.finding import Finding

FOUND = Finding(
    "Longer pre-training costs 12 % on 3 of 10 cells",
    "seen",
    {"harm": 0.12, "cells": np.int64(3), "largest": math.inf, "lowest": -math.inf, "unknown": math.nan},
    ("The closed form says so too.", "  A line further in: × 2 ≤ λ"),
    "DO NOT TRUST THIS RESULT",
)


def test_it_survives_a_result_and_strict_json_numbers_that_are_not_finite_included():
    again = Finding.of(FOUND.stored_in(xr.Dataset()))
    assert again.to_json() == FOUND.to_json()
    assert (again.sentence, again.verdict, again.details, again.trust) == (
        *(FOUND.sentence, FOUND.verdict, FOUND.details, FOUND.trust),
    )
    assert {**again.numbers, "unknown": 0} == {**FOUND.numbers, "unknown": 0}
    assert math.isnan(again.numbers["unknown"])
    json.loads(FOUND.to_json(), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def test_numbers_are_plain_whatever_type_they_were_computed_in():
    numbers = Finding("A", "not seen", {"steps": np.int32(7), "share": np.float32(0.5)}).numbers
    assert [type(value) for value in numbers.values()] == [int, float]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sentence": ""}, "sentence: got ''; allowed: one sentence in one line"),
        ({"sentence": "a\nb"}, "sentence: got a b; allowed: one sentence in one line"),
        ({"sentence": "A."}, "sentence: got A.; allowed: one sentence in one line, without its full stop"),
        ({"verdict": "maybe"}, "verdict: got maybe; allowed: one of seen, not seen, cannot tell"),
        ({"numbers": {"harm": "12 %"}}, "numbers['harm']: got 12 %; allowed: a real number"),
        ({"numbers": {"harm": True}}, "numbers['harm']: got True; allowed: a real number"),
        ({"numbers": [1.0]}, "numbers: got [1.0]; allowed: a mapping"),
        ({"details": "one line"}, "details: got one line; allowed: lines of text"),
        ({"trust": None}, "trust: got None; allowed: text"),
    ],
)
def test_what_is_no_finding_is_refused_in_one_line(unchecked, change, said):
    with pytest.raises(InvalidInput) as refused:
        Finding(**{"sentence": "A", "verdict": "seen"} | change)
    assert str(refused.value).startswith(said)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"sentence": "A", "verdict": "seen", "numbers": {"a": "big"}}', '{"sentence": "A"}']
)
def test_damaged_text_is_refused_in_one_line(unchecked, text):
    with pytest.raises(InvalidInput, match="finding: got .*; allowed: what Finding.to_json writes"):
        Finding.from_json(text)
    with pytest.raises(InvalidInput, match="dataset: got no attribute finding"):
        Finding.of(xr.Dataset())
