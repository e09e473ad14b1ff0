"""What `linsim` can be asked for: every experiment in the folder, and the tools; told without importing any of them."""

from __future__ import annotations

import ast
from pathlib import Path

from linsim.commands.spoken import dashed

_FOLDER = Path(__file__).parents[1]
_RUNS = 'if __name__ == "__main__":'

TOOLS = {
    "again": ("experiments.command.again", "compute a result again, from the configuration in its attributes"),
    "completion": ("experiments.command.completion", "print what has a shell complete commands and flags"),
    "doctor": (
        "experiments.command.doctor",
        "tell what linsim runs on here, and check that it computes what it should",
    ),
    "explore": ("pages.__main__", "write a page to explore a result in a browser, or to play with the theory"),
    "export": ("experiments.command.export", "write a result as CSV or netCDF"),
    "figures": ("figures.__main__", "draw the gallery, or one picture again, from results that are there"),
}
"""What is no experiment: name -> module with a `main`, as `linsim.commands.lab.beside` takes it, and what it does."""


def experiments() -> dict[str, Path]:
    """Name of the command -> the file whose docstring begins with its question."""
    packages = {entry.parent.name: entry.parent / "__init__.py" for entry in _FOLDER.glob("*/__main__.py")}
    modules = {file.stem: file for file in _FOLDER.glob("*.py") if _RUNS in file.read_text(encoding="utf-8")}
    found = packages | modules
    return {dashed(name): found[name] for name in sorted(found)}


def names() -> list[str]:
    """All commands."""
    return [*experiments(), *TOOLS]


def module_of(name: str) -> str:
    """The module whose `main` answers a command."""
    return TOOLS[name][0] if name in TOOLS else f"experiments.{name.replace('-', '_')}"


def question(file: Path) -> str:
    """The first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").partition("\n")[0]
