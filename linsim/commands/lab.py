"""What stands above linsim, found where it lies: `experiments`, `figures` and `pages`, beside this package.

A checkout has the three as its own folders, a wheel inside `linsim_lab`. linsim imports none: it finds them by name,
so that one path leads to them in both: `linsim.commands.lab:main` is the command, `linsim.plot` draws.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from linsim.commands.spoken import silence

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

_ROOT = Path(__file__).parents[2]
_WHEEL = "linsim_lab"


def beside(name: str) -> ModuleType:
    """A module of `experiments`, `figures` or `pages`, such as "figures.stages"."""
    if (_ROOT / _WHEEL).is_dir():
        return import_module(f"{_WHEEL}.{name}")
    spec = find_spec(name.partition(".")[0])
    if spec is None or spec.origin is None or Path(spec.origin).parents[1] != _ROOT:  # these names are anybody's
        sys.path.insert(0, str(_ROOT))
    return import_module(name)


def plot(result: xr.Dataset | Path | str) -> Figure:
    """The figure of a result, with what was found as its title; `figure.savefig("name.png")` writes it.

    Args:
      result: what an experiment or `linsim.chart` returned, or the folder that holds it.

    Raises:
      InvalidInput: there is no figure of such results, or there are variables missing that it needs.

    Example:
      >>> transfer = ls.shifted(ls.LinearTask.create(ls.power_law(3)), ls.Rescale([2, 3], factor=4.0))
      >>> start = ls.stack_seeds([ls.identity((3, 3, 3), tau=2.0)])
      >>> problem = ls.Problem(
      ...     transfer, start, ls.Phase(0.02), ls.Phase(0.01), budgets=np.array([10, 40, 160]), finetune_steps=50
      ... )
      >>> result = ls.chart(problem, learning_rates=np.array([0.001, 0.01]), strengths=np.array([0.0, 4.0]))
      >>> print(ls.plot(result).axes[0].get_xlabel())
      fine-tuning learning rate ... (flow time per step)
    """
    figure: Figure = beside("figures.plotting").plot(result)
    return figure


def main() -> int:
    """The command line: `linsim NAME ...`; returns the exit status."""
    try:
        status: int = beside("experiments.command.line").main()
        sys.stdout.flush()
    except BrokenPipeError:  # of `linsim ... | head`, which has read enough
        silence()
        return 1
    except KeyboardInterrupt:  # before there was anything to go on with
        print("interrupted", file=sys.stderr)
        return 3
    return status
