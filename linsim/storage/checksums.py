"""How arrays go to disk: every chunk a file of its own, with a checksum that every reader compares.

That a chunk is whole does not say that it is in its place: beside the chunks of an array lies a list of which lies
where, and a result has a seal, an attribute with digests of the others and of these lists.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zarr.codecs import Crc32cCodec, ZstdCodec

from linsim.storage.plain import read_json, write_json

CODECS = (ZstdCodec(level=1), Crc32cCodec())
"""Of every array that linsim writes. Chunks are written even where they hold nothing but the fill value, so that one
that is not there is known to be lost."""

WRITING = {"array.write_empty_chunks": True}
"""Settings of zarr that go with it."""

POSITIONS = "positions.json"
"""Beside the chunks of an array, where readers of zarr look for nothing: which of them lies where."""

_CHECKSUM = 4  # bytes at the end of a chunk


def create(
    group: Any,
    name: str,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: Any,
    dims: Sequence[str],
    attrs: Mapping[str, Any],
) -> Any:
    """An array of a zarr group, as yet without chunks, in the form in which xarray reads it."""
    return group.create_array(
        name,
        shape=shape,
        chunks=chunks,
        dtype=dtype,
        dimension_names=list(dims),
        attributes=dict(attrs),
        compressors=CODECS,
    )


def missing(array: Any) -> int:
    """Chunks that are not there, of an array that was written with checksums; 0 for others, which cannot tell."""
    checked = any(isinstance(codec, Crc32cCodec) for codec in array.compressors)
    return int(array.nchunks - array.nchunks_initialized) if checked else 0


def checksum(chunk: Path) -> str:
    """That of a chunk, which is the end of its file; empty where the file is too short to have one."""
    with chunk.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - _CHECKSUM, 0))
        return file.read().hex() if size >= _CHECKSUM else ""


def settle_positions(store: Path) -> str:
    """Note of every array of a store which of its chunks lies where; a digest of these lists."""
    found = {folder: _positions(folder) for folder in _arrays(store)}
    for folder, positions in found.items():
        write_json(positions, folder / POSITIONS)
    return _digest(list(found.values()))


def require_positions(store: Path) -> str:
    """The digest of `settle_positions`; ValueError where a chunk or an array is not where it was written.

    Of arrays without a list, which are older, nothing is known.
    """
    found = {folder: _positions(folder) for folder in _arrays(store)}
    for folder, positions in found.items():
        if (folder / POSITIONS).is_file() and read_json(folder / POSITIONS) != positions:
            raise ValueError(f"chunks of {folder.name} are not as, or where, they were written")
    return _digest(list(found.values()))


def seal_of(attributes: Mapping[str, Any], positions: str) -> dict[str, str]:
    """Digests of the attributes of a result, by name, and of where its chunks lie."""
    return {name: _digest([name, value]) for name, value in attributes.items()} | {"": positions}


def broken(seal: Any, attributes: Mapping[str, Any], positions: str) -> list[str]:
    """What is no longer as it was sealed; attributes that were added since are nobody's concern."""
    if not isinstance(seal, Mapping):
        return ["its seal"]
    now = seal_of(attributes, positions)
    return [f"the attribute {name}" if name else "an array" for name in seal if now.get(name) != seal[name]]


def _arrays(store: Path) -> list[Path]:
    return sorted(head.parent for head in store.glob("*/zarr.json"))


def _positions(folder: Path) -> dict[str, Any]:
    """The name of an array, what makes numbers of its chunks, and the checksum of each by its place."""
    head = {name: told for name, told in read_json(folder / "zarr.json").items() if name != "attributes"}
    chunks = {
        path.relative_to(folder).as_posix(): checksum(path)
        for path in [folder / "c", *folder.glob("c/**/*")]
        if path.is_file()
    }
    return {"array": folder.name, "head": _digest(head), "chunks": dict(sorted(chunks.items()))}


def _digest(told: Any) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]
