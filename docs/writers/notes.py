"""The notes at the top of the repository as a page, with links that lead where the pages are."""

import re
from collections.abc import Mapping
from pathlib import Path

from linsim.claims.registry import CLAIMS


def pages(root: Path) -> Mapping[str, str]:
    """The one page."""
    text = (root / "paper_notes.md").read_text(encoding="utf-8")
    text = re.sub(r"\]\(figures/README\.md(#[\w-]*)?\)", "](experiments/index.md)", text)
    text = text.replace("](docs/", "](../")
    before, _, rest = text.partition("\n| eq. | claim |")
    rows, _, after = rest.partition("\n\n")
    linked = re.sub(r"`([a-z0-9-]+)`", _card, rows)
    return {"notes.md": f"{before}\n| eq. | claim |{linked}\n\n{after}"}


def _card(found: re.Match[str]) -> str:
    return f"{{ref}}`{found[1]} <claim-{found[1]}>`" if found[1] in CLAIMS else found[0]
