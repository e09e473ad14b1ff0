"""Compiled programs, kept for the next process: most of what a small chart takes is compiling.

They lie in `programs` of the user's cache folder for linsim, or in the folder that LINSIM_CACHE names; LINSIM_CACHE=off
keeps none. Whoever has told JAX of a folder of their own (JAX_COMPILATION_CACHE_DIR) keeps that. A program is found by
its text and by the versions of JAX; JAX does not tell processors apart, and writes pages where another one compiled
what it reads. So every kind of processor has a folder of its own within, in a home that many machines share too. Beside
them lies how much faster kernels were there.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import zlib
from functools import cache
from pathlib import Path

import filelock
import jax
import platformdirs

from linsim.dynamics.kernels import trial
from linsim.storage.provenance import installed

VARIABLE = "LINSIM_CACHE"
_OFF = ("off", "0", "no", "none", "false")
_LARGEST = 256 << 20  # bytes in all; the programs that were used longest ago go first
_PROGRAM, _USED, _LOCK, _LOOKED = "-cache", "-atime", ".lockfile", ".looked-at"  # as JAX names the first three
_ZLIB = b"\x78"
_ABOUT = Path("/proc/cpuinfo")  # of Linux
_UNASKED = "1"  # what JAX sets where nobody did
_TRIALS = "kernels.json"
_WAIT = 1.0  # seconds, for other processes that write


@cache
def keep_programs() -> Path | None:
    """Have JAX keep compiled programs between processes, from now on in this one.

    Returns:
      The folder; None where none is kept. A folder that cannot be written is no reason to stop: without it programs
      are compiled again.
    """
    asked = os.environ.get(VARIABLE, "")
    own = jax.config.values["jax_compilation_cache_dir"]
    if not jax.config.values["jax_enable_compilation_cache"] or (not own and asked.lower() in _OFF):
        return None
    _hush()
    if own:  # perhaps no path of this machine: JAX takes those of a cloud, too
        jax.config.update("jax_compilation_cache_dir", f"{own}/{processor()}")
        return Path(own) / processor()
    folder = (Path(asked) if asked else platformdirs.user_cache_path("linsim") / "programs") / processor()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / _LOCK, timeout=_WAIT):
            damaged = _cleared(folder)
    except (OSError, filelock.Timeout) as error:
        if asked:
            _say("%s=%s: compiled programs are not kept: %s", VARIABLE, asked, error)
        return None
    if damaged:
        _say("%s: %d damaged programs were thrown away; they are compiled again", folder, damaged)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", _LARGEST)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    trial.kept = Trials(folder / _TRIALS)
    return folder


class Trials(dict[str, float]):
    """What trials have found on this kind of processor, in a file; those of other versions are made again."""

    def __init__(self, file: Path) -> None:
        self._file, self._versions = file, {package: installed(package) for package in ("linsim", "jaxlib", "llvmlite")}
        try:
            told = json.loads(file.read_text(encoding="utf-8"))
            super().__init__({name: float(ratio) for name, ratio in told["ratios"].items()})
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            _say("%s: damaged; kernels are tried again: %s", file, error)
            return
        if told.get("versions") != self._versions:
            _say("%s: of other versions; kernels are tried again", file)
            self.clear()

    def __setitem__(self, name: str, ratio: float) -> None:
        super().__setitem__(name, ratio)
        text = json.dumps({"versions": self._versions, "ratios": dict(self)}, indent=1)
        try:
            aside = self._file.with_name(f"{self._file.name}.{os.getpid()}")
            aside.write_text(text, encoding="utf-8")
            aside.replace(self._file)
        except OSError:  # of a disk that is full, say: another process tries again
            pass


def processor() -> str:
    """A name for all processors that run the same programs: a few letters of what they say they are able to do."""
    told = [platform.machine(), platform.processor()]
    try:
        lines = _ABOUT.read_text(encoding="utf-8").splitlines()
        told += sorted({line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))})
    except (OSError, ValueError):
        pass
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:12]


def _hush() -> None:
    """Have XLA log only what is fatal, unless it was asked to log more.

    On Intel it calls each program that it finds again an error, since two tuning flags of the compiler are no features
    of the processor (openxla/xla issue 44565).
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", _UNASKED) == _UNASKED:
        from jaxlib import utils

        utils.absl_set_min_log_level(3)


def _cleared(folder: Path) -> int:
    """Throw away programs that a killed process or a full disk has left in pieces; each is looked at once."""
    looked = folder / _LOOKED
    since, damaged = looked.stat().st_mtime_ns if looked.exists() else 0, 0
    for program in folder.glob(f"*{_PROGRAM}"):
        used = program.with_name(program.name.removesuffix(_PROGRAM) + _USED)
        if program.stat().st_mtime_ns < since and used.exists():
            continue
        if not (used.exists() and used.stat().st_size and _whole(program.read_bytes())):
            damaged += 1
            program.unlink()
            used.unlink(missing_ok=True)
    looked.touch()
    return damaged


def _whole(program: bytes) -> bool:
    """Whether it can be unpacked; of what JAX packs with another library that is not known, unless it is empty."""
    if not program.startswith(_ZLIB):
        return program.startswith(b"\x28\xb5\x2f\xfd")  # Zstandard
    try:
        zlib.decompress(program)
    except zlib.error:
        return False
    return True


def _say(message: str, *arguments: object) -> None:
    logging.getLogger("linsim").warning(message, *arguments)
