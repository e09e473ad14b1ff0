"""The table of claims in paper_notes.md, from the registry: `python -m tests.claims.table` writes it anew."""

from pathlib import Path

from linsim.claims.registry import CLAIMS

NOTES = Path(__file__).parent.parent.parent / "paper_notes.md"
HEAD = "| eq. | claim | statement | source | fails when dropped |\n|---|---|---|---|---|\n"


def table(claims):
    """Rows in Markdown, in the order of the registry; lemmas are called so."""
    return HEAD + "".join(f"| {' | '.join(_escaped(cell) for cell in _cells(claim))} |\n" for claim in claims.values())


def rewritten(notes):
    """The page with this table in the place of its own."""
    before, found, rest = notes.partition(HEAD)
    assert found, f"{NOTES.name} has no table that begins with {HEAD.splitlines()[0]}"
    lines = rest.splitlines(keepends=True)
    end = next((number for number, line in enumerate(lines) if not line.startswith("|")), len(lines))
    return before + table(CLAIMS) + "".join(lines[end:])


def _cells(claim):
    name = f"`{claim.id}`" + " (lemma)" * claim.lemma
    return claim.equation, name, claim.statement, claim.source, claim.beyond.assumption if claim.beyond else ""


def _escaped(cell):
    return cell.replace("|", "\\|")


if __name__ == "__main__":
    NOTES.write_text(rewritten(NOTES.read_text(encoding="utf-8")), encoding="utf-8")
