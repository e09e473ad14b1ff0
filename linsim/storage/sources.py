"""The source that numbers come from: a digest of every module that was imported for them, wherever it lies.

Modules are followed by their import statements, and none is imported for that: every process has the same answer. What
is installed, as JAX, is known by its version; our own modules, and those of users, by their source, whatever revision
their repositories are at.
"""

from __future__ import annotations

import hashlib
import re
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from importlib.machinery import ModuleSpec
from pathlib import Path

_OURS = __name__.partition(".")[0]
_STATEMENT = re.compile(
    r"(?:^|[;:])[ \t]*(?:from[ \t]+(\.*[\w.]*)[ \t]+import[ \t]*(\([^)]*\)|[^\n;]*)|import[ \t]+([^\n;]*))",
    re.MULTILINE,
)
_BY_NAME = re.compile(r"""\bimport_module\(\s*["']([\w.]+)["']""")
_COMMENT = re.compile(r"#[^\n]*|\\\n")
_SHOWN = 12  # hexadecimal digits of a digest

Found = tuple[Path, bool]
"""The file of a module, and whether it is a package."""


def sources(roots: Iterable[str]) -> dict[str, str]:
    """Name -> digest of the source of modules and of all that they import, but for what is installed beside them.

    Args:
      roots: names of modules; those that are not found, or have no file, have no digest.
    """
    waiting = [_as_imported(root) for root in roots]
    ours = {name.partition(".")[0] for name in (_OURS, *waiting)}
    seen, digests = set(waiting), dict[str, str]()

    def counts(name: str) -> bool:
        top = name.partition(".")[0]
        return top in ours or is_ours(top)

    while waiting:
        name = waiting.pop()
        if (found := _file_of(name)) is None:
            continue
        digests[name], mentioned = _read(*found, *_state(found[0]))
        package = name if found[1] else name.rpartition(".")[0]
        above = [name.rsplit(".", count)[0] for count in range(1, name.count(".") + 1)]
        further = {
            each for each in (*above, *_modules(mentioned, package), *_through_stub(name, mentioned)) if counts(each)
        }
        waiting += sorted(further - seen)
        seen |= further
    return dict(sorted(digests.items()))


def changed(told: Mapping[str, str]) -> list[str]:
    """Of modules with the digests of their source then: which have another source now, or none."""
    found = {name: _file_of(name) for name in told}
    return [name for name, at in found.items() if at is None or _read(*at, *_state(at[0]))[0] != told[name]]


Mentioned = tuple[tuple[str, tuple[str, ...]], ...]
"""Modules as they are named in import statements, each with the names that are imported from it."""


@lru_cache(maxsize=2048)
def _read(file: Path, package: bool, modified: int, size: int) -> tuple[str, Mentioned]:
    """The digest of a file, and what it imports; read once as long as it stays as it is."""
    content = file.read_bytes()
    text = content.decode("utf-8", errors="replace") if file.suffix == ".py" else ""
    return hashlib.sha256(content).hexdigest()[:_SHOWN], tuple(_statements(text))


def _state(file: Path) -> tuple[int, int]:
    told = file.stat()
    return told.st_mtime_ns, told.st_size


def _statements(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    for module, names, plain in _STATEMENT.findall(_COMMENT.sub(" ", text)):
        if plain:
            yield from ((each.split()[0], ()) for each in plain.split(",") if each.split())
        elif module:
            yield module, tuple(each.split()[0] for each in names.strip("() \t\n").split(",") if each.split())
    yield from ((name, ()) for name in _BY_NAME.findall(text))


def _modules(mentioned: Mentioned, package: str) -> Iterator[str]:
    """Names that may be modules: what is imported from a package may be one of its own."""
    for written, names in mentioned:
        if module := _absolute(written, package):
            yield module
            yield from (f"{module}.{name}" for name in names if name.isidentifier())


def _absolute(written: str, package: str) -> str:
    """The name of a module that is written relative to a package; empty where it lies above all packages."""
    dots = len(written) - len(written.lstrip("."))
    if not dots:
        return written
    kept = package.split(".")[: package.count(".") + 2 - dots]
    return ".".join([*kept, *filter(None, [written[dots:]])])


def _through_stub(name: str, mentioned: Mentioned) -> Iterator[str]:
    """Modules of ours that somebody has by the names that `linsim` hands out, all where it is imported as a whole."""
    if name.partition(".")[0] == _OURS:
        return
    wanted = [names for module, names in mentioned if module == _OURS]
    if wanted and (found := _file_of(_OURS)) is not None:
        stub = found[0].with_suffix(".pyi")
        for module, names in _statements(stub.read_text(encoding="utf-8")):
            if not all(wanted) or any({*names} & {*each} for each in wanted):
                yield _absolute(module, _OURS)


def _as_imported(name: str) -> str:
    """A module by the name that others import it by, also where it is what Python was started with."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None) if name == "__main__" else None
    return name if spec is None else str(spec.name).removesuffix(".__main__")


def _file_of(name: str) -> Found | None:
    spec = _spec_of(name)
    if spec is None:
        main = getattr(sys.modules.get(name), "__file__", None) if name == "__main__" else None
        return None if main is None else (Path(main), False)
    file = Path(spec.origin) if spec.has_location and spec.origin else None
    return None if file is None or not file.is_file() else (file, spec.submodule_search_locations is not None)


def _spec_of(name: str) -> ModuleSpec | None:
    """Where a module would be imported from, without importing it or what it is in."""
    if not name:
        return None
    loaded = getattr(sys.modules.get(name), "__spec__", None)
    if loaded is not None or name == "__main__":
        return loaded
    package, _, _ = name.rpartition(".")
    within = _spec_of(package) if package else None
    if package and (within is None or within.submodule_search_locations is None):
        return None
    places = None if within is None else within.submodule_search_locations
    for finder in sys.meta_path:
        if (spec := finder.find_spec(name, places, None)) is not None:
            return spec
    return None


@lru_cache(maxsize=1024)
def is_ours(top: str) -> bool:
    """Whether a module at the top, such as that of a script or a notebook, was not installed."""
    if top == "__main__":
        return True
    spec = _spec_of(top)
    places = [] if spec is None else [spec.origin] if spec.has_location else spec.submodule_search_locations or []
    return any(not _is_installed(Path(place)) for place in places if place)


@lru_cache(maxsize=1)
def _installed() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    folders = {*(paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")), *site.getsitepackages()}
    return tuple(Path(folder).resolve() for folder in folders)


def _is_installed(file: Path) -> bool:
    above = file.resolve().parents
    return any(folder in above or folder == file for folder in _installed()) or any(
        folder.name in ("site-packages", "dist-packages") for folder in above
    )
