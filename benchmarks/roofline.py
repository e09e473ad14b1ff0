"""What a device could do at most: from data sheets where its kind is known, on a CPU from one large product.

Counted are additions and multiplications, a fused pair as two, as data sheets do. Dense figures, without sparsity.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from typing import Literal

import jax
import jax.numpy as jnp

from linsim.dynamics.kernels.threads import cores

Precision = Literal["float32", "float64"]

_SIDE = 2048  # of the product that is timed on a CPU
_TIMES = 5


@dataclass(frozen=True)
class Device:
    """Peaks of one device, a second."""

    float32: float
    """Operations outside tensor cores."""
    float64: float
    """The same in float64."""
    float32_tensor: float
    """Operations of tensor cores on float32 numbers, rounded to TF32."""
    float64_tensor: float
    """Operations of tensor cores in float64."""
    bandwidth: float
    """Bytes to and from its memory."""
    source: str
    """Whose figures these are."""


_H100 = "NVIDIA H100 Tensor Core GPU data sheet"
_A100 = "NVIDIA A100 80GB and 40GB data sheets"

# The sheets of Hopper tell TF32 with sparsity: half of that is dense.
DEVICES = {
    "NVIDIA H100 80GB HBM3": Device(67e12, 34e12, 989e12 / 2, 67e12, 3.35e12, f"{_H100}, SXM"),
    "NVIDIA H100 PCIe": Device(51e12, 26e12, 756e12 / 2, 51e12, 2.0e12, f"{_H100}, PCIe"),
    "NVIDIA H200": Device(67e12, 34e12, 989e12 / 2, 67e12, 4.8e12, "NVIDIA H200 Tensor Core GPU data sheet, SXM"),
    "NVIDIA A100-SXM4-80GB": Device(19.5e12, 9.7e12, 156e12, 19.5e12, 2.039e12, f"{_A100}, SXM"),
    "NVIDIA A100-SXM4-40GB": Device(19.5e12, 9.7e12, 156e12, 19.5e12, 1.555e12, f"{_A100}, SXM"),
    "NVIDIA A100 80GB PCIe": Device(19.5e12, 9.7e12, 156e12, 19.5e12, 1.935e12, f"{_A100}, PCIe"),
}
"""By `device_kind` of JAX."""


def peak(flops: float, precision: Precision, *, tensor: bool = False, device: jax.Device | None = None) -> float | None:
    """Units of work that a device can do in a second, if it does nothing else.

    Args:
      flops: additions and multiplications that one unit takes.
      precision: of the numbers.
      tensor: whether the work is products of matrices, which tensor cores do. On a CPU no difference is made.
      device: which; None is the first of the process.

    Returns:
      None for a device that is not in `DEVICES` and no CPU.
    """
    device = device or jax.devices()[0]
    if device.platform == "cpu":
        return product_speed(precision) / flops
    known = DEVICES.get(device.device_kind)
    if known is None:
        return None
    speed: float = getattr(known, f"{precision}_tensor" if tensor else precision)
    return speed / flops


def bandwidth(device: jax.Device | None = None) -> float | None:
    """Bytes to and from memory that a device can move in a second; None where it is not in `DEVICES`."""
    known = DEVICES.get((device or jax.devices()[0]).device_kind)
    return None if known is None else known.bandwidth


def flops_of_mode_step(depth: int) -> int:
    """Operations of `mode_steps.step` on one mode, plain or with a penalty in product space: 4 L - 2.

    Products of the layers before each layer take L - 2, the end-to-end product 1 and its excess 1; the excess times the
    layers after each takes L - 1, and as many its product with those before; L are subtracted.
    A single layer takes 3: its excess, times the slope, subtracted.
    """
    return 3 if depth == 1 else 4 * depth - 2


@cache
def product_speed(precision: Precision) -> float:
    """Operations a second of one large product of matrices on each core, the fastest of several, times the cores."""
    with jax.enable_x64(True):
        matrix = jnp.ones((_SIDE, _SIDE), precision)
        multiply = jax.jit(jnp.matmul)
        seconds = []
        for _ in range(_TIMES + 1):
            started = time.process_time()  # which other work on the machine does not lengthen
            multiply(matrix, matrix).block_until_ready()
            seconds.append(time.process_time() - started)
    return cores() * 2.0 * _SIDE**3 / min(seconds[1:])
