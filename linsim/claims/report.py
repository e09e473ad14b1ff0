"""What was found of the claims: a table to read, and the same as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from linsim.claims.claim import plain_from_json
from linsim.claims.judge import Beyond, Case, Trial, Verdict
from linsim.finding import Finding


def table(verdicts: Sequence[Verdict]) -> Table:
    """One row a claim: id, statement, examples tried, worst margin, status, counterexample outside the domain."""
    result = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    result.add_column("claim", no_wrap=True)
    result.add_column("statement", ratio=3)
    result.add_column("examples", justify="right", no_wrap=True)
    result.add_column("worst margin", justify="right", no_wrap=True)
    result.add_column("status", no_wrap=True)
    result.add_column("outside: fails where", ratio=2)
    for verdict in verdicts:
        worst = "" if verdict.inside.worst is None else f"{verdict.inside.worst.margin:.4g}"
        statement = f"Lemma: {verdict.statement}" if verdict.lemma else verdict.statement
        cells = (verdict.id, statement, str(verdict.inside.tried), worst, verdict.status, _outside(verdict))
        result.add_row(*map(Text, cells))
    return result


def finding(verdicts: Sequence[Verdict]) -> Finding:
    """How many claims hold and how many wrong variants are refuted; a line for whatever is not as it should be."""
    lines = tuple(f"{verdict.id}: {line}" for verdict in verdicts for line in _wrong(verdict))
    wrong = [trial for verdict in verdicts for trial in verdict.variants.values()]
    numbers = {
        "claims": len(verdicts),
        "held": sum(verdict.status == "holds" for verdict in verdicts),
        "sound": sum(verdict.sound for verdict in verdicts),
        "variants": len(wrong),
        "refuted": sum(trial.status == "refuted" for trial in wrong),
    }
    sentence = "{held} of {claims} claims hold; {refuted} of {variants} wrong variants are refuted".format(**numbers)
    return Finding(sentence, "seen" if numbers["sound"] == len(verdicts) else "not seen", numbers, lines)


def as_json(verdict: Verdict) -> dict[str, Any]:
    """A verdict as plain data; a margin that is not finite is a string, which `float` reads."""
    outside = None
    if verdict.outside is not None:
        outside = {
            "assumption": verdict.outside.assumption,
            "kept": _trial(verdict.outside.kept),
            "found": _trial(verdict.outside.found),
        }
    return {
        "id": verdict.id,
        "statement": verdict.statement,
        "source": verdict.source,
        "equation": verdict.equation,
        "lemma": verdict.lemma,
        "sound": verdict.sound,
        **_trial(verdict.inside),
        "variants": {name: _trial(trial) for name, trial in verdict.variants.items()},
        "outside": outside,
    }


def from_json(told: Mapping[str, Any]) -> Verdict:
    """The verdict that `as_json` told."""
    outside = told["outside"]
    if outside is not None:
        outside = Beyond(outside["assumption"], _trial_of(outside["kept"]), _trial_of(outside["found"]))
    variants = {name: _trial_of(trial) for name, trial in told["variants"].items()}
    texts = {name: told[name] for name in ("id", "statement", "source", "equation", "lemma")}
    return Verdict(**texts, inside=_trial_of(told), variants=variants, outside=outside)


def _trial(trial: Trial) -> dict[str, Any]:
    worst = trial.worst
    return {
        "status": trial.status,
        "examples_tried": trial.tried,
        "worst_margin": None if worst is None else _number(worst.margin),
        "worst_problem": None if worst is None else worst.problem,
        "counterexample": _case(trial.counterexample),
        "error": trial.error,
    }


def _trial_of(told: Mapping[str, Any]) -> Trial:
    worst = None if told["worst_margin"] is None else _case_of(told["worst_problem"], told["worst_margin"])
    failed = told["counterexample"]
    failure = None if failed is None else _case_of(failed["problem"], failed["margin"])
    return Trial(told["examples_tried"], worst, failure, told["error"])


def _case_of(problem: Mapping[str, Any], margin: float | str) -> Case:
    return Case(plain_from_json(problem), float(margin))


def _case(case: Case | None) -> dict[str, Any] | None:
    return None if case is None else {"problem": case.problem, "margin": _number(case.margin)}


def _number(margin: float) -> float | str:
    return margin if math.isfinite(margin) else str(margin)


def _outside(verdict: Verdict) -> str:
    if verdict.outside is None:
        return ""
    kept = verdict.outside.kept
    fails = "holds there too" if kept.status == "holds" else kept.error or _shown(kept.counterexample)
    return f"not: {verdict.outside.assumption}. {fails}"


def _shown(case: Case | None) -> str:
    return "" if case is None else f"margin {case.margin:.3g} at {case.problem}"


def _wrong(verdict: Verdict) -> list[str]:
    lines = []
    inside = verdict.inside
    if inside.status == "refuted":
        lines.append(f"refuted, {_shown(inside.counterexample)}")
    if inside.status == "error":
        lines.append(f"error, {inside.error} {_shown(inside.counterexample)}".rstrip())
    for name, trial in verdict.variants.items():
        if trial.status != "refuted":
            lines.append(f"wrong variant {name} was not refuted in {trial.tried} examples {trial.error or ''}".rstrip())
    if verdict.outside is not None and verdict.outside.kept.status != "refuted":
        kept = verdict.outside.kept
        lines.append(f"the kept example outside the domain is no counterexample {kept.error or ''}".rstrip())
    return lines
