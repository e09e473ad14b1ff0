"""A card for each claim: what it states, from where, on which problems, what refutes its check, and how it last did."""

import json
import re
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from hypothesis.strategies import SearchStrategy

from linsim.claims.claim import Claim
from linsim.claims.registry import CLAIMS

from .domains import DRAWN, drawn

CHAPTERS = {
    **{"1": "learning", "2": "sensitivity", "3": "fine-tuning", "4": "optimizers", "5": "objectives"},
    **{"6": "data", "7": "mitigations", "8": "scaling", "9": "forecasting"},
}
"""First number of an equation -> its page in docs/theory."""
OWN, KEPT = "results/claims/claims.json", "docs/measured/claims.json"
"""Verdicts of `make claims`, and those that come with the pages, as `python -m docs.writers.margins` keeps them."""
FIELDS = ("id", "status", "examples_tried", "worst_margin", "worst_problem")


def pages(root: Path, drawing: bool = True) -> Mapping[str, str]:
    """A page for each chapter, and one that leads to them; drawing from domains takes some seconds."""
    verdicts, told = verdicts_in(root), _derivations((root / "paper_notes.md").read_text(encoding="utf-8"))
    written = {}
    for number, chapter in CHAPTERS.items():
        claims = [claim for claim in CLAIMS.values() if claim.equation.split(".")[0] == number]
        parts = [f"# Claims on {chapter}", f"The equations stand in [the chapter](../../theory/{chapter}.md)."]
        for equation, some in groupby(claims, key=lambda claim: claim.equation):
            parts += [f"(claims-{equation.replace('.', '-')})=\n## On equation {equation}"]
            parts += [card(claim, verdicts.get(claim.id), told.get(claim.id, ""), drawing) for claim in some]
        written[f"claims/{chapter}.md"] = "\n\n".join(parts) + "\n"
    written["claims/index.md"] = _index(verdicts)
    return written


INDEX = """\
# Claims

What theory says here is tried on problems that [Hypothesis](https://hypothesis.readthedocs.io) invents to break it. A
claim is a statement, the domain of problems it is about, and a check against something independent, which gives a
margin: 1 at best, positive where the claim holds. A wrong variant fails the same check, or passing it would say
nothing; where an assumption can be dropped, a counterexample without it is kept. A *lemma* is about networks alone: its
check calls nothing of linsim.

There are {claims} claims with {wrong} wrong variants{last}.

```console
linsim claims --only rise-time stronger-first --out results/some_claims
```

tries some of them, without `--only` all, in some minutes. [A claim of your own](../../how-to/claim.md) is one value.

```{{toctree}}
{chapters}
```
"""


def _index(verdicts: Mapping[str, Mapping[str, Any]]) -> str:
    held = sum(verdict["status"] == "holds" for verdict in verdicts.values())
    tried = " or ".join(sorted({str(verdict["examples_tried"]) for verdict in verdicts.values()}))
    last = f". When last tried, on {tried} problems each, {held} of {len(verdicts)} held" if verdicts else ""
    wrong = sum(len(claim.variants) for claim in CLAIMS.values())
    return INDEX.format(claims=len(CLAIMS), wrong=wrong, last=last, chapters="\n".join(CHAPTERS.values()))


def card(claim: Claim, verdict: Mapping[str, Any] | None, derivation: str, drawing: bool = True) -> str:
    """What there is to say of a claim, as a section."""
    facts = {
        "Source": claim.source,
        "On": _domain(claim.domain, drawing),
        "Wrong variants": "\n".join(f"* {line}" for line in map(_variant, claim.variants)),
        "Fails without": _beyond(claim),
        "Last tried": _last(verdict),
        "Why": derivation,
    }
    kind = "Lemma. " if claim.lemma else ""
    lines = [f"(claim-{claim.id})=\n### {claim.id}", f"{kind}**{escaped(claim.statement)}.**"]
    return "\n\n".join([*lines, *(_fact(name, text) for name, text in facts.items() if text)])


def _fact(name: str, text: str) -> str:
    first, *others = text.splitlines()
    return "\n".join([name, f": {first}", *(f"  {line}" if line else "" for line in others)])


def _variant(variant: Any) -> str:
    changed = ", ".join(f"{name} = {value}" for name, value in variant.changes.items())
    kept = [f"`{changed}`" if changed else "", "other problems" if variant.domain is not None else ""]
    return f"{variant.name.replace('-', ' ')} ({', '.join(filter(None, kept))})"


def _beyond(claim: Claim) -> str:
    if claim.beyond is None:
        return ""
    return f"{escaped(claim.beyond.assumption)}. Counterexample: {_problem(claim.beyond.example)}"


def _last(verdict: Mapping[str, Any] | None) -> str:
    if verdict is None:
        return "not yet: `make claims` tries it"
    margin, hardest = verdict["worst_margin"], verdict["worst_problem"]
    told = f"{verdict['status']} on {verdict['examples_tried']} problems"
    return told if margin is None else f"{told}; least margin {float(margin):.3g}, at {_problem(hardest)}"


def _problem(problem: Mapping[str, Any]) -> str:
    return "`" + ", ".join(f"{name} = {_short(value)}" for name, value in problem.items()) + "`"


def _short(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"({', '.join(map(_short, value))})"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _plain(strategy: str) -> str:
    """A strategy as one would write it, without what it says of NaN."""
    floats = re.sub(r", allow_nan=False, allow_infinity=False(, allow_subnormal=False)?", "", strategy)
    return re.sub(r"(min|max)_value=([-\d.e]+)", lambda found: f"{float(found[2]):.6g}", floats)


def _domain(strategy: SearchStrategy[Mapping[str, Any]], drawing: bool) -> str:
    """The strategy as code; one that hides its bounds in functions, by what it drew."""
    code = _plain(repr(strategy))
    if not drawing or not any(hides in code for hides in ("lambda", "flatmap")):
        return f"```python\n{code}\n```"
    ranges = ", ".join(f"`{name}` {told}" for name, told in drawn(strategy).items())
    return f"{DRAWN} problems drawn had {ranges}"


def escaped(text: str) -> str:
    """Text as Markdown shows it."""
    return re.sub(r"([*_|<>\\`$\[\]])", r"\\\1", text)


def _derivations(notes: str) -> dict[str, str]:
    """Id -> the paragraph of the notes that derives it."""
    section = notes.split("\n## Derivations\n")[1].split("\n## ")[0]
    found = re.findall(r"^\*\*([a-z0-9, -]+)\.\*\* (.*?)(?=\n\n|\Z)", section, flags=re.DOTALL | re.MULTILINE)
    return {name: _prose(" ".join(text.split())) for names, text in found for name in names.split(", ")}


def _prose(text: str) -> str:
    """Escaped but for code, whose names are not touched."""
    return "".join(part if at % 2 else escaped(part) for at, part in enumerate(re.split(r"(`[^`]*`)", text)))


def verdicts_in(root: Path) -> dict[str, Mapping[str, Any]]:
    """Id -> verdict: those that come with the pages, and your own in their place."""
    told = [_read(root / path) for path in (KEPT, OWN) if (root / path).exists()]
    return {verdict["id"]: verdict for verdicts in told for verdict in verdicts}


def _read(path: Path) -> list[dict[str, Any]]:
    verdicts: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["claims"]
    return verdicts
