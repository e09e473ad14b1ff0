"""Write a result for other programs: as tables, or as one netCDF file.

    linsim export RESULT --csv
    linsim export RESULT --netcdf

RESULT is the folder of a result. --csv writes RESULT/csv/: one table for each set of axes, with a row a point, and
variables.csv, which says of every variable its table, its long name and its units.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import xarray as xr

from linsim.commands.reading import OneLineParser
from linsim.errors import InvalidInput, RunFailed, require
from linsim.storage import store


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line.

    Args:
      arguments: without the program's name; None means sys.argv.

    Returns:
      Exit status 0; with one line on stderr 2 (a bad argument, no result) or 3 (not written).
    """
    parser = OneLineParser(prog="linsim export", description=(__doc__ or "").partition("\n")[0], allow_abbrev=False)
    parser.add_argument("result", type=Path, metavar="RESULT", help="folder of a result")
    parser.add_argument("--csv", action="store_true", help="tables, in RESULT/csv")
    parser.add_argument("--netcdf", action="store_true", help="one file, RESULT/data.nc")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for them; default RESULT")
    options = parser.parse_args(arguments)
    try:
        require(options.csv or options.netcdf, "export", "neither --csv nor --netcdf", "one of them, or both")
        dataset, folder = store.load(options.result), options.out or options.result
        for wanted, write, name in ((options.csv, as_csv, "csv"), (options.netcdf, as_netcdf, "data.nc")):
            if wanted:
                write(dataset, folder / name)
                print(folder / name)
    except InvalidInput as error:
        print(error, file=sys.stderr)
        return 2
    except (RunFailed, OSError, ValueError) as error:
        print(f"not written: {str(error).splitlines()[0]}", file=sys.stderr)
        return 3
    return 0


def as_csv(dataset: xr.Dataset, folder: Path) -> None:
    """A table for each set of axes, with a column for each of them and for each variable, and a table of the variables.

    Args:
      dataset: any result.
      folder: made where it is not there; tables of the same names in it are replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables: dict[tuple[str, ...], list[str]] = {}
    for name, variable in dataset.data_vars.items():
        tables.setdefault(tuple(map(str, variable.dims)), []).append(str(name))
    table_of: dict[str, str] = {}
    for dims, names in tables.items():
        table = f"values_by_{'_and_'.join(dims)}.csv" if dims else "scalars.csv"
        table_of |= dict.fromkeys(names, table)
        if dims:
            dataset[names].to_dataframe(dim_order=list(dims))[names].to_csv(folder / table)
        else:
            _write(folder / table, [names, [dataset[name].item() for name in names]])
    told = [[name, table_of.get(name, ""), *_words(dataset[name])] for name in [*table_of, *map(str, dataset.coords)]]
    _write(folder / "variables.csv", [["name", "table", "long_name", "units"], *told])


def as_netcdf(dataset: xr.Dataset, file: Path) -> None:
    """One file with every variable and every attribute, moved to its name when it is whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.partial")
    try:
        dataset.drop_encoding().to_netcdf(partial)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def _words(variable: xr.DataArray) -> list[str]:
    return [str(variable.attrs.get(name, "")) for name in ("long_name", "units")]


def _write(file: Path, rows: Sequence[Sequence[object]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
