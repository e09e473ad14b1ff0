"""A table of measured losses, read and refused: one line names the row and the column."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from linsim.errors import InvalidInput, brief, require, require_choice
from linsim.forecasting.columns import COLUMNS
from linsim.forecasting.prior import FEWEST_BUDGETS

BUDGET, BASE = "budget", COLUMNS[0]
WHOSE = ("run", "rate", "strength")
"""Columns that say which run a row is of."""
NAMES = (BUDGET, *COLUMNS, *WHOSE)
"""All columns that are looked at; of budget and base_loss a table has both, of the others any."""

_EMPTY = ("none", "nan", "<na>", "nat")
"""What cells of a DataFrame that were not measured are called, as text."""

STEP = 1e3  # from one budget to the next: more is taken for another unit
_SPAN = 1e6  # of losses within one column of a run, likewise
_UNITS = "{} in one unit for all rows: {} {:.3g} times {}"


class Run(NamedTuple):
    """Losses of one run over its budgets."""

    name: str
    budgets: Float[np.ndarray, " budgets"]
    losses: Mapping[str, Float[np.ndarray, " budgets"]]
    """Of the columns that were measured; none where even the base loss was not."""


def read_table(table: Any, names: Mapping[str, str] | None = None) -> list[Run]:
    """Runs of a table, in the order in which they appear.

    A column of losses whose cells are all empty was not measured. Scales do not matter, as long as a column keeps its
    own: losses in units of the first one will do.

    Args:
      table: path of a CSV file with a head, or a mapping of names to columns, such as a DataFrame.
      names: column of `NAMES` -> its name in the table, where that is another.

    Raises:
      InvalidInput: no such file, a column is missing, no number, a loss or a budget that is not above 0, budgets that
        do not increase within a run, are fewer than 3, or differ between runs, or units that are mixed.

    Example:
      >>> read_table({"budget": [1, 2, 4], "base_loss": [3.0, 2.0, 1.5]})[0].losses["base_loss"]
      array([3. , 2. , 1.5])
    """
    given = {} if names is None else names
    sound = isinstance(given, Mapping) and all(isinstance(name, str) for pair in given.items() for name in pair)
    require(sound, "names", brief(given), f"a mapping from {', '.join(NAMES)} to names in the table")
    for name in given:
        require_choice("names", name, NAMES)
    names = {name: name for name in NAMES} | dict(given)
    (twice, count), *_ = Counter(names.values()).most_common()
    require(count == 1, "names", f"{twice} for {count} columns", "a name in the table for each")
    columns, places = _columns(table)
    _require_names(columns, names, f"row {max(places[:1] or [2]) - 1 or 1}")
    require(len(places) > 0, "table", "no rows", f"at least {FEWEST_BUDGETS} rows, one for every budget of a run")
    chosen = {name: columns[at] for name, at in names.items() if at in columns}
    groups: dict[str, dict[int, dict[str, str]]] = {}
    for place, *cells in zip(places, *chosen.values(), strict=True):
        row = dict(zip(chosen, cells, strict=True))
        groups.setdefault(_name(row), {})[place] = row
    runs = [_run(name, list(rows.values()), list(rows), names) for name, rows in groups.items()]
    for (name, rows), run in zip(groups.items(), runs, strict=True):
        _require_same(run.budgets.tolist(), runs[0], list(rows), names[BUDGET], name)
    return runs


def _columns(table: Any) -> tuple[dict[str, list[str]], list[int]]:
    """Every column as text, and where each row stands: the line of a file, the number of a row elsewhere."""
    if isinstance(table, str | Path):
        return _of_file(Path(table))
    named = hasattr(table, "keys") and hasattr(table, "__getitem__")
    require(named, "table", brief(table), "the path of a CSV file, or a mapping of names to columns")
    columns = {str(name): _column(str(name), table[name]) for name in list(table.keys())}
    lengths = {name: len(column) for name, column in columns.items()}
    require(len(set(lengths.values())) <= 1, "table", lengths, "columns of one length")
    return columns, list(range(1, 1 + max(lengths.values(), default=0)))


def _of_file(path: Path) -> tuple[dict[str, list[str]], list[int]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            head = [name.strip() for name in next(reader, [])]
            rows = [(reader.line_num, row) for row in reader if row]
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidInput("table", repr(str(path))[1:-1], f"a CSV file in UTF-8 ({reason})") from error
    for name, count in Counter(head).items():
        require(count == 1, f"row 1, column {name}", f"{count} of that name", "each name once")
    for line, row in rows:
        require(len(row) == len(head), f"row {line}", f"{len(row)} cells", f"{len(head)}, as the head has")
    return {name: [row[at] for _, row in rows] for at, name in enumerate(head)}, [line for line, _ in rows]


def _require_names(columns: Mapping[str, Any], names: Mapping[str, str], row: str) -> None:
    """Columns that a forecast cannot do without, that somebody named, or that are nearly named are there."""
    there = ", ".join(columns) or "none"
    for name, called in names.items():
        field = f"{row}, column {called}"
        if name in (BUDGET, BASE) or called != name:
            allowed = f"a column of that name, of the {name.replace('_', ' ')}"
            require(called in columns, field, f"columns {there}", allowed)
    missing = {called.lower(): called for called in names.values() if called not in columns}
    for column in {*columns} - {*names.values()}:
        meant = get_close_matches(column.strip().lower().replace(" ", "_"), missing, 1, cutoff=0.9)
        require(not meant, f"{row}, column {column}", "no known name", f"{missing[meant[0]] if meant else ''}")


def _column(name: str, values: Any) -> list[str]:
    plain = values.tolist() if hasattr(values, "tolist") else values
    several = isinstance(plain, list | tuple)
    require(several, name, brief(values), "a list of values")
    return ["" if str(value).lower() in _EMPTY else str(value) for value in plain]


def _name(row: Mapping[str, str | None]) -> str:
    told = [(row.get(name) or "").strip() for name in WHOSE]
    parts = [told[0] or "run", *(f"{name} {value}" for name, value in zip(WHOSE[1:], told[1:], strict=True) if value)]
    return ", ".join(parts)


def _run(name: str, rows: Sequence[Mapping[str, str]], places: Sequence[int], names: Mapping[str, str]) -> Run:
    """One run; the number of each row says where it stands."""
    told = _numbers([row[BUDGET] for row in rows], places, names[BUDGET])
    for before, after, at in zip(told[:-1], told[1:], places[1:], strict=True):
        field = f"row {at}, column {names[BUDGET]}"
        require(after > before, field, after, f"more than the {before:g} of the row before: each budget once, in order")
        allowed = _UNITS.format("budgets", "this is", after / before, "the one before")
        require(after <= STEP * before, field, after, allowed)
    enough = f"at least {FEWEST_BUDGETS} budgets a run; {name!r} has {len(told)}"
    require(len(told) >= FEWEST_BUDGETS, f"row {places[-1]}, column {names[BUDGET]}", told[-1], enough)
    losses = {}
    for column in COLUMNS:
        cells = [row.get(column) for row in rows]
        if any((cell or "").strip() for cell in cells):
            values = _numbers(cells, places, names[column])
            least, most = min(values), max(values)
            field = f"row {places[values.index(least)]}, column {names[column]}"
            allowed = _UNITS.format("losses", "the largest is", most / least, "this one")
            require(most <= _SPAN * least, field, least, allowed)
            losses[column] = np.array(values)
    return Run(name, np.array(told), losses if BASE in losses else {})


def _numbers(cells: Sequence[str | None], places: Sequence[int], column: str) -> list[float]:
    found: list[float] = []
    for cell, at in zip(cells, places, strict=True):
        field, allowed = f"row {at}, column {column}", "a finite number > 0 without a unit, such as 2.3e12"
        try:
            value = float((cell or "").strip())
        except ValueError:
            raise InvalidInput(field, cell or "nothing", allowed) from None
        require(bool(np.isfinite(value)) and value > 0, field, value, allowed)
        found.append(value)
    return found


def _require_same(budgets: list[float], first: Run, places: Sequence[int], column: str, name: str) -> None:
    for at, place in enumerate(places):
        same = at < len(first.budgets) and budgets[at] == float(first.budgets[at])
        field = f"row {place}, column {column}"
        require(same, field, budgets[at], f"the budgets of {first.name!r}, which {name!r} has as well")
    more = f"all {len(first.budgets)} budgets of {first.name!r}; {name!r} has {len(budgets)}"
    require(len(budgets) == len(first.budgets), f"row {places[-1]}, column {column}", budgets[-1], more)
