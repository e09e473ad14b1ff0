"""Small results of a run that is under way, kept so that a killed run need not compute them again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from linsim.storage.fingerprint import digest, fingerprint
from linsim.storage.store import write_json
from linsim.sweeping.running import current


def remembered(of: Mapping[str, Any], compute: Callable[[], Any]) -> Any:
    """What `compute` returns, or returned before in this run or in the one it resumes.

    Args:
      of: all that the result depends on, see `linsim.storage.fingerprint`.
      compute: returns anything that JSON can hold; numbers come back bit for bit.

    Raises:
      RunFailed: the disk is full or fails.
    """
    keep = current().keep
    if keep is None:
        return compute()
    file = keep / f"{digest(fingerprint(of))}.json"
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        if told["checksum"] == _checksum(told["value"]):
            return told["value"]
    except (OSError, ValueError, TypeError, KeyError):
        pass  # not there yet, or damaged: either way it is computed
    value = json.loads(json.dumps(compute()))
    write_json({"checksum": _checksum(value), "value": value}, file)
    return value


def _checksum(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
