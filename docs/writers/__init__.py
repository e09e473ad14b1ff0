"""Pages that nobody edits: answers, claims, experiments with the gallery, notes, benchmarks, optimisers, the reference.

Each is plain Markdown, by its path in the folder `docs/generated`. `make docs` writes them all before it reads any.
"""

from collections.abc import Mapping
from pathlib import Path

from . import answers, benchmarks, claims, experiments, notes, optimisers, reference

ROOT = Path(__file__).parents[2]


def pages() -> Mapping[str, str]:
    """Path -> text of every generated page."""
    return {
        **answers.pages(ROOT),
        **claims.pages(ROOT),
        **experiments.pages(ROOT),
        **notes.pages(ROOT),
        **benchmarks.pages(ROOT / "docs/measured"),
        **optimisers.pages(ROOT),
        **reference.pages(ROOT / "linsim/__init__.pyi"),
    }


def write_all(folder: Path) -> None:
    """Write them, touching only those that changed, and remove what is no page any more."""
    told = {folder / path: text for path, text in pages().items()}
    for path in {*folder.rglob("*.md")} - set(told):
        path.unlink()
    for path, text in told.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
