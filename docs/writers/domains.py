"""What a Hypothesis strategy of plain problems draws, field by field."""

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

DRAWN = 25


def drawn(strategy: SearchStrategy[Mapping[str, Any]]) -> dict[str, str]:
    """Field -> its range over `DRAWN` problems, the same at every call."""
    problems: list[Mapping[str, Any]] = []

    def keep(problem: Mapping[str, Any]) -> None:
        problems.append(problem)

    once = settings(
        max_examples=DRAWN,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    once(given(strategy)(keep))()
    fields = dict.fromkeys(name for problem in problems for name in problem)
    return {name: _range([problem[name] for problem in problems if name in problem]) for name in fields}


def _range(values: Sequence[Any]) -> str:
    if isinstance(values[0], tuple):
        lengths = sorted({len(value) for value in values})
        return f"{_either(lengths)} numbers, {_range([number for value in values for number in value])}"
    different = sorted(set(values))
    if len(different) <= 3 or isinstance(values[0], str):
        return _either(different)
    return f"{different[0]:.3g} to {different[-1]:.3g}"


def _either(values: Sequence[Any]) -> str:
    told = [f"{value:.3g}" if isinstance(value, float) else str(value) for value in values]
    return " or ".join(filter(None, [", ".join(told[:-1]), *told[-1:]]))
