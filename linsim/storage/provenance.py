"""Where a result comes from: what an outsider needs to know to get it again."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jax

_PACKAGES = ("linsim", "jax", "jaxlib", "flax", "optax", "llvmlite", "numpy", "xarray", "zarr")


_DECIDING = ("linsim", "jax", "jaxlib", "flax", "optax", "llvmlite", "numpy")


def provenance() -> dict[str, str]:
    """Versions, device and git revision, as attributes of a result."""
    return {"versions": json.dumps(_versions()), "device": _device(), "git_revision": _git_revision()}


def deciding() -> dict[str, str]:
    """Versions of what decides, beside configuration and source, whether the same numbers come out bit for bit."""
    versions = _versions()
    return {name: versions[name] for name in _DECIDING}


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{package: installed(package) for package in _PACKAGES}}


def installed(package: str) -> str:
    """The version of a package that is installed, or that none is."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _device() -> str:
    devices = jax.devices()
    return f"{len(devices)} x {devices[0].device_kind}"


def _git_revision() -> str:
    """Revision of the repository that this file is part of, marked where files of it were changed since.

    To know which source made a result, `linsim.storage.sources` is better: this is for people.
    """
    try:
        _git("ls-files", "--error-unmatch", Path(__file__).name)  # a checkout, and not what is installed inside of one
        revision = _git("rev-parse", "HEAD")
        return revision + ("+changes" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return "not a git checkout"


def _git(*arguments: str) -> str:
    elsewhere = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")  # as inside a hook of another repository
    here = {name: value for name, value in os.environ.items() if name not in elsewhere}
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10, env=here).stdout.strip()
