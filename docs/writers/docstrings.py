"""Docstrings as they are read in the source, for Sphinx, which takes them for reStructuredText.

Equations hold bars and stars, names stand in single backticks, what is indented or set in columns is meant as it is.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

SECTION = re.compile(r"(Args|Returns|Raises|Example|Yields|Attributes):$")
COLUMNS = re.compile(r"\S {3,}\S")


def for_sphinx(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Listener to autodoc-process-docstring: puts reStructuredText in the place of the lines."""
    from sphinx.ext.napoleon import Config, GoogleDocstring  # only the extra docs has it

    lines[:] = marked(lines)
    if what not in ("attribute", "property", "data"):  # prose: what stands before a colon there is no type,
        google = Config(napoleon_custom_sections=["Returns"])  # nor is it here
        lines[:] = GoogleDocstring(lines, google, app, what, name, value, options).lines()


def marked(lines: Sequence[str]) -> list[str]:
    """The same with its marks escaped, names as code, and equations and columns as literal blocks; sections stay."""
    return [line for paragraph in _paragraphs(lines) for line in [*_rendered(paragraph), ""]]


def _paragraphs(lines: Sequence[str]) -> Iterator[list[str]]:
    paragraph: list[str] = []
    for line in [*lines, ""]:
        if line.strip():
            paragraph.append(line)
        elif paragraph:
            yield paragraph
            paragraph = []


def _rendered(lines: list[str]) -> list[str]:
    if any(">>> " in line for line in lines):
        return lines
    if lines[0].startswith("  ") or any(COLUMNS.search(line) for line in lines):
        return ["::", "", *(f"   {line}" for line in lines)]
    return [line if SECTION.match(line) else _line(line) for line in lines]


def _line(line: str) -> str:
    parts = re.split(r"(`[^`]+`)", line)
    return "".join(
        f"`{part}`" if at % 2 else re.sub(r"([|*\\]|_(?!\w))", r"\\\1", part) for at, part in enumerate(parts)
    )
