"""Numbers and names as a reader says them."""

from __future__ import annotations

import numpy as np
import xarray as xr


def says(values: xr.DataArray) -> str:
    """What is measured, and its units, as the dataset calls it; empty where it has no name."""
    name, units = values.attrs.get("long_name", ""), values.attrs.get("units", "1")
    return name if units == "1" else f"{name} ({units})"


def short(value: float) -> str:
    """A number in two digits, powers of ten as such."""
    if np.isinf(value):
        return "$\\infty$" if value > 0 else "$-\\infty$"
    if value == 0 or 0.001 <= abs(value) < 10_000:
        return f"{value:.2g}" if abs(value) < 100 else f"{value:.0f}"
    mantissa, power = f"{value:.1e}".split("e")
    return f"${mantissa.removesuffix('.0')}\\times10^{{{int(power)}}}$"


def in_full(value: float) -> str:
    """A number with all the digits it needs, up to four where it is very small or very large."""
    mantissa, power = f"{value:.3e}".split("e")
    if value == 0 or -3 <= int(power) <= 4:
        return grouped(value) if int(power) == 4 else f"{value:.6g}"
    return f"${float(mantissa):g}\\times10^{{{int(power)}}}$"


def power_of_ten(power: int) -> str:
    """A tick label: 0.1, 1 and 10 in full, further powers as such."""
    return f"{10.0**power:g}" if -1 <= power <= 1 else f"$10^{{{power}}}$"


def grouped(value: float) -> str:
    """A whole number with its thousands apart."""
    return f"{value:,.0f}".replace(",", "\N{THIN SPACE}")


def rise(harm: float) -> str:
    """Harm as a reader says it: in percent, as a factor once that gets long."""
    if not np.isfinite(harm):
        return "unknown" if np.isnan(harm) else "from 0"
    if harm < 1e-3:
        return "+0 %" if harm < 1e-6 else "<0.1 %"
    if harm >= 100:
        return f"×{short(1 + harm)}"
    return f"+{grouped(100 * harm)} %" if harm >= 0.0995 else f"+{100 * harm:.2g} %"
