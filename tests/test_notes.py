"""paper_notes.md and the code say the same."""

import re
from importlib import import_module
from pathlib import Path

import pytest

from linsim.claims.registry import CLAIMS
from tests.claims.table import rewritten

ROOT = Path(__file__).parent.parent
NOTES = (ROOT / "paper_notes.md").read_text()


def rows(heading):
    """Cells of the first table below a heading."""
    lines = NOTES.split(f"\n## {heading}\n")[1].splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("|"))
    table = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        table.append([cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return table


def test_the_table_of_claims_is_the_registry():
    assert rewritten(NOTES) == NOTES, "python -m tests.claims.table writes it anew"
    assert len(rows("Claims")) == len(CLAIMS)


def test_a_page_that_says_otherwise_is_rewritten_around_the_table_only():
    altered = NOTES.replace("Two balanced layers have half of a mode", "Two layers have half of a mode", 1)
    assert altered != NOTES
    assert rewritten(altered) == NOTES


def test_every_claim_has_a_derivation():
    derivations = NOTES.split("\n## Derivations\n")[1].split("\n## ")[0]
    told = re.findall(r"^\*\*([a-z0-9-]+(?:, [a-z0-9-]+)*)\.\*\*", derivations, flags=re.MULTILINE)
    assert sorted(", ".join(told).split(", ")) == sorted(CLAIMS)


CLOSED_FORMS = rows("Closed forms")


@pytest.mark.parametrize("row", CLOSED_FORMS, ids=[f"{row[0]} {row[1][:40]}" for row in CLOSED_FORMS])
def test_functions_and_tests_named_in_the_table_of_closed_forms_exist(row):
    _number, _statement, functions, _against, tests = row
    for name in re.findall(r"`([\w.]+)`", functions):
        room, _, attribute = name.rpartition(".")
        assert hasattr(import_module(f"linsim.{room}"), attribute), name
    for path in re.findall(r"`([\w/.]+)`", tests):
        assert (ROOT / "tests" / path).exists(), path


def test_equations_of_claims_have_a_closed_form_or_a_section():
    covered = {number for row in CLOSED_FORMS for number in row[0].split(", ")}
    assert {claim.equation for claim in CLAIMS.values()} <= covered
