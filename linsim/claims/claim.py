"""A theoretical claim as a value: where it holds, how it is checked, how it fails, and where it ends."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis.strategies import SearchStrategy

from linsim.errors import require, require_callable

PlainProblem = dict[str, Any]
"""A problem as plain data: names to finite numbers, booleans, strings, or tuples of finite numbers.

So a counterexample prints in one line, lives in a file, and is run again as it stands; `check` builds the tasks.
"""

Check = Callable[..., float]
"""check(problem, **changes) -> dimensionless margin, > 0 where the claim holds; see `linsim.claims.margins`."""

_KEBAB = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_PLAIN = "plain data: names to finite numbers, booleans, strings, or tuples of finite numbers"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A wrong statement, told from the right one by the same check: a changed formula, or an assumption removed."""

    name: str
    """What is wrong, in a few kebab-case words."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the check that alter the stated formula or inequality."""
    domain: SearchStrategy[PlainProblem] | None = None
    """Problems without one of the claim's assumptions; None is the claim's own domain."""

    def __post_init__(self) -> None:
        _require_kebab("variant.name", self.name)
        names = isinstance(self.changes, Mapping) and all(isinstance(name, str) for name in self.changes)
        require(names, "variant.changes", self.changes, "keyword arguments of the check, by name")
        _require_domain("variant.domain", self.domain, optional=True)
        differs = bool(self.changes) or self.domain is not None
        require(differs, "variant", self.name, "changes or a domain by which it differs from the claim")


@dataclass(frozen=True, kw_only=True)
class Outside:
    """Beyond a claim's boundary: problems without one assumption, among which the claim fails somewhere."""

    assumption: str
    """The assumption that is dropped, in words."""
    domain: SearchStrategy[PlainProblem]
    """Problems outside the claim's domain."""
    example: PlainProblem
    """One counterexample that is kept: the check gives a margin <= 0 on it."""

    def __post_init__(self) -> None:
        _require_line("beyond.assumption", self.assumption)
        _require_domain("beyond.domain", self.domain)
        require_plain("beyond.example", self.example)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A statement about every problem of a domain, with a check that can refute it.

    The same check must refute every variant, so that passing it says something. Judge it with
    `linsim.claims.judge.judge`.

    Raises:
      InvalidInput: no domain, no variant, two variants of one name, changes that the check does not take, an id that
        is not kebab-case, a text that is not one line, or an example that is not plain data.
    """

    id: str
    """Kebab-case name, unique in the registry."""
    statement: str
    """The claim in one line, its assumptions included."""
    source: str
    """"Saxe et al. 2014", "as restated in Feng et al. 2026", "re-derived"."""
    equation: str
    """Number in paper_notes.md, as "1.1"."""
    domain: SearchStrategy[PlainProblem]
    """Problems on which the claim is meant to hold."""
    check: Check
    """problem -> margin: dimensionless, 1 at best, > 0 where the claim holds; NaN counts as refuted."""
    variants: Sequence[Variant]
    """Wrong statements that the check refutes; at least one."""
    beyond: Outside | None = None
    """Where the claim ends; None where no assumption can be dropped."""
    lemma: bool = False
    """Whether it is about networks alone: its check calls no function of linsim, and can convict none."""

    def __repr__(self) -> str:
        wrong, kind = ", ".join(variant.name for variant in self.variants), "Lemma" if self.lemma else "Claim"
        return f"{kind}({self.id}: {self.statement} [{self.source}]; wrong: {wrong})"

    def __post_init__(self) -> None:
        _require_kebab("id", self.id)
        for name in ("statement", "source"):
            _require_line(name, getattr(self, name))
        numbered = isinstance(self.equation, str) and re.fullmatch(r"\d+(\.\d+)*", self.equation) is not None
        require(numbered, "equation", self.equation, 'a number of paper_notes.md, as "1.1"')
        _require_domain("domain", self.domain)
        require(isinstance(self.lemma, bool), "lemma", self.lemma, "True or False")
        require_callable("check", self.check, "a function problem, **changes -> margin")
        whole = isinstance(self.variants, Sequence) and all(isinstance(item, Variant) for item in self.variants)
        require(whole and len(self.variants) > 0, "variants", self.variants, "at least one Variant that must fail")
        names = [variant.name for variant in self.variants]
        require(len(set(names)) == len(names), "variants", ", ".join(names), "names that differ")
        for variant in self.variants:
            _require_takes(self.check, variant)
        outside = self.beyond is None or isinstance(self.beyond, Outside)
        require(outside, "beyond", self.beyond, "an Outside, or None")


def require_plain(name: str, problem: Any) -> None:
    """Raise `InvalidInput` unless a problem is plain data, JSON-able and equal to itself after a round trip."""
    require(isinstance(problem, dict) and len(problem) > 0, name, problem, _PLAIN)
    for key, value in problem.items():
        require(isinstance(key, str), name, key, _PLAIN)
        plain = all(_is_number(entry) for entry in value) if type(value) is tuple else _is_scalar(value)
        require(plain, f"{name}.{key}", value, _PLAIN)


def plain_from_json(loaded: Mapping[str, Any]) -> PlainProblem:
    """A problem as it was before json.dumps: lists are tuples again."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in loaded.items()}


def _is_scalar(value: Any) -> bool:
    return type(value) in (bool, str) or _is_number(value)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # not NumPy's scalars: JSON does not take them


def _require_kebab(name: str, value: Any) -> None:
    ok = isinstance(value, str) and _KEBAB.fullmatch(value) is not None
    require(ok, name, value, "kebab-case: lower-case words joined by single hyphens")


def _require_line(name: str, value: Any) -> None:
    ok = isinstance(value, str) and value.strip() == value != "" and len(value.splitlines()) == 1
    require(ok, name, value if ok or not isinstance(value, str) else repr(value), "one line of text")


def _require_domain(name: str, value: Any, optional: bool = False) -> None:
    ok = isinstance(value, SearchStrategy) or (optional and value is None)
    require(ok, name, value, "a Hypothesis strategy over problems")


def _require_takes(check: Check, variant: Variant) -> None:
    """A change that the check does not know would be an error of the check, not a refutation."""
    try:
        inspect.signature(check).bind({}, **variant.changes)
    except TypeError:
        told = f"{', '.join(variant.changes) or 'no keyword'}"
        require(False, f"variants.{variant.name}.changes", told, "keyword arguments that the check takes")
