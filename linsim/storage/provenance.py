"""Where a result comes from: what an outsider needs to know to get it again."""

from __future__ import annotations

import json
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jax

_PACKAGES = ("linsim", "jax", "jaxlib", "flax", "optax", "numpy", "xarray", "zarr")


def provenance() -> dict[str, str]:
    """Versions, device and git revision, as attributes of a result."""
    return {"versions": json.dumps(_versions()), "device": _device(), "git_revision": _git_revision()}


def deciding() -> dict[str, str]:
    """What decides, beside the configuration, whether the same numbers come out bit for bit."""
    versions = _versions()
    return {name: versions[name] for name in ("linsim", "jax", "jaxlib", "numpy")} | {"revision": _git_revision()}


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _device() -> str:
    devices = jax.devices()
    return f"{len(devices)} x {devices[0].device_kind}"


def _git_revision() -> str:
    """Revision of the checkout that holds this package, marked where its files were changed since."""
    try:
        revision = _git("rev-parse", "HEAD")
        return revision + ("+changes" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return "not a git checkout"


def _git(*arguments: str) -> str:
    here = Path(__file__).parent
    command = ["git", "-C", str(here), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
