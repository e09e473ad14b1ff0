"""Who may be given work: schedulers that nobody else can give orders to, and scripts that workers can begin with.

A Dask worker runs whatever its scheduler hands it. Without TLS whoever reaches the scheduler gives the orders.
"""

from __future__ import annotations

import ast
import ipaddress
import re
import sys
from pathlib import Path
from typing import Any

from linsim.errors import require

_ADDRESS = re.compile(r"(?:(?P<protocol>[a-z]+)://)?(?:\[(?P<six>[^\s\[\]]+)\]|(?P<host>[^\s/:\[\]]+)):\d{1,5}")
_ENCRYPTED = ("tls", "wss")


def require_address(field: str, address: Any, unencrypted: bool) -> None:
    """Raise `InvalidInput` unless this is the address of a scheduler, on this machine or behind TLS.

    Args:
      field: to name.
      address: `tls://HOST:PORT`; `tcp://HOST:PORT`, or without a protocol, for a HOST that is this machine.
      unencrypted: whether the network in between is trusted.
    """
    found = _ADDRESS.fullmatch(address) if isinstance(address, str) else None
    require(found is not None, field, address, "an address, tls://HOST:PORT, or tcp://HOST:PORT on this machine")
    assert found is not None
    safe = found["protocol"] in _ENCRYPTED or unencrypted or _is_here(found["six"] or found["host"])
    allowed = "tls://HOST:PORT beyond this machine, or --unencrypted: whoever reaches it can run code on the workers"
    require(safe, field, address, allowed)


def _is_here(host: str) -> bool:
    """Whether traffic to a host stays on this machine."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


def require_guard(field: str, value: Any) -> None:
    """Raise `InvalidInput` where worker processes, which begin with importing the script, would begin all this again.

    Args:
      field: to name.
      value: what asked for worker processes.
    """
    main = sys.modules.get("__main__")
    source, spec = getattr(main, "__file__", None), getattr(main, "__spec__", None)
    if source is None or (spec is not None and spec.name.endswith(".__main__")):  # these are not imported again
        return
    frame = sys._getframe()
    while frame is not None and not (frame.f_globals is vars(main) and frame.f_code.co_name == "<module>"):
        frame = frame.f_back  # type: ignore[assignment] # None beyond the first
    if frame is not None and not _guarded(Path(source), frame.f_lineno):
        where = f"line {frame.f_lineno} of {Path(source).name} does not"
        require(False, field, value, f'work that stands under `if __name__ == "__main__":`, and {where}')


def _guarded(source: Path, line: int) -> bool:
    """Whether a line stands within a condition on `__name__`; of what cannot be read that is not known."""
    try:
        tree = ast.parse(source.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return True
    above = [node for node in ast.walk(tree) if isinstance(node, ast.If) and node.lineno <= line <= _end(node)]
    return any(isinstance(part, ast.Name) and part.id == "__name__" for node in above for part in ast.walk(node.test))


def _end(node: ast.If) -> int:
    return node.end_lineno or node.lineno
