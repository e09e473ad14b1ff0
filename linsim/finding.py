"""What the data say, once: a sentence with its numbers, a verdict, and whether to trust it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, Literal, get_args

import xarray as xr

from linsim.errors import InvalidInput, require

Verdict = Literal["seen", "not seen", "cannot tell"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

_ATTRIBUTE = "finding"
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}  # which JSON has no numbers for


@dataclass(frozen=True)
class Finding:
    """What an experiment found, computed once from its dataset; the terminal, the picture and the page print it."""

    sentence: str
    """The headline: one sentence with its numbers, also the picture's title."""
    verdict: Verdict
    """Whether what the experiment asks about was seen, or the data cannot tell."""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    """What the sentence quotes: name -> real number, of any type when given, an int or a float from then on."""
    details: tuple[str, ...] = ()
    """Further lines, told below the sentence on a terminal."""
    trust: str = ""
    """What the result's own check says against it; empty where all is well."""

    def __post_init__(self) -> None:
        line = isinstance(self.sentence, str) and bool(self.sentence) and "\n" not in self.sentence
        allowed = "one sentence in one line, without its full stop"
        require(line and not self.sentence.endswith("."), "sentence", self.sentence, allowed)
        require(self.verdict in VERDICTS, "verdict", self.verdict, f"one of {', '.join(VERDICTS)}")
        require(isinstance(self.numbers, Mapping), "numbers", self.numbers, "a mapping from names to numbers")
        object.__setattr__(self, "numbers", {name: _number(name, value) for name, value in self.numbers.items()})
        lines = not isinstance(self.details, str) and all(isinstance(each, str) for each in self.details)
        require(lines, "details", self.details, "lines of text")
        object.__setattr__(self, "details", tuple(self.details))
        require(isinstance(self.trust, str), "trust", self.trust, "text, empty where all is well")

    @classmethod
    def of(cls, dataset: xr.Dataset) -> Finding:
        """The finding that a result carries; `InvalidInput` where it has none, or a damaged one."""
        allowed = "a result of an experiment, which carries what was found"
        require(_ATTRIBUTE in dataset.attrs, "dataset", f"no attribute {_ATTRIBUTE}", allowed)
        return cls.from_json(dataset.attrs[_ATTRIBUTE])

    @classmethod
    def from_json(cls, text: str) -> Finding:
        """The finding that `to_json` wrote; `InvalidInput` for any other text."""
        try:
            told = json.loads(text)
            numbers = {
                name: _NOT_FINITE[value] if isinstance(value, str) else value for name, value in told["numbers"].items()
            }
            return cls(**told | {"numbers": numbers, "details": tuple(told["details"])})
        except InvalidInput:
            raise
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise InvalidInput(_ATTRIBUTE, text, "what Finding.to_json writes") from error

    def to_json(self) -> str:
        """As strict JSON, in which numbers that are not finite are the words NaN, Infinity and -Infinity."""
        numbers: dict[str, Any] = {
            name: value if math.isfinite(value) else json.dumps(value) for name, value in self.numbers.items()
        }
        return json.dumps(vars(self) | {"numbers": numbers}, ensure_ascii=False, allow_nan=False)

    def stored_in(self, dataset: xr.Dataset) -> xr.Dataset:
        """The dataset, carrying this finding in its attributes."""
        return dataset.assign_attrs({_ATTRIBUTE: self.to_json()})


def _number(name: str, value: Any) -> float:
    real = isinstance(value, Real) and not isinstance(value, bool) and isinstance(name, str)
    require(real, f"numbers[{name!r}]", value, "a real number; NaN and infinity are numbers too")
    return int(value) if isinstance(value, Integral) else float(value)
