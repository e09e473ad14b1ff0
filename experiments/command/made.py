"""How a result was made, as it tells: by which experiment, from which configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from linsim.commands.spoken import dashed
from linsim.errors import InvalidInput, require
from linsim.storage import store
from linsim.storage.plain import parsed
from linsim.storage.sources import changed

from .names import experiments

VERDICTS = "claims.json"
"""What `claims` writes in place of a dataset."""
_TOLD = 3  # modules, by name


@dataclass(frozen=True)
class Made:
    """What an experiment was asked for."""

    experiment: str
    """As the command is called."""
    config: Mapping[str, Any]
    """Fields by name, as JSON has them."""
    source: Mapping[str, str] | None = None
    """Module -> digest of its source then; None of a result that does not tell it."""

    @classmethod
    def of(cls, folder: Path, named: str | None = None) -> Made:
        """Of the result in a folder.

        Args:
          folder: of the result.
          named: the experiment, for a result that does not tell it.

        Raises:
          InvalidInput: there is no readable result, or it does not tell how it was made.
        """
        if (folder / VERDICTS).is_file():
            text = (folder / VERDICTS).read_text(encoding="utf-8", errors="replace")
            return cls("claims", _object(folder, "config", _object(folder, "verdicts", {"verdicts": text})))
        with store.view(folder) as dataset:
            told = dict(dataset.attrs)
        name = named or told.get("experiment")
        if name is None:
            allowed = "one that tells its experiment; name that of an older one with --experiment"
            raise InvalidInput("result", str(folder), allowed)
        known = experiments()
        require(dashed(name) in known, "experiment", name, f"one of {', '.join(known)}")
        source = _object(folder, "source", told) if "source" in told else None
        return cls(dashed(name), _object(folder, "config", told), source)

    @property
    def lost(self) -> str:
        """What is said where the source that made the result is no longer there; empty where it is."""
        if self.source is None:
            return "The result does not tell which source made it."
        other = changed(self.source)
        more = f" and {len(other) - _TOLD} more" * (len(other) > _TOLD)
        told = f"The source that made it is no longer there: {', '.join(other[:_TOLD])}{more} changed since."
        return told if other else ""


def _object(folder: Path, name: str, told: Mapping[str, Any]) -> Mapping[str, Any]:
    """A mapping among what a result tells, be it as JSON."""
    try:
        found = told[name]
        found = parsed(found) if isinstance(found, str) else found
        return dict(found)
    except (KeyError, ValueError, TypeError) as error:
        raise InvalidInput("result", str(folder), f"one that tells its {name}, as experiments write it") from error
