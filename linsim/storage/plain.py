"""Text and plain data in files: a file is there as a whole or not, and what is no JSON is one kind of error."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from linsim.errors import RunFailed


def write_whole(text: str, file: Path) -> None:
    """Write a text beside its final name and move it there in one step; an older one is replaced.

    Raises:
      OSError: the disk is full or fails; then nothing is left behind, and an older file stays as it was.
    """
    partial = file.with_name(f".{file.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, file)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)  # there only if something failed


def write_json(told: Any, file: Path) -> Path:
    """Write plain data as JSON, as `write_whole` does.

    Raises:
      RunFailed: the disk is full or fails.
    """
    try:
        write_whole(json.dumps(told, indent=1, ensure_ascii=False) + "\n", file)
    except OSError as error:
        raise RunFailed(f"out: {file} could not be written ({error.strerror or error})") from error
    return file


def read_json(file: Path) -> Any:
    """What a file says; OSError where it cannot be read, ValueError for whatever is no JSON."""
    return parsed(file.read_text(encoding="utf-8"))


def parsed(text: Any) -> Any:
    """What JSON says; ValueError for anything else, be it nested deeper than Python follows."""
    try:
        return json.loads(text)
    except (RecursionError, TypeError) as error:
        raise ValueError(f"no JSON: {error}") from error
