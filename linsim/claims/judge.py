"""Try a claim: on its domain, with every wrong variant, and beyond its boundary. The same seed, the same verdict."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

import numpy as np
from hypothesis import Phase, Verbosity, find, settings, target
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample, Unsatisfiable, UnsatisfiedAssumption

from linsim.claims.claim import Check, Claim, PlainProblem, require_plain
from linsim.claims.margins import REFUTED, holds
from linsim.claims.searching import impatient, without_loaded_constants
from linsim.errors import require_integer, require_kind
from linsim.precision import computing_in
from linsim.progress.showing import Progress, showing
from linsim.testing.draws import undisturbed

Status = Literal["holds", "refuted", "error"]


_LEAST = 30  # problems of a variant
_PART = 2000  # problems that Hypothesis searches at a time: it keeps all that it knows of each


@dataclass(frozen=True)
class Case:
    """A problem and the margin of a statement on it; -inf where the margin was NaN or the check raised."""

    problem: PlainProblem
    margin: float


@dataclass(frozen=True)
class Trial:
    """What came of trying one statement on one domain, until it failed or the examples were used up."""

    tried: int
    """Different problems that were checked before and with the first failure; those made by shrinking not counted."""
    worst: Case | None
    """The smallest margin among them."""
    counterexample: Case | None
    """The simplest problem on which the statement failed."""
    error: str | None
    """What the check raised on it, or why no problem could be drawn, in one line."""

    @property
    def status(self) -> Status:
        """A check that raises has neither held nor refuted anything."""
        if self.error is not None:
            return "error"
        return "holds" if self.counterexample is None else "refuted"


@dataclass(frozen=True)
class Beyond:
    """What happens beyond the boundary of a claim."""

    assumption: str
    """The one that is dropped."""
    kept: Trial
    """The kept counterexample, run again."""
    found: Trial
    """What Hypothesis found outside by itself."""


@dataclass(frozen=True)
class Verdict:
    """A claim that was tried."""

    id: str
    statement: str
    source: str
    equation: str
    inside: Trial
    """On the claim's domain."""
    variants: Mapping[str, Trial]
    """The wrong variants by name; each should be refuted."""
    outside: Beyond | None
    """Beyond the boundary, where the claim has one."""
    lemma: bool = False
    """Whether it calls nothing of linsim."""

    @property
    def status(self) -> Status:
        """What came of the claim itself."""
        return self.inside.status

    @property
    def sound(self) -> bool:
        """Whether the claim holds, each wrong variant is refuted, and so is the kept example beyond the boundary."""
        ends = self.outside is None or self.outside.kept.status == "refuted"
        return self.status == "holds" and ends and all(trial.status == "refuted" for trial in self.variants.values())

    def __repr__(self) -> str:
        return f"Verdict({self})"

    def __str__(self) -> str:
        refuted = sum(trial.status == "refuted" for trial in self.variants.values())
        margin = "" if self.inside.worst is None else f", worst margin {self.inside.worst.margin:.3g}"
        failure = "" if self.inside.counterexample is None else f" on {self.inside.counterexample.problem}"
        reason = "" if self.inside.error is None else f": {self.inside.error}"
        counted = f"{self.inside.tried} examples{margin}; {refuted} of {len(self.variants)} wrong variants refuted"
        return f"{self.id} {self.status}{failure}{reason}; {counted}"


def judge(
    claim: Claim,
    examples: int = 100,
    seed: int = 0,
    shrink: bool = True,
    *,
    progress: bool | None = None,
    report: Progress | None = None,
) -> Verdict:
    """Try a claim in float64, on problems that Hypothesis draws and steers towards small margins.

    Args:
      claim: what to try.
      examples: problems to try of the claim, fewer where there are no more; of each variant and beyond the boundary at
        least 30, since less does not show that one cannot be refuted.
      seed: of the draws; the same seed and number of examples give the same verdict.
      shrink: reduce counterexamples to the simplest ones; off is faster.
      progress: whether to show a bar; None shows one in a notebook.
      report: called with (problems tried, problems to try in all) as it goes on.

    Returns:
      The verdict. A check that raises, and a domain that cannot be drawn from, are told in it.

    Raises:
      InvalidInput: examples < 1 or seed < 0.

    Example:
      >>> from hypothesis import strategies as st
      >>> claim = ls.Claim(
      ...     id="no-square-is-negative",
      ...     statement="No square of a number other than 0 is negative",
      ...     source="re-derived",
      ...     equation="1.1",
      ...     domain=st.fixed_dictionaries({"x": st.floats(0.1, 1.0)}),
      ...     check=lambda problem, sign=1: sign * problem["x"] ** 2,
      ...     variants=[ls.Variant(name="every-square-is", changes={"sign": -1})],
      ... )
      >>> print(ls.judge(claim, examples=10))
      no-square-is-negative holds; 10 examples, worst margin 0.01; 1 of 1 wrong variants refuted
    """
    require_kind("claim", claim, Claim)
    require_integer("examples", examples, at_least=1, at_most=10**9)
    require_integer("seed", seed, at_least=0)
    require_kind("shrink", shrink, bool)

    enough, done = max(examples, _LEAST), 0
    total = examples + enough * len(claim.variants) + (claim.beyond is not None) * (1 + enough)
    with showing(progress, report, f"trying {claim.id}") as told, _judging():

        def attempt(
            domain: st.SearchStrategy[PlainProblem], changes: Mapping[str, Any] | None = None, most: int = enough
        ) -> Trial:
            nonlocal done
            statement = _Statement(claim.check, changes or {}, lambda tried: told(done + tried, total))
            trial = _attempt(domain, statement, most, seed, shrink)
            done += most
            told(done, total)
            return trial

        inside = attempt(claim.domain, most=examples)
        variants = {}
        for wrong in claim.variants:  # a strategy has no truth value
            domain = claim.domain if wrong.domain is None else wrong.domain
            variants[wrong.name] = attempt(domain, wrong.changes)
        outside = None
        if claim.beyond is not None:
            beyond = claim.beyond
            outside = Beyond(beyond.assumption, attempt(st.just(beyond.example), most=1), attempt(beyond.domain))
    return Verdict(claim.id, claim.statement, claim.source, claim.equation, inside, variants, outside, claim.lemma)


def on_domain(claim: Claim, examples: int = 100, seed: int = 0) -> Trial:
    """Try a claim on its domain alone, without shrinking: what `judge` tells as `inside`."""
    with _judging():
        return _attempt(claim.domain, _Statement(claim.check, {}, lambda _: None), examples, seed, shrink=False)


@contextlib.contextmanager
def _judging() -> Iterator[None]:
    with computing_in("float64"), np.errstate(all="ignore"), without_loaded_constants(), impatient():
        yield


class _Statement:
    """A check with its changes, and what it has said so far: problems drawn twice are computed once."""

    def __init__(self, check: Check, changes: Mapping[str, Any], told: Callable[[int], None]) -> None:
        self.check, self.changes, self.told = check, changes, told
        self.said: dict[str, tuple[Case, str | None]] = {}
        self.worst: Case | None = None
        self.tried = 0
        self.failed_as: Status | None = None

    def fails(self, problem: PlainProblem) -> bool:
        """What Hypothesis searches for, then shrinks: a failure, of the kind that came first."""
        case, error = self.case(problem)
        status: Status = "error" if error is not None else "holds" if holds(case.margin) else "refuted"
        if self.failed_as is not None:
            return status == self.failed_as
        self.tried = len(self.said)
        self.told(self.tried)
        if self.worst is None or case.margin < self.worst.margin:
            self.worst = case
        if status != "holds":
            self.failed_as = status
        elif math.isfinite(case.margin):
            target(-case.margin)
        return status != "holds"

    def case(self, problem: PlainProblem) -> tuple[Case, str | None]:
        """The margin on a problem, and what the check raised."""
        require_plain("problem", problem)
        problem = dict(sorted(problem.items()))  # Hypothesis draws the entries in any order
        key = json.dumps(problem)
        if key not in self.said:
            error = None
            try:
                margin = float(self.check(dict(problem), **self.changes))
            except UnsatisfiedAssumption:
                raise
            except Exception as raised:  # whatever a check does wrong is told, and the other claims go on
                margin, error = REFUTED, _told(raised)
            self.said[key] = Case(problem, REFUTED if math.isnan(margin) else margin), error
        return self.said[key]


def _attempt(
    domain: st.SearchStrategy[PlainProblem], statement: _Statement, examples: int, seed: int, shrink: bool
) -> Trial:
    plan = settings(
        phases=[Phase.generate, Phase.target, *([Phase.shrink] if shrink else [])],
        database=None,
        deadline=None,
        derandomize=False,
        print_blob=False,
        verbosity=Verbosity.quiet,
    )
    source = Random(seed)
    failure: tuple[Case | None, str | None] = None, None
    try:
        left = examples
        while left > 0:  # Hypothesis counts problems that it drew twice as well: go on while there are new ones
            part = min(left, _PART) + (left < examples)  # the first one drawn is always the same
            rest = settings(plan, max_examples=part)
            with contextlib.suppress(NoSuchExample, Unsatisfiable):
                failure = statement.case(find(undisturbed(domain), statement.fails, settings=rest, random=source))
                break
            before, left = left, examples - statement.tried
            if left == before:
                break
        if statement.tried == 0:
            failure = None, "no problem could be drawn from the domain"
    except Exception as raised:  # a strategy that raises while drawing, or draws what is not plain data
        failure = None, f"drawing failed: {_told(raised)}"
    return Trial(statement.tried, statement.worst, *failure)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
