"""The README's answers: what each experiment of the gallery found, a line each, as the gallery's page quotes it.

`python -m docs.writers.answers` writes them anew; a test holds README and gallery equal.
"""

import re
from pathlib import Path

from figures.gallery import GALLERY, PAGE
from linsim.commands.spoken import dashed

ROOT = Path(__file__).parents[2]
HEAD = "| `linsim` ... | found, at its defaults |\n|---|---|\n"


def table(gallery: str) -> str:
    """A row for each experiment, in the gallery's order: its command, and the finding below its first picture."""
    found: dict[str, str] = {}
    for entry in GALLERY:
        shown = re.search(rf"\]\(gallery/{entry.name}\.png\)\n\n((?:> .*\n)+)", gallery)
        if shown:
            sentence = " ".join(line.removeprefix("> ") for line in shown[1].splitlines())
            found.setdefault(dashed(entry.experiment or entry.name), sentence.replace("|", "\\|"))
    return HEAD + "".join(f"| `{name}` | {sentence} |\n" for name, sentence in found.items())


def rewritten(readme: str, gallery: str) -> str:
    """The README with this table in the place of its own."""
    before, _, rest = readme.partition(HEAD)
    lines = rest.splitlines(keepends=True)
    end = next(number for number, line in enumerate(lines) if not line.startswith("|"))
    return before + table(gallery) + "".join(lines[end:])


if __name__ == "__main__":
    README = ROOT / "README.md"
    README.write_text(rewritten(README.read_text(encoding="utf-8"), (ROOT / PAGE).read_text(encoding="utf-8")))
