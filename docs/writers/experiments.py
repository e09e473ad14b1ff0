"""The gallery, and a page for each experiment: what it asks, what it found, its pictures with notes, and its flags."""

import contextlib
import io
import os
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from unittest import mock

from experiments.command.names import experiments, module_of
from figures.gallery import FOLDER, GALLERY, PAGE, Entry
from linsim.commands.lab import beside
from linsim.commands.spoken import by_linsim, dashed, described
from linsim.finding import Finding
from linsim.storage import store

UP = "../../../"
"""From a generated page to the repository."""
USAGE = "usage:"
"""Where flags begin in what --help says."""


@dataclass(frozen=True)
class Shown:
    """What the gallery's page says of a picture."""

    title: str
    text: str
    """Markdown: the picture, its finding and how to read it."""

    @property
    def finding(self) -> str:
        """The quotation below the picture, in one line."""
        lines = re.findall(r"^> (.*)$", self.text, flags=re.MULTILINE)
        return " ".join(lines)


def pages(root: Path, helped: bool = True) -> Mapping[str, str]:
    """One for each experiment that has a command, and the gallery; asking each for its flags takes some seconds."""
    preface, shown = _gallery((root / PAGE).read_text(encoding="utf-8"))
    modules = {command: beside(module_of(command)) for command in experiments()}
    with by_linsim():
        written = {
            f"experiments/{_file(name)}.md": _page(name, module, shown, helped) for name, module in modules.items()
        }
        return {**written, "experiments/index.md": _index(preface, modules, shown)}


def _file(command: str) -> str:
    return command.replace("-", "_")


def _entries(command: str) -> list[Entry]:
    """Its pictures in the gallery."""
    return [entry for entry in GALLERY if dashed(entry.experiment or entry.name) == command]


def _gallery(page: str) -> tuple[str, dict[str, Shown]]:
    """The page's preface, and what it shows by the name of the first picture of each section."""
    preface, *sections = page.split("\n## ")
    shown = {}
    for section in sections:
        title, _, text = section.partition("\n")
        names = re.findall(r"\]\(gallery/(\w+)\.png\)", text)
        shown[names[0]] = Shown(title, _placed(text.strip()))
    return preface.partition("\n")[2].strip(), shown


def _placed(text: str) -> str:
    """Its links, seen from a generated page, and its commands, as they are in an installed environment."""
    pictures = text.replace("](gallery/", f"]({UP}{FOLDER}/")
    notes = pictures.replace("](../paper_notes.md", "](../notes.md")
    return re.sub(r"python -m (?:experiments\.)?(\w+)", lambda found: f"linsim {dashed(found[1])}", notes)


def _shown(entry: Entry, shown: Mapping[str, Shown]) -> Shown:
    """What the gallery's page says of an entry; of one that it does not show, the picture and the result's finding."""
    if entry.name in shown:
        return shown[entry.name]
    title = entry.name.replace("_", " ").capitalize()
    picture = f"![{title}]({UP}{FOLDER}/{entry.name}.png)" if (FOLDER / f"{entry.name}.png").exists() else ""
    source = entry.source()
    quotation = f"> {Finding.of(store.view(source)).sentence}" if source else ""
    told = " ".join([f"linsim {dashed(entry.experiment or entry.name)}", *entry.command[1:]])
    command = f"```console\n{told}\nlinsim figures {entry.name}\n```"
    return Shown(title, "\n\n".join(filter(None, [picture, quotation, command])))


def _page(name: str, module: ModuleType, shown: Mapping[str, Shown], helped: bool) -> str:
    question, _, rest = _told(name, module).partition("\n")
    found = [_shown(entry, shown) for entry in _entries(name)]
    title = found[0].title if found else name.capitalize()
    parts = [f"# {title}", f"**{question}**", textwrap.dedent(rest).strip("\n")]
    for each in found:
        parts += [f"## {'What was found' if len(found) == 1 else each.title}", each.text]
    if claims := _claims(module):
        cards = ", ".join(f"{{ref}}`{claim} <claim-{claim}>`" for claim in claims)
        parts += ["## Claims it stands on", cards]
    if helped:
        parts += ["## Flags", f"```text\n{flags(module)}\n```"]
    return "\n\n".join(parts) + "\n"


def _told(name: str, module: ModuleType) -> str:
    """The docstring that --help shows; of a package it is that of the experiment in it."""
    experiment = getattr(module, "experiment", None)
    text = getattr(experiment, "description", None) or module.__doc__
    return described(module_of(name), text)


def _claims(module: ModuleType) -> Sequence[str]:
    return getattr(getattr(module, "experiment", None), "claims", ())


def flags(module: ModuleType) -> str:
    """What --help says from the usage on."""
    told = io.StringIO()
    wide = mock.patch.dict(os.environ, {"COLUMNS": "110"})
    with wide, contextlib.redirect_stdout(told), contextlib.suppress(SystemExit):
        module.main(["--help"])
    _, found, options = told.getvalue().partition(USAGE)
    return "\n".join(line.rstrip() for line in (found + options).splitlines())


def _index(preface: str, modules: Mapping[str, ModuleType], shown: Mapping[str, Shown]) -> str:
    parts = ["# Gallery and experiments", _placed(preface)]
    for entry in GALLERY:
        each, page = _shown(entry, shown), entry.experiment or entry.name
        picture = f"[![{each.title}]({UP}{FOLDER}/{entry.name}.png)]({page}.md)"
        parts += [f"## {each.title}", picture, f"{each.finding}. [More]({page}.md)"]
    others = [name for name in modules if not _entries(name)]
    lines = [
        f"* [`linsim {name}`]({_file(name)}.md): {_told(name, modules[name]).partition(chr(10))[0]}" for name in others
    ]
    parts += ["## Without a picture in the gallery", "\n".join(lines)]
    pictured = dict.fromkeys(entry.experiment or entry.name for entry in GALLERY)
    listed = "\n".join([*pictured, *map(_file, others)])
    parts += [f"```{{toctree}}\n:hidden:\n\n{listed}\n```"]
    return "\n\n".join(parts) + "\n"
