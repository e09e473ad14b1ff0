"""Compute what is in a result once more, from the configuration in its attributes, and hold the two against each other.

    linsim again RESULT
    linsim again RESULT --depth 3 --out DIR

RESULT is the folder of a result. Flags of its experiment change the configuration; then nothing is compared.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from linsim.commands.files import saying
from linsim.commands.flags import flags_of
from linsim.commands.lab import beside
from linsim.commands.reading import OneLineParser
from linsim.commands.spoken import dashed
from linsim.errors import DISTRUSTED, InvalidInput
from linsim.storage import store

from .made import Made
from .names import module_of


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line.

    Args:
      arguments: without the program's name; None means sys.argv.

    Returns:
      Exit status of the experiment; 2 with one line on stderr for a result that does not tell how it was made.
    """
    parser = OneLineParser(prog="linsim again", description=(__doc__ or "").partition("\n")[0], allow_abbrev=False)
    parser.add_argument("result", type=Path, metavar="RESULT", help="folder of a result")
    parser.add_argument("--experiment", metavar="NAME", help="of a result that does not tell by which it was made")
    parser.add_argument("--out", type=Path, metavar="DIR", help="for the new result; default RESULT_again")
    options, changes = parser.parse_known_args(arguments)
    out = options.out or options.result.with_name(f"{options.result.resolve().name}_again")
    try:
        made = Made.of(options.result, options.experiment)
        experiment = beside(module_of(made.experiment))
        said = saying(made.config, list(flags_of(experiment.Config())), "result", str(options.result))
    except InvalidInput as error:
        print(error, file=sys.stderr)
        return 2
    if made.experiment != "claims" and made.lost:
        print(made.lost)
    words = [*said, *changes, "--out", str(out)]
    print(f"linsim {dashed(made.experiment)} {shlex.join(words)}", flush=True)
    status: int = experiment.main(words)
    if status in (0, DISTRUSTED) and made.experiment != "claims":
        first, second = store.load(options.result), store.load(out)
        if first.attrs["config"] == second.attrs["config"]:
            print(compared(first, second))
    return status


def compared(first: xr.Dataset, second: xr.Dataset) -> str:
    """How far the numbers of two results of one configuration lie apart, in a sentence."""
    names = sorted(map(str, first.variables))
    missing = [name for name in names if name not in second]
    other = [name for name in names if name not in missing and not first[name].equals(second[name])]
    if not missing and not other:
        return f"The same as before, bit for bit: {len(names)} variables."
    apart = {name: _apart(first[name], second[name]) for name in other}
    parts = [f"{len(other)} of {len(names)} variables differ"] * bool(other)
    if other:
        worst = max(other, key=lambda name: apart[name])
        parts.append(f"at most by {apart[worst]:.1e} of the largest value ({worst})")
    parts += [f"not there any more: {', '.join(missing)}"] * bool(missing)
    return f"{', '.join(parts)}. See the attribute versions of both."


def _apart(first: xr.DataArray, second: xr.DataArray) -> float:
    """Largest difference over the largest value; infinite where shapes, or what is a number, differ."""
    if first.shape != second.shape or first.dtype.kind not in "fiu":
        return np.inf
    one, two = first.values.astype(np.float64), second.values.astype(np.float64)
    if not np.array_equal(np.isfinite(one), np.isfinite(two)):
        return np.inf
    known = np.isfinite(one)
    scale = float(np.max(np.abs(one[known]), initial=0.0)) or 1.0
    return float(np.max(np.abs(one[known] - two[known]), initial=0.0)) / scale
