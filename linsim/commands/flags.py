"""Every field of a configuration as a flag: its name, what it takes in words, its default, what it says, its group."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from linsim.commands.spoken import dashed

_KINDS = {
    int: ("INTEGER", "an integer", "integers"),
    float: ("NUMBER", "a number", "numbers"),
    Path: ("PATH", "a path", "paths"),
    str: ("TEXT", "text", "texts"),
}
_OTHER = ("TEXT", "a value", "values")


@dataclass(frozen=True)
class Flag:
    """A field, at any depth of a configuration."""

    path: tuple[str, ...]
    """Names of the fields that lead to it."""
    hint: Any
    """Its type."""
    default: Any
    says: str
    """Its docstring, in one line."""
    group: str
    """What one changes with it, and with others."""

    @property
    def field(self) -> str:
        """As errors name it."""
        return ".".join(self.path)

    @property
    def name(self) -> str:
        """As it is written."""
        return f"--{dashed(self.field)}"

    @property
    def negation(self) -> str:
        """What switches it off; empty where it is no switch."""
        return f"--{'.'.join([*map(dashed, self.path[:-1]), 'no-' + dashed(self.path[-1])])}" * (self.hint is bool)

    def said(self, value: Any) -> list[str]:
        """The flag with a value, as words of a command line."""
        if self.hint is bool:
            return [self.name if value else self.negation]
        many = isinstance(value, tuple | list)
        return [self.name, *(map(str, value) if many else [str(value)])]


def flags_of(config: Any, path: tuple[str, ...] = ()) -> Iterator[Flag]:
    """The flags of a configuration, an instance that holds the defaults; those of a field that is one come after it."""
    hints = get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value, here = getattr(config, field.name), (*path, field.name)
        if dataclasses.is_dataclass(value):
            yield from flags_of(value, here)
        else:
            owner = type(config) if path else _first_with(type(config), field.name)
            yield Flag(here, hints[field.name], value, _said(type(config), field.name), _headline(owner))


def taken(hint: Any) -> str:
    """What a flag takes, as help says it: INTEGER, {real,idealised}, NUMBER ..."""
    hint = without_none(hint)
    if hint is bool:
        return ""
    if get_origin(hint) is Literal:
        return f"{{{','.join(map(str, get_args(hint)))}}}"
    if get_origin(hint) is tuple:
        inner = get_args(hint)
        return f"{taken(inner[0])} ..." if inner[-1] is ... else " ".join(map(taken, inner))
    return _KINDS.get(hint, _OTHER)[0]


def allowed(hint: Any) -> str:
    """The same, as errors say it: an integer, or None."""
    inner = without_none(hint)
    if get_origin(inner) is Literal:
        words = f"one of {', '.join(map(str, get_args(inner)))}"
    elif get_origin(inner) is tuple:
        each = get_args(inner)[0]
        words = f"any of {', '.join(get_args(each))}" if get_origin(each) is Literal else _KINDS.get(each, _OTHER)[2]
    else:
        words = _KINDS.get(inner, _OTHER)[1]
    return words if inner is hint else f"{words}, or None"


def without_none(hint: Any) -> Any:
    """The type of a value that is there: int of `int | None`."""
    if get_origin(hint) not in (Union, types.UnionType):
        return hint
    inner = [each for each in get_args(hint) if each is not type(None)]
    return inner[0] if len(inner) == 1 else Union[tuple(inner)]  # noqa: UP007 - made of what is in a tuple


def names_of(flags: Sequence[Flag]) -> list[str]:
    """All that may be written, negations included."""
    return [name for flag in flags for name in (flag.name, flag.negation) if name]


def _first_with(config_type: type, name: str) -> type:
    """The class that declared a field first: what it is for says what the field changes."""
    return [each for each in config_type.__mro__ if name in inspect.get_annotations(each)][-1]


def _headline(owner: type) -> str:
    return (inspect.getdoc(owner) or owner.__name__).partition("\n")[0].rstrip(".")


def _said(config_type: type, name: str) -> str:
    return next((said for each in config_type.__mro__ if (said := _docstrings(each).get(name))), "")


@cache
def _docstrings(config_type: type) -> dict[str, str]:
    """Of the fields that a class declares, each in one line; none of a class that is not read from a file."""
    declared = _classes(getattr(sys.modules[config_type.__module__], "__file__", None)).get(config_type.__qualname__)
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in pairwise(declared.body if declared else ())
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }


@cache
def _classes(file: str | None) -> dict[str, ast.ClassDef]:
    tree = ast.parse(Path(file).read_text(encoding="utf-8") if file else "")
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
