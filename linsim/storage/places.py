"""The folder of a result: where its parts lie, what of it is linsim's own, and that it can be written and replaced."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from linsim.errors import InvalidInput, require
from linsim.storage.plain import read_json

DATA = "data.zarr"
UNFINISHED, LOCK = ".unfinished", ".linsim.lock"
"""Beside it: what a run that is under way has finished so far (see `linsim.storage.leases`), and who is at it."""
SEAL = "seal"
"""Attribute of a result: digests of the others, see `linsim.storage.checksums`."""

_KEPT = re.compile(r"\.?run\.json(\.partial)?|\.?[0-9a-f]{16}(\..*)?")
"""What is in the folder of what is unfinished."""
_MARKS = {SEAL, "loss_convention"}
"""Attributes that a result of linsim has, one of them at least."""


class Places(NamedTuple):
    """Where a result lies, and what is moved there or away on the way: all on one disk."""

    final: Path
    """The result; where DIR/data.zarr is a link, what it leads to."""
    partial: Path
    """A new one that is being written."""
    replaced: Path
    """An older one, until the new one is in its place."""

    @classmethod
    def of(cls, folder: Path) -> Places:
        """Of the result in a folder."""
        named = folder / DATA
        final = Path(os.path.realpath(named)) if named.is_symlink() else named
        return cls(final, *(final.with_name(f".{final.name}.{word}") for word in ("partial", "replaced")))

    def restore(self) -> None:
        """Put an older result back where a run was killed while it replaced it."""
        if self.replaced.exists() and not self.final.exists():
            os.replace(self.replaced, self.final)


def prepare(folder: Path, overwrite: bool, resume: bool = False) -> bool:
    """Make sure, before any work is done, that a result can be written to a folder.

    Returns:
      Whether the folder is new.

    Raises:
      InvalidInput: the folder holds something and neither `overwrite` nor `resume` is on, nothing can be written, or
        what is where linsim writes is somebody else's, or cannot be replaced.
    """
    try:
        new = not folder.exists()
        if not new and not folder.is_dir():
            raise InvalidInput("out", str(folder), "a folder, and this is a file")
        places = Places.of(folder)
        places.restore()
        if folder.is_dir() and not (overwrite or resume):
            begun = "; --resume goes on with the unfinished run in it" * (folder / UNFINISHED).exists()
            ours = {places.partial.name, places.replaced.name, LOCK, *([DATA] * (not places.final.exists()))}
            inside = {entry.name for entry in folder.iterdir()} - ours
            require(not inside, "out", str(folder), f"a folder that is new or empty, or --overwrite{begun}")
        folder.mkdir(parents=True, exist_ok=True)
        _require_own(folder, places)
        remove(places.partial)
        places.partial.mkdir()
        places.partial.rmdir()
        if places.final.exists():
            remove(places.replaced)
            left = os.path.lexists(places.replaced)
            require(not left, "out", str(folder), f"a folder without {places.replaced}, which cannot be removed")
        return new
    except InvalidInput:
        raise
    except (OSError, ValueError) as error:  # ValueError: a name no file system takes
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidInput("out", str(folder), f"a folder that can be written ({reason})") from error


def remove(path: Path) -> None:
    """Remove what linsim has put there, as far as that can be; of a link the link, not what it leads to."""
    if path.is_symlink() or path.is_file():
        with suppress(OSError):
            path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def _require_own(folder: Path, places: Places) -> None:
    """Refuse, before any work, to replace what is not a result of linsim, or what cannot be replaced."""
    named, final = folder / DATA, places.final
    told = f"{named} -> {final}" if named.is_symlink() else str(named)
    require(not final.is_symlink(), "out", told, "a link that leads somewhere")
    require(not os.path.ismount(final), "out", told, "no link to a disk as a whole: one to a folder on it")
    if named.is_symlink():
        require(final.parent.is_dir(), "out", told, "a link into a folder that is there")
    if final.exists():
        require(_is_own(final), "out", told, "a result of linsim to replace, and this is something else: another --out")
        held = next((path for path in _folders(final) if not os.access(path, os.W_OK | os.X_OK)), None)
        require(held is None, "out", str(held), "a result that can be replaced, and this is read-only")
    unfinished = folder / UNFINISHED
    if os.path.lexists(unfinished):
        others = [entry.name for entry in unfinished.iterdir() if not _KEPT.fullmatch(entry.name)]
        require(
            not others, "out", str(unfinished / "".join(others[:1])), f"nothing in {UNFINISHED} but an unfinished run"
        )


def _folders(path: Path) -> Iterator[Path]:
    yield from (Path(inner) for inner, _, _ in os.walk(path))


def _is_own(path: Path) -> bool:
    """Whether a store was written by linsim, damaged or not: one of its arrays has checksums, or it says so."""
    if not path.is_dir():
        return False
    if not any(path.iterdir()):
        return True  # nothing is lost with it
    heads = [_head(path / "zarr.json"), *(_head(file) for file in path.glob("*/zarr.json"))]
    checked = any("crc32c" in str(head.get("codecs")) for head in heads)
    attributes = heads[0].get("attributes")
    return checked or (isinstance(attributes, dict) and not _MARKS.isdisjoint(attributes))


def _head(file: Path) -> dict[str, Any]:
    try:
        told = read_json(file)
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
