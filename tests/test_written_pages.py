"""The pages that nobody edits hold all that they are about, without Sphinx."""

import json
import re
from importlib import import_module

import pytest

import linsim
from docs.writers import ROOT, answers, benchmarks, claims, experiments, margins, notes, readme, reference
from docs.writers.docstrings import marked
from experiments.command.names import experiments as commands
from figures.gallery import GALLERY, PAGE
from linsim.claims.registry import CLAIMS


@pytest.fixture(scope="module")
def cards():
    return "".join(claims.pages(ROOT, drawing=False).values())


def test_every_claim_has_a_card_with_its_variants_its_boundary_and_why(cards):
    for claim in CLAIMS.values():
        (card,) = [part for part in cards.split("\n(claim-") if part.startswith(f"{claim.id})=")]
        told = [variant.name.replace("-", " ") for variant in claim.variants]
        assert all(name in card for name in ["\nWhy\n", "\nLast tried\n", *told])
        assert ("\nFails without\n" in card) == (claim.beyond is not None)


def test_a_claim_that_was_never_judged_says_so():
    assert "not yet" in claims.card(CLAIMS["rise-time"], None, "")


def test_your_own_verdicts_count_before_those_that_come_with_the_pages_and_can_be_kept(tmp_path):
    verdict = {
        "id": "rise-time",
        "status": "holds",
        "examples_tried": 7,
        "worst_margin": 0.5,
        "worst_problem": {"x": 1},
    }
    other = {**verdict, "id": "stronger-first"}
    told = {
        claims.OWN: [{**verdict, "examples_tried": 8, "error": ""}],
        claims.KEPT: [{**verdict, "error": ""}, {**other, "error": ""}],
    }
    for path, verdicts in told.items():
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(json.dumps({"claims": verdicts}))
    (tmp_path / "paper_notes.md").write_text("\n## Derivations\n")
    assert "holds on 8 problems; least margin 0.5" in claims.pages(tmp_path, drawing=False)["claims/learning.md"]
    margins.keep(tmp_path)
    assert json.loads((tmp_path / claims.KEPT).read_text()) == {"claims": [{**verdict, "examples_tried": 8}, other]}


def test_a_domain_that_hides_its_bounds_is_told_by_what_it_draws():
    told = claims.drawn(CLAIMS["logistic-mode"].domain)
    assert told["balance"] == "0"
    assert told["strengths"].startswith("1, 2 or 8 numbers, ")


def test_every_command_has_a_page_and_every_picture_is_shown():
    written = experiments.pages(ROOT, helped=False)
    assert {f"experiments/{name.replace('-', '_')}.md" for name in commands()} < set(written)
    for entry in GALLERY:
        assert f"{entry.name}.png" in written[f"experiments/{entry.experiment or entry.name}.md"]
        assert f"{entry.name}.png" in written["experiments/index.md"]


def test_flags_are_told_as_the_command_is_helped_with():
    assert "--examples INT" in experiments.flags(import_module("experiments.claims"))


def test_a_picture_that_the_gallerys_page_does_not_show_yet_has_a_section(tmp_path):
    (tmp_path / PAGE).parent.mkdir()
    (tmp_path / PAGE).write_text("# Gallery\n\nPreface.\n")
    page = experiments.pages(tmp_path, helped=False)["experiments/stages.md"]
    assert "figures/gallery/stages.png" in page
    assert "linsim stages" in page


def test_every_public_name_is_in_the_reference():
    told = "".join(reference.pages(ROOT / "linsim/__init__.pyi").values())
    assert all(f":: linsim.{name}\n" in told for name in linsim.__all__)


def test_links_of_the_notes_lead_to_pages():
    told = notes.pages(ROOT)["notes.md"]
    assert "figures/README.md" not in told
    assert all(f"<claim-{name}>`" in told for name in CLAIMS)


def test_rows_of_a_benchmark_stand_under_the_processor_that_ran_them(tmp_path):
    folder = tmp_path / "a_processor"
    folder.mkdir()
    (folder / "machine.json").write_text(
        json.dumps({"processor": "A processor", "cores": 3, "jax": "1", "measured": "x"})
    )
    row = {
        "name": "ours | theirs",
        "unit": "steps",
        "ours": 2.0,
        "peer": 1.0,
        "ratio": 2.0,
        "low": 1.9,
        "high": 2.1,
        "note": "",
    }
    both, pinned = row | {"cpu_ratio": 3.0, "busy": 0.25}, row | {"name": "alone", "cpu_ratio": 2.0, "busy": None}
    (folder / "gram.json").write_text(json.dumps([row, both, pinned]))
    told = benchmarks.pages(tmp_path)["benchmarks.md"]
    assert "## A processor" in told
    assert r"| ours \| theirs | 2 | 1.9 to 2.1 |  |  | 2 steps/s |" in told
    assert r"| ours \| theirs | 2 | 1.9 to 2.1 | 3 | 25% |" in told
    assert "| alone |  | 1.9 to 2.1 | 2 |  |" in told


def test_the_readme_tells_the_answers_of_the_gallery():
    told, gallery = (ROOT / "README.md").read_text(), (ROOT / PAGE).read_text()
    assert readme.rewritten(told, gallery) == told, "python -m docs.writers.readme writes it anew"
    assert (
        readme.rewritten(told.replace("| What helps against it? | ", "| What helps against it? | Not "), gallery)
        == told
    )


def test_practitioners_read_every_experiment_of_the_gallery_and_no_number_that_no_finding_states():
    template = answers.PRACTICE.read_text()
    pictured = {entry.experiment or entry.name for entry in GALLERY}
    assert {name.replace("-", "_") for name in answers.QUOTED.findall(template)} == pictured
    assert not re.findall(r"\d", template)
    found = answers.findings((ROOT / PAGE).read_text())
    assert answers.escaped(found["severity"]) in answers.practice(template, found)


def test_theorists_read_every_claim_once():
    told = answers.pages(ROOT)["theorists.md"]
    assert all(told.count(f"<claim-{name}>") == 1 for name in CLAIMS)


def test_docstrings_are_read_as_they_stand_in_the_source():
    lines = ["|s| of `seen`, P_0 and s_", "", "    y = |x|", "", "Example:", "  >>> |x|", ""]
    assert marked(lines) == [
        *[r"\|s\| of ``seen``, P_0 and s\_", "", "::", "", "       y = |x|", ""],
        *["Example:", "  >>> |x|", ""],
    ]
