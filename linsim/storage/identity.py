"""What a result is of, so that another one is known by its content: configuration, data, source and versions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from linsim.storage.fingerprint import fingerprint
from linsim.storage.plain import parsed
from linsim.storage.provenance import deciding

_SHOWN = 12  # hexadecimal digits of a digest
_PIECE = 1 << 20  # bytes that are read at a time


@dataclass(frozen=True)
class Identity:
    """All that decides the numbers of a result."""

    experiment: str
    """By which it was made."""
    config: Mapping[str, Any]
    """Its configuration, as JSON has it."""
    inputs: Mapping[str, str]
    """Field of the configuration, or part of one -> digest of what it names; the name itself decides nothing."""
    source: Mapping[str, str]
    """Module -> digest of its source, see `linsim.storage.sources`."""
    versions: Mapping[str, str]
    """Of what is installed, see `linsim.storage.provenance.deciding`."""

    @classmethod
    def of_attrs(cls, attrs: Mapping[str, Any]) -> Identity:
        """As the attributes of a result tell; ValueError where they do not."""
        told = {name: parsed(attrs.get(name, "null")) for name in ("config", "inputs", "source", "versions")}
        lost = [name for name, value in told.items() if not isinstance(value, dict)]
        if lost or not isinstance(attrs.get("experiment"), str):
            raise ValueError(
                f"it does not tell its {' and '.join([*lost] or ['experiment'])}: it is of an older version"
            )
        versions = {name: str(told["versions"].get(name)) for name in deciding()}
        return cls(attrs["experiment"], told["config"], told["inputs"], told["source"], versions)

    @property
    def attrs(self) -> dict[str, str]:
        """As attributes of a result, beside the versions, which results tell anyway."""
        told = {name: json.dumps(dict(getattr(self, name))) for name in ("config", "inputs", "source")}
        return {"experiment": self.experiment, **told}

    @property
    def fields(self) -> dict[str, str]:
        """Field by field, as `linsim.storage.leases.lease` compares them."""
        told = fingerprint({"experiment": self.experiment, "config": self.config})
        contents = {f"config.{name}": f"content {digest}" for name, digest in self.inputs.items()}  # and not its name
        return told | contents | fingerprint({"source": self.source, **self.versions})


def content(path: Path) -> str:
    """A digest of a file, or of all files in a folder with their names there; in words where there is none to read."""
    told = hashlib.sha256()
    try:
        if path.is_dir():
            for inner in sorted(each for each in path.rglob("*") if each.is_file()):
                told.update(f"{inner.relative_to(path).as_posix()} {content(inner)}\n".encode())
        else:
            with path.open("rb") as file:
                while piece := file.read(_PIECE):
                    told.update(piece)
    except (OSError, ValueError) as error:  # ValueError: a name no file system takes
        return f"not readable ({getattr(error, 'strerror', None) or error})"
    return told.hexdigest()[:_SHOWN]
