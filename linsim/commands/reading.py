"""From the words of a command line to a configuration; whatever cannot be read is one line."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import difflib
import io
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

from linsim.commands.files import as_toml, from_file
from linsim.commands.flags import Flag, allowed, flags_of, names_of, taken, without_none
from linsim.commands.helping import help_text
from linsim.commands.spoken import described, say, spoken
from linsim.errors import InvalidInput

C = TypeVar("C")
F = TypeVar("F")

_BOX = "╭╮╰╯│─+| "
_BAD_VALUE = r"(?:Error parsing|invalid choice .* for argument|Missing value for argument)[ ']*(--[\w.-]+)"
_EXACT = 2.0**53  # below it 1e6 is an integer without rounding


class BadArgument(InvalidInput):
    """A command line that could not be read into a configuration."""

    def __init__(self, message: str) -> None:
        ValueError.__init__(self, message)


def parse(
    config_type: type[C],
    flags: Callable[[Path], F],
    module: str,
    description: str | None,
    arguments: Sequence[str] | None,
) -> tuple[C, F]:
    """Read flags into a configuration and where the result goes; a bad one is `InvalidInput` with the story in a line.

    With --help or --print-config it says what is asked for, and raises SystemExit.

    Args:
      config_type: frozen dataclass of the experiment; every field becomes a flag.
      flags: `linsim.commands.cli.Folder`, or what adds to it what else may be said.
      module: of the experiment, as `python -m` takes it; its last part names the folder in results/, unless --out does.
      description: shown by --help.
      arguments: command line without the program's name; None means sys.argv.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    place = Path("results") / module.rpartition(".")[2]
    asked, run = list(flags_of(config_type())), list(flags_of(flags(place)))
    if {"-h", "--help"} & {*given}:
        say(help_text(spoken(module), described(module, description), asked, run))
        raise SystemExit(0)
    given = [*from_file(given, asked), *given]
    _require_known(given, [*asked, *run])
    parsed: Any = _parsed(command_type(config_type, flags, place), spoken(module), given, [*asked, *run])
    if parsed.flags.print_config:
        say(as_toml(parsed.config).rstrip("\n"))
        raise SystemExit(0)
    return parsed.config, parsed.flags


def command_type(config_type: Any, flags: Any, place: Path) -> type:
    """The dataclass whose fields are all the flags: of the configuration, and of how it is run."""
    import tyro

    flat = tyro.conf.arg(name="")
    return dataclasses.make_dataclass(
        "Command",
        [
            ("config", Annotated[config_type, flat], field(default_factory=config_type)),
            ("flags", Annotated[flags, flat], field(default_factory=lambda: flags(place))),
        ],
    )


def _parsed(command: type, called: str, given: Sequence[str], flags: Sequence[Flag]) -> Any:
    import tyro

    captured = io.StringIO()
    try:
        with contextlib.redirect_stderr(captured):
            return tyro.cli(command, args=given, prog=called, registry=rules())
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise _told(captured.getvalue(), given, flags) from None


def _require_known(given: Sequence[str], flags: Sequence[Flag]) -> None:
    """Refuse a mistyped flag, naming the nearest."""
    known = names_of(flags)
    for word in given:
        name = word.partition("=")[0].replace("_", "-")
        if not name.startswith("--") or name in known:
            continue
        inside = [each for each in known if each.endswith(f".{name[2:]}")]
        near = inside or difflib.get_close_matches(name, known, n=1)
        raise BadArgument(f"{name}: no such flag; " + (f"did you mean {' or '.join(near)}?" if near else "see --help"))


def rules() -> Any:
    """How text becomes a value beyond what tyro has: 1e6 for an integer, None without a metavar of its own."""
    from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

    registry = ConstructorRegistry()

    @registry.primitive_rule
    def integer_or_none(info: PrimitiveTypeInfo) -> Any:
        hint: Any = info.type
        if hint is int:
            return PrimitiveConstructorSpec(
                nargs=1,
                metavar=taken(int),
                instance_from_str=lambda words: _integer(words[0]),
                is_instance=lambda value: type(value) is int,
                str_from_instance=lambda value: [str(value)],
            )
        if (inner := without_none(hint)) is hint:
            return None
        spec: Any = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(inner, info.markers))
        return dataclasses.replace(
            spec,
            instance_from_str=lambda words: None if words == ["None"] else spec.instance_from_str(words),
            is_instance=lambda value: value is None or spec.is_instance(value),
            str_from_instance=lambda value: ["None"] if value is None else spec.str_from_instance(value),
            choices=None if spec.choices is None else (*spec.choices, "None"),
        )

    return registry


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        if abs(number := float(text)) < _EXACT and number.is_integer():
            return int(number)
        raise


def _told(message: str, given: Sequence[str], flags: Sequence[Flag]) -> InvalidInput:
    """What tyro says in a box, as an error of ours: field, value, what is allowed."""
    lines = (line.strip(_BOX) for line in message.splitlines()[1:])
    text = "  ".join(line for line in lines if line.strip("-"))
    if found := re.search(_BAD_VALUE, text):
        for flag in flags:
            if flag.name == found[1]:
                return InvalidInput(flag.field, _value(flag, given), allowed(flag.hint))
    if found := re.search(r"Unrecognized options: (.*?)  ", text):
        return BadArgument(f"{found[1]}: belongs to no flag; see --help")
    return BadArgument(text or "command line could not be read; see --help")


def _value(flag: Flag, given: Sequence[str]) -> str:
    """What a flag was last given."""
    words: list[str] = []
    inside = False
    for word in given:
        name, equals, value = word.partition("=")
        if name.startswith("--"):
            inside = name.replace("_", "-") == flag.name
            words = [value] * bool(equals) if inside else words
        elif inside:
            words.append(word)
    return " ".join(words) or "nothing"


class OneLineParser(argparse.ArgumentParser):
    """For commands with arguments of their own: a bad one is told in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{message}; see --help\n")
