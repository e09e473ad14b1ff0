"""What was found: a page for practitioners, by question, and one for theorists, by chapter.

Sentences that state numbers are those of findings, as the gallery's page quotes them, and of claims.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from figures.gallery import GALLERY, PAGE
from linsim.claims.claim import Claim
from linsim.claims.registry import CLAIMS
from linsim.commands.spoken import dashed

from .claims import CHAPTERS, escaped, verdicts_in

PRACTICE = Path(__file__).with_name("practice.md")
QUOTED = re.compile(r"^\{([\w-]+)\}$", re.MULTILINE)
"""A line of the page in the place of what an experiment found."""

THEORY = """\
# Answers for theorists

What holds exactly, chapter by chapter, each statement with the least margin by which it held when last tried (1 at
best), and what refutes it beyond its domain. A card says more: source, domain, wrong variants, derivation.
"""


def pages(root: Path) -> Mapping[str, str]:
    """Both pages."""
    found = findings((root / PAGE).read_text(encoding="utf-8"))
    return {"practice.md": practice(PRACTICE.read_text(encoding="utf-8"), found), "theorists.md": _theory(root)}


def findings(gallery: str) -> dict[str, str]:
    """Command -> what is quoted below its first picture in the gallery's page."""
    found: dict[str, str] = {}
    for entry in GALLERY:
        if shown := re.search(rf"\]\(gallery/{entry.name}\.png\)\n\n((?:> .*\n)+)", gallery):
            sentence = " ".join(line.removeprefix("> ") for line in shown[1].splitlines())
            found.setdefault(dashed(entry.experiment or entry.name), sentence)
    return found


def practice(template: str, found: Mapping[str, str]) -> str:
    """The page with each finding in its place."""

    def quoted(place: re.Match[str]) -> str:
        name = place[1]
        return f"> {escaped(found[name])}. [`linsim {name}`](experiments/{name.replace('-', '_')}.md)\n"

    return QUOTED.sub(quoted, template)


def _theory(root: Path) -> str:
    verdicts = verdicts_in(root)
    parts = [THEORY]
    for number, chapter in CHAPTERS.items():
        parts.append(f"## {chapter.capitalize()}\n\n[Equations](../theory/{chapter}.md).\n")
        claims = [claim for claim in CLAIMS.values() if claim.equation.split(".")[0] == number]
        parts += [_told(claim, verdicts.get(claim.id)) for claim in claims]
    return "\n".join(parts)


def _told(claim: Claim, verdict: Mapping[str, Any] | None) -> str:
    margin = (
        f"least margin {float(verdict['worst_margin']):.2g}" if verdict and verdict["worst_margin"] else "not tried"
    )
    beyond = f" Fails without: {escaped(claim.beyond.assumption)}." if claim.beyond else ""
    return f"* {claim.equation} {escaped(claim.statement)} ({{ref}}`{claim.id} <claim-{claim.id}>`, {margin}).{beyond}"
