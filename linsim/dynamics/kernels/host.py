"""The processor of this machine: its registers, found when they are asked for, and code that is compiled for it."""

from __future__ import annotations

import ctypes
import platform
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from linsim.dynamics.kernels.vectors import Dtype, Registers

_LOCK = threading.Lock()
_KINDS: Mapping[int, tuple[int, str]] = {512: (32, "avx512f"), 256: (16, "avx2")}
"""Registers, and what a processor that has them says, by their bits."""
_ARGUMENTS = (ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)


@dataclass(frozen=True, eq=False)
class Compiled:
    """A function of machine code, with what keeps it in memory. The interpreter is free while it runs."""

    run: Callable[..., None]
    kept: tuple[Any, ...]


def llvm() -> Any:
    """The compiler; `ImportError` where it is not installed."""
    import llvmlite.binding as binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding


@cache
def bits() -> int | None:
    """Of the widest registers of this processor for which there are kernels; None where it has none such.

    Raises:
      ImportError: llvmlite is not installed.
    """
    found = llvm().get_host_cpu_features() if ours() else {}
    return next((wide for wide, (_, says) in _KINDS.items() if found.get(says) and found.get("fma")), None)


def ours() -> bool:
    """Whether this is a kind of processor that there are kernels for."""
    return platform.machine().lower() in ("x86_64", "amd64")


def registers(dtype: Dtype, wide: int) -> Registers:
    """As many bits wide."""
    return Registers(dtype, wide, _KINDS[wide][0])


def compiled(text: str, wide: int) -> Compiled:
    """Machine code of LLVM's text, for this processor; as for one without wider registers where it has such."""
    with _LOCK:
        binding = llvm()
        cpu, features = binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()
        if wide != bits():
            cpu, features = "x86-64-v3", ""
        module = binding.parse_assembly(text)
        module.verify()
        machine = binding.Target.from_default_triple().create_target_machine(cpu=cpu, features=features, opt=3)
        tuning = binding.create_pipeline_tuning_options(speed_level=2)
        tuning.loop_vectorization = tuning.slp_vectorization = tuning.loop_unrolling = False  # as it is written
        builder = binding.create_pass_builder(machine, tuning)
        builder.getModulePassManager().run(module, builder)
        engine = binding.create_mcjit_compiler(module, machine)
        engine.finalize_object()
        run = ctypes.CFUNCTYPE(None, *_ARGUMENTS)(engine.get_function_address("run"))
        return Compiled(run, (engine, module, machine))
