"""The lines of a conclusion, on a terminal."""

from __future__ import annotations

import textwrap

COLUMNS = 120


def wrapped(line: str) -> str:
    """A line in at most 120 columns, what follows its first row indented by two more."""
    indent = line[: len(line) - len(line.lstrip())] + "  "
    return textwrap.fill(line, COLUMNS, subsequent_indent=indent, break_on_hyphens=False)
