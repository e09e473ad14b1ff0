"""What --help says: the question and its command first, then every flag, grouped by what one changes with it."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

from linsim.commands.flags import Flag, taken

_WIDEST = 110


def reading_width() -> int:
    """Columns of lines that fit into the terminal, and are read with ease."""
    return min(shutil.get_terminal_size().columns, _WIDEST)


def help_text(command: str, description: str, asked: Sequence[Flag], run: Sequence[Flag]) -> str:
    """The text of --help.

    Args:
      command: as it is called.
      description: the docstring of the experiment, which begins with its question and examples.
      asked: flags of its configuration.
      run: flags of how it is run.
    """
    width = reading_width()
    lines = [*_paragraphs(description, width), f"usage: {command} [FLAGS]", ""]
    for flags in (asked, run):
        for group, members in groupby(sorted(flags, key=_place(flags)), key=lambda flag: flag.group):
            lines += [f"{group}:", *(line for flag in members for line in _told(flag, width)), ""]
    return "\n".join([*lines, "  -h, --help", "      Say this."])


def _place(flags: Sequence[Flag]) -> Callable[[Flag], int]:
    """Groups in the order of their first flags, sections after what stands on the top."""
    groups = list(dict.fromkeys(flag.group for flag in sorted(flags, key=lambda flag: len(flag.path) > 1)))
    return lambda flag: groups.index(flag.group)


def _told(flag: Flag, width: int) -> list[str]:
    names = ", ".join(name for name in (flag.name, flag.negation) if name)
    head = " ".join(part for part in (names, taken(flag.hint)) if part)
    default = _shown(flag.default)
    return [
        f"  {head}{f'  (default: {default})' if default else ''}",
        *_filled(flag.says, width, " " * 6),
    ]


def _shown(value: Any) -> str:
    """A default; nothing for None and for none of many, of which the docstring tells what happens."""
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return " ".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _paragraphs(text: str, width: int) -> Iterable[str]:
    """A docstring in lines of a width; what is indented, such as a command, stays as it is."""
    for paragraph in text.split("\n\n"):
        if paragraph.startswith(" "):
            yield paragraph
        else:
            yield from _filled(paragraph, width)
        yield ""


def _filled(text: str, width: int, indent: str = "") -> list[str]:
    words = " ".join(text.split())
    return textwrap.wrap(words, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
