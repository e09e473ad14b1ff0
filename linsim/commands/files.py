"""Configurations as data, TOML in a file or JSON in a result, and back to the flags that say the same."""

from __future__ import annotations

import difflib
import textwrap
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, get_origin

from linsim.commands.flags import Flag, allowed, flags_of, without_none
from linsim.errors import InvalidInput, require

_WIDTH = 100  # of comments, in columns


def from_file(given: Sequence[str], flags: Sequence[Flag]) -> list[str]:
    """The flags that say what the file of --config says; none without --config.

    Raises:
      InvalidInput: no such file, it is no TOML, or it has a field that the configuration has not.
    """
    said: list[str] = []
    for word, following in zip(given, [*given[1:], ""], strict=False):
        name, equals, value = word.partition("=")
        if name == "--config" and (file := value if equals else following):
            said += saying(_read(Path(file)), flags, "config", file)
    return said


def saying(told: Mapping[str, Any], flags: Sequence[Flag], field: str, source: str) -> list[str]:
    """The flags that say what data say, as far as that is not said by default.

    Args:
      told: fields by name, those of a field that is a configuration within it.
      flags: of the configuration.
      field: that an error names.
      source: where the data stand.

    Raises:
      InvalidInput: a field that the configuration has not, or one value where several are wanted, or the reverse.
    """
    by_field, said = {flag.field: flag for flag in flags}, []
    for name, value in _leaves(told):
        if (flag := by_field.get(name)) is None:
            near = difflib.get_close_matches(name, by_field, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InvalidInput(field, f"{name} in {source}", f"fields that --help shows as flags{hint}")
        switch, many = flag.hint is bool, get_origin(without_none(flag.hint)) is tuple
        fits = value is None or (isinstance(value, bool) == switch and isinstance(value, list) <= many)
        require(fits, name, value, "true or false" if switch else allowed(flag.hint))
        if value != _plain(flag.default):
            said += flag.said(value)
    return said


def as_toml(config: Any) -> str:
    """All fields of a configuration with what they are for, as --config reads them."""
    import tomlkit

    lines: list[str] = []
    flags = sorted(flags_of(config), key=lambda flag: len(flag.path) > 1)
    for section, members in groupby(flags, key=lambda flag: flag.path[:-1]):
        lines += ["", f"[{'.'.join(section)}]"] if section else []
        for flag in members:
            lines += textwrap.wrap(flag.says, _WIDTH, initial_indent="# ", subsequent_indent="# ")
            value = "None" if flag.default is None else _plain(flag.default)  # TOML has no word for it
            lines.append(f"{flag.path[-1]} = {tomlkit.item(value).as_string()}")
    return "\n".join([*lines, ""])


def _leaves(told: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in told.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _plain(value: Any) -> Any:
    """As JSON and TOML have it."""
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidInput("config", str(file), f"a TOML file, such as --print-config writes ({reason})") from error
