"""Which theoretical claims hold on every problem that Hypothesis finds, and where does each of them end?

    python -m experiments.claims --out DIR

tries every claim of linsim.claims on its domain, its wrong variants, which must fail, and beyond its boundary; prints a
table and writes DIR/claims.json. Exit status 0 when every claim holds, every variant is refuted and every kept example
outside a domain is a counterexample; 1 when not, which is a finding and is written like any other; 2 for a bad
argument; 3 when the run could not be completed.
"""

from __future__ import annotations

import difflib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from rich.console import Console

from linsim.commands import cli
from linsim.errors import RunFailed, require_integer
from linsim.finding import Finding
from linsim.progress.bar import progress_bar
from linsim.progress.showing import Progress
from linsim.storage import store
from linsim.storage.provenance import provenance

if TYPE_CHECKING:
    from linsim.claims.claim import Claim
    from linsim.claims.judge import Verdict

FILE = "claims.json"
_PLAIN_WIDTH = 200  # columns, where standard output is no terminal


@dataclass(frozen=True)
class Config:
    """What to try."""

    examples: int = 100
    """Problems to try of each claim, of each wrong variant, and beyond each boundary."""
    only: tuple[str, ...] = ()
    """Ids of the claims to try; default all of them."""
    seed: int = 0
    """Seed of the draws."""


def run(config: Config, report: Progress | None = None) -> list[Verdict]:
    """The verdicts of a configuration; `InvalidInput` for a field outside its domain."""
    from linsim.claims.judge import judge

    require_integer("examples", config.examples, at_least=1)
    require_integer("seed", config.seed, at_least=0)
    chosen = _chosen(config.only)
    verdicts = []
    for claim in chosen:
        verdicts.append(judge(claim, config.examples, config.seed, progress=False))
        if report is not None:
            report(len(verdicts), len(chosen))
    return verdicts


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""

    def work(made: cli.Made) -> int:
        config, output = cli.parse(Config, cli.Folder, f"{__package__}.claims", __doc__, arguments)
        _require_hypothesis()
        _chosen(config.only)
        made.created = output.out if store.prepare(output.out, output.overwrite) else None
        started = time.perf_counter()
        with progress_bar("trying claims") as report:
            verdicts = run(config, report)
        found, told = _judged(config, verdicts)
        made.saved = store.write_json(told, output.out / FILE)
        _show(found, verdicts)
        print(f"computed in {time.perf_counter() - started:.1f} s, saved in {made.saved}")
        return 0 if found.verdict == "seen" else 1

    return cli.complete(work)


def _judged(config: Config, verdicts: Sequence[Verdict]) -> tuple[Finding, dict[str, Any]]:
    """What is found, and all that is kept of a run."""
    from linsim.claims.report import as_json, finding

    found, where = finding(verdicts), provenance()
    return found, {
        "finding": json.loads(found.to_json()),
        "claims": [as_json(verdict) for verdict in verdicts],
        "config": asdict(config),
        **where,
        "versions": json.loads(where["versions"]) | {"hypothesis": version("hypothesis")},
    }


def _show(found: Finding, verdicts: Sequence[Verdict]) -> None:
    from linsim.claims.report import table

    console = Console(file=sys.stdout)
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH
    print(f"{found.sentence}.")
    console.print(table(verdicts))
    for line in found.details:
        print(line)


def _chosen(only: Sequence[str]) -> list[Claim]:
    from linsim.claims.registry import CLAIMS

    known: Mapping[str, Any] = CLAIMS
    for name in only:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3)
            allowed = f"did you mean {' or '.join(near)}?" if near else f"one of {', '.join(known)}"
            raise cli.BadArgument(f"only: got {name}; allowed: {allowed}")
    return [claim for claim in CLAIMS.values() if not only or claim.id in only]


def _require_hypothesis() -> None:
    """Only claims and `linsim.testing` need it, so it is no requirement of linsim."""
    try:
        import hypothesis  # noqa: F401
    except ModuleNotFoundError:
        raise RunFailed(
            "claims are tried with hypothesis, which is not installed: pip install 'linsim[test]'"
        ) from None


if __name__ == "__main__":
    sys.exit(main())
