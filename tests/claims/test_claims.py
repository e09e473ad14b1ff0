"""Every claim of the registry: it holds, its wrong variants fail, and so does the kept example beyond its boundary."""

import ast
import functools
from importlib import import_module
from pathlib import Path

import pytest

from linsim.claims.claim import Claim
from linsim.claims.judge import judge
from linsim.claims.registry import CLAIMS, gather
from linsim.errors import InvalidInput

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = 6


@functools.cache
def verdict_on(name):
    """Each claim is judged once, without shrinking: what fails is printed as it was drawn."""
    return judge(CLAIMS[name], EXAMPLES, shrink=False)


@pytest.mark.parametrize("name", CLAIMS)
def test_it_holds_on_its_domain(name):
    verdict = verdict_on(name)
    assert verdict.status == "holds", verdict
    assert verdict.inside.tried > 0


@pytest.mark.parametrize(
    ("name", "variant"), [(claim.id, wrong.name) for claim in CLAIMS.values() for wrong in claim.variants]
)
def test_its_wrong_variant_is_refuted(name, variant):
    assert verdict_on(name).variants[variant].status == "refuted", verdict_on(name).variants[variant]


@pytest.mark.parametrize("name", [claim.id for claim in CLAIMS.values() if claim.beyond is not None])
def test_it_fails_on_the_kept_example_beyond_its_boundary(name):
    kept = verdict_on(name).outside.kept
    assert kept.status == "refuted", kept
    assert kept.worst.margin <= 0


def test_every_theme_is_in_the_registry():
    files = [path for path in (ROOT / "linsim/claims/themes").rglob("*.py") if "\nCLAIMS" in path.read_text()]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files]
    assert len(names) > 10
    assert sorted(CLAIMS) == sorted(claim.id for name in names for claim in import_module(name).CLAIMS)
    assert all(isinstance(claim, Claim) and claim.id == name for name, claim in CLAIMS.items())


def test_two_claims_of_one_id_are_refused():
    claim = next(iter(CLAIMS.values()))
    with pytest.raises(InvalidInput, match=f"id: got {claim.id}; allowed: an id that no other claim has"):
        gather((claim,), (claim,))


def test_only_claims_and_the_strategies_need_hypothesis():
    for path in [*(ROOT / "linsim").rglob("*.py"), *(ROOT / "figures").glob("*.py")]:
        names = {
            alias.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        names |= {node.module for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)}
        needs = any(name and name.split(".")[0] == "hypothesis" for name in names)
        assert not needs or {"claims", "testing"} & {*path.relative_to(ROOT).parts[1:2]}, path
