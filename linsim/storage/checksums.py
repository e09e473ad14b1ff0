"""How arrays go to disk: every chunk a file of its own, with a checksum that every reader compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zarr.codecs import Crc32cCodec, ZstdCodec

CODECS = (ZstdCodec(level=1), Crc32cCodec())
"""Of every array that linsim writes. Chunks are written even where they hold nothing but the fill value, so that one
that is not there is known to be lost."""

WRITING = {"array.write_empty_chunks": True}
"""Settings of zarr that go with it."""


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
