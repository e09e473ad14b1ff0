"""Verdicts of claims that come with the pages: `python -m docs.writers.margins` takes in those of `make claims`."""

import json
from pathlib import Path

from linsim.claims.registry import CLAIMS

from .claims import FIELDS, KEPT, verdicts_in


def keep(root: Path) -> None:
    """Write what the cards tell of each: of your own verdicts, and of others that came with the pages."""
    told = verdicts_in(root)
    lines = [json.dumps({name: told[claim][name] for name in FIELDS}) for claim in CLAIMS if claim in told]
    (root / KEPT).write_text('{"claims": [\n' + ",\n".join(lines) + "\n]}\n", encoding="utf-8")


if __name__ == "__main__":
    keep(Path(__file__).parents[2])
