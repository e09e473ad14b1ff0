"""Pages as a reader takes them: their blocks in order, and what a block gives Python to do."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if not page.startswith(("docs/generated/", "docs/_build/"))]
NOTEBOOKS = [page for page in PAGES if re.fullmatch(r"docs/notebooks/(?!index).*", page)]
"""Whose cells are run where a wheel is installed (tests/test_packaging.py)."""

BLOCK = re.compile(r"^```(\{?[\w-]+\}?)[^\n]*\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
LANGUAGES = {"python", "console", "{code-cell}"}
NOT_RUN = {"sh": "needs other machines or packages", "bash": "a job script", "yaml": "a manifest", "text": "no code"}
"""Languages of blocks that are shown only, and why."""
SETTING_UP = {"make", "pip", ".", "git", "cd"}
"""Programs of a console that set up what runs these tests."""

UNREFINED = "--pretrain.tolerance None --recheck 0"
SMALL = {
    "overtraining-chart": "--pretrain.budgets 6 --finetune.rates 2 --finetune.strengths 2 " + UNREFINED,
    "sweep": "--pretrain.budgets 6 --finetune.rates 2 --recheck 0",
    "digits": UNREFINED + " --pretrain.steps 500 --pretrain.budgets 4 --finetune.steps 20 --finetune.rates 2",
    "relabelled-digits": "--recheck 0",
    "mitigations": "--dim 4 --steps 200 --finetune-steps 50 --rates 8",
    "forecast-scores": "--networks 60 --transfers 3 --stopped 7 --resamples 20",
    "claims": "--examples 10",
}
"""Flags that a test appends to a command, where the last one wins: pages show what a reader would want to run."""


@dataclass(frozen=True)
class Step:
    """What a reader does next."""

    kind: str
    """file: write TEXT to NAME; python: run TEXT by itself; cell: run TEXT after the cells before; command: run it."""
    text: str
    name: str = ""
    """Of the file; of a command, that of the file which takes what it prints."""

    @property
    def words(self) -> list[str]:
        """Of a command, with the flags that make it small."""
        program, *words = shlex.split(self.text)
        return [program, *words, *shlex.split(SMALL.get(words[0], ""))] if program == "linsim" else [program, *words]


def blocks(page: str) -> list[tuple[str, str]]:
    """Language and text of every block, in order."""
    return BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))


def steps(page: str) -> list[Step]:
    """All that a page has a reader do, but for setting up."""
    found: list[Step] = []
    for language, text in blocks(page):
        if language == "console":
            lines = filter(None, (line.partition(" #")[0].strip() for line in text.splitlines()))
            said = (line.partition(" > ") for line in lines if line.split()[0] not in SETTING_UP)
            found += [Step("command", text, name) for text, _, name in said]
        elif language == "python" and (name := re.match(r"# ([\w/]+\.py)\n", text)):
            found.append(Step("file", text, name[1]))
        elif language in LANGUAGES:
            found.append(Step("cell" if language == "{code-cell}" else "python", text))
    return found
