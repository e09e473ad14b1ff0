"""The README's table of answers: to each question of the page for practitioners, what its first experiment found.

`python -m docs.writers.readme` writes it anew; a test holds README and gallery equal.
"""

from collections.abc import Mapping
from pathlib import Path

from figures.gallery import PAGE

from .answers import PRACTICE, QUOTED, findings

ROOT = Path(__file__).parents[2]
HEAD = "| question | found, at the defaults of its experiment | `linsim` ... |\n|---|---|---|\n"


def first_answers(template: str) -> Mapping[str, str]:
    """Question -> the first experiment that answers it."""
    _, *sections = template.split("\n## ")
    return {section.partition("\n")[0]: QUOTED.findall(section)[0] for section in sections}


def table(found: Mapping[str, str], template: str) -> str:
    """The README's rows, one for each question."""
    told = first_answers(template).items()
    rows = [(question, found[name].replace("|", "\\|"), f"`{name}`") for question, name in told]
    return HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def rewritten(readme: str, gallery: str) -> str:
    """The README with this table in the place of its own."""
    before, _, rest = readme.partition(HEAD)
    lines = rest.splitlines(keepends=True)
    end = next(number for number, line in enumerate(lines) if not line.startswith("|"))
    told = table(findings(gallery), PRACTICE.read_text(encoding="utf-8"))
    return before + told + "".join(lines[end:])


if __name__ == "__main__":
    README = ROOT / "README.md"
    README.write_text(rewritten(README.read_text(encoding="utf-8"), (ROOT / PAGE).read_text(encoding="utf-8")))
