"""The gallery, and a page for each experiment: what it asks, what it found, its pictures with notes, and its flags."""

import contextlib
import importlib
import io
import os
import pkgutil
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from unittest import mock

import experiments
from figures.gallery import FOLDER, GALLERY, PAGE, Entry
from linsim.finding import Finding
from linsim.storage import store

UP = "../../../"
"""From a generated page to the repository."""
OPTIONS = "\n options "
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


def pages(root: Path) -> Mapping[str, str]:
    """One for each experiment that has a command line, and the gallery."""
    preface, shown = _gallery((root / PAGE).read_text(encoding="utf-8"))
    modules = {each.name: importlib.import_module(f"experiments.{each.name}") for each in _listed()}
    asked = {name: module for name, module in modules.items() if hasattr(module, "main")}
    written = {f"experiments/{name}.md": _page(name, module, shown) for name, module in asked.items()}
    return {**written, "experiments/index.md": _index(preface, asked, shown)}


def _listed() -> Sequence[pkgutil.ModuleInfo]:
    return list(pkgutil.iter_modules(experiments.__path__))


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
    """Its links, seen from a generated page."""
    pictures = text.replace("](gallery/", f"]({UP}{FOLDER}/")
    return re.sub(r"\]\((?:\.\./)paper_notes\.md", "](../notes.md", pictures)


def _shown(entry: Entry, shown: Mapping[str, Shown]) -> Shown:
    """What the gallery's page says of an entry; of one that it does not show yet, the picture and the result's finding."""
    if entry.name in shown:
        return shown[entry.name]
    title = entry.name.replace("_", " ").capitalize()
    picture = f"![{title}]({UP}{FOLDER}/{entry.name}.png)" if (FOLDER / f"{entry.name}.png").exists() else ""
    source = entry.source()
    quotation = f"> {Finding.of(store.view(source)).sentence}" if source else ""
    command = f"```console\npython -m {' '.join(entry.command)}\npython -m figures {entry.name}\n```"
    return Shown(title, "\n\n".join(filter(None, [picture, quotation, command])))


def _page(name: str, module: ModuleType, shown: Mapping[str, Shown]) -> str:
    question, _, rest = _main_doc(module).strip().partition("\n")
    found = [_shown(entry, shown) for entry in GALLERY if (entry.experiment or entry.name) == name]
    parts = [f"# {_title(name, found)}", f"**{question}**", textwrap.dedent(rest).strip()]
    for each in found:
        parts += [f"## {'What was found' if len(found) == 1 else each.title}", each.text]
    if claims := _claims(module):
        cards = ", ".join(f"{{ref}}`{claim} <claim-{claim}>`" for claim in claims)
        parts += ["## Claims it stands on", cards]
    parts += ["## Flags", f"```text\n{_flags(module)}\n```"]
    return "\n\n".join(parts) + "\n"


def _main_doc(module: ModuleType) -> str:
    """The docstring that --help shows: of a package, that of the experiment in it."""
    experiment = getattr(module, "experiment", None)
    return getattr(experiment, "description", None) or module.__doc__ or ""


def _claims(module: ModuleType) -> Sequence[str]:
    return getattr(getattr(module, "experiment", None), "claims", ())


def _title(name: str, found: Sequence[Shown]) -> str:
    return found[0].title if len(found) > 0 else name.replace("_", " ").capitalize()


def _flags(module: ModuleType) -> str:
    """What --help says below the question."""
    told = io.StringIO()
    with mock.patch.dict(os.environ, {"COLUMNS": "110"}), contextlib.redirect_stdout(told):
        with contextlib.suppress(SystemExit):
            module.main(["--help"])
    _, found, options = told.getvalue().partition(OPTIONS)
    lines = (found.strip("\n") + options).splitlines() if found else told.getvalue().splitlines()
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def _index(preface: str, modules: Mapping[str, ModuleType], shown: Mapping[str, Shown]) -> str:
    parts = ["# Gallery and experiments", _placed(preface)]
    for entry in GALLERY:
        each, page = _shown(entry, shown), entry.experiment or entry.name
        picture = f"[![{each.title}]({UP}{FOLDER}/{entry.name}.png)]({page}.md)"
        parts += [f"## {each.title}", picture, f"{each.finding}. [More]({page}.md)"]
    drawn = {entry.experiment or entry.name for entry in GALLERY}
    parts += ["## Experiments without a picture in the gallery"]
    parts += [f"* [{name}]({name}.md): {_main_doc(module).strip().splitlines()[0]}"
              for name, module in modules.items() if name not in drawn]
    toctree = "\n".join([*dict.fromkeys(entry.experiment or entry.name for entry in GALLERY), *sorted(set(modules) - drawn)])
    parts += [f"```{{toctree}}\n:hidden:\n\n{toctree}\n```"]
    return "\n\n".join(parts) + "\n"
