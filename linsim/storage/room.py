"""What there is room for: memory of the machine, or of the container that this process is in, and disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil

_GROUPS = Path("/proc/self/cgroup")
_MOUNT = Path("/sys/fs/cgroup")
_LIMITS = {False: ("memory.max", "memory.high"), True: ("memory.limit_in_bytes",)}
_TAKEN = {False: "memory.current", True: "memory.usage_in_bytes"}
_CACHED = {False: "inactive_file", True: "total_inactive_file"}


def memory_left() -> int:
    """Bytes that this process may still take: what the machine has available, or the tightest limit above it leaves.

    Limits are those of Linux control groups, version 1 and 2, by which containers and batch systems bound a job; files
    that are held in memory and not in use count as free, as they do for the machine.
    """
    return max(min([int(psutil.virtual_memory().available), *_left()]), 0)


def disk_left(folder: Path) -> int:
    """Bytes that files in a folder, or in the nearest one above it that is there, may still take."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _left() -> Iterator[int]:
    """What every control group that this process is in leaves of its limit."""
    for group, first in _groups():
        limits = [limit for name in _LIMITS[first] if (limit := _number(_read(group / name))) is not None]
        taken = _number(_read(group / _TAKEN[first]))
        if limits and taken is not None:
            lines = (line.partition(" ") for line in _read(group / "memory.stat").splitlines())
            cached = {name: _number(value) or 0 for name, _, value in lines}.get(_CACHED[first], 0)
            yield min(limits) - max(taken - cached, 0)


def _groups() -> Iterator[tuple[Path, bool]]:
    """Folders of this process' groups and of all above, and whether they are of version 1.

    In a container the path is that of the host, or one that begins at the container: what is not there is passed over.
    """
    for line in _read(_GROUPS).splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        first = "memory" in controllers.split(",")
        if not first and number != "0":
            continue
        mount = _MOUNT / "memory" if first else _MOUNT
        own = mount / path.strip("/")
        yield from ((group, first) for group in (own, *own.parents) if group == mount or mount in group.parents)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""


def _number(text: str) -> int | None:
    """A number of bytes; None of what is none, as of "max"."""
    return int(text) if text.strip().isdecimal() else None
