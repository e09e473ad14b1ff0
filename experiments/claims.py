"""Which theoretical claims hold on every problem that Hypothesis finds, and where does each of them end?

    python -m experiments.claims --out DIR

tries every claim of linsim.claims on its domain, its wrong variants, which must fail, and beyond its boundary; prints a
table and writes DIR/claims.json. For a night

    python -m experiments.claims --examples 100000 --processes --out DIR

tries as many claims at a time as there are cores; each is kept when it is finished, and --resume tries the others.

Exit status 0 when every claim holds, every variant is refuted and every kept example outside a domain is a
counterexample; 1 when not, which is a finding and is written like any other; 2 for a bad argument; 3 when the run could
not be completed.
"""

from __future__ import annotations

import difflib
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console

from linsim.commands import cli
from linsim.errors import InvalidInput, require, require_integer
from linsim.finding import Finding
from linsim.progress.bar import progress_bar
from linsim.progress.showing import Progress
from linsim.storage.fingerprint import fingerprint
from linsim.storage.leases import lease
from linsim.storage.plain import read_json, write_json
from linsim.storage.provenance import deciding, provenance

from .command.made import VERDICTS

if TYPE_CHECKING:
    from linsim.claims.judge import Verdict

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


@dataclass(frozen=True)
class Flags(cli.Folder):
    """Where the verdicts go, and how they are reached."""

    resume: bool = False
    """Go on with what an earlier run left unfinished, if anything: claims that it finished are not tried again."""
    processes: Annotated[tuple[int, ...], tyro.conf.arg(metavar="[INT]")] = (1,)
    """How many claims to try at a time, each in a process; without a number as many as there are cores."""

    @property
    def at_a_time(self) -> int:
        """The number."""
        return self.processes[0] if self.processes else os.cpu_count() or 1

    def validate(self) -> None:
        """Raise `InvalidInput` for a number of processes that is none."""
        require(len(self.processes) < 2, "processes", " ".join(map(str, self.processes)), "one number, or none")
        require_integer("processes", self.at_a_time, at_least=1)


def run(config: Config, report: Progress | None = None, processes: int = 1, keep: Path | None = None) -> list[Verdict]:
    """The verdicts of a configuration, on claims that are kept as in `linsim.claims.campaign.try_all`.

    Raises:
      InvalidInput: a field outside its domain.
    """
    from linsim.claims.campaign import try_all

    _require_sound(config)
    return try_all(_chosen(config.only), config.examples, config.seed, processes=processes, keep=keep, report=report)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""

    def work(made: cli.Made) -> int:
        module = f"{__package__}.claims"
        config, flags = cli.parse(Config, Flags, module, __doc__, arguments)
        _require_sound(config)
        flags.validate()
        made.parts, made.again = "claims", cli.going_on(module, arguments)
        started = time.perf_counter()
        of = _fields(config)
        overwrite, resume = flags.overwrite, flags.resume
        with lease(flags.out, of, {}, overwrite=overwrite, resume=resume, result=_of_result) as made.lease:
            if not made.lease.complete:
                with progress_bar("trying claims") as report:
                    verdicts = run(config, report, flags.at_a_time, made.lease.chunks)
                made.lease.saved = write_json(_kept(config, verdicts, of), flags.out / VERDICTS)
            made.saved = flags.out / VERDICTS
            told = _read(made.saved)
        found = _show(told)
        did = "complete before" if made.lease.complete else f"computed in {time.perf_counter() - started:.1f} s"
        print(f"{did}, saved in {made.saved}")
        return 0 if found.verdict == "seen" else 1

    return cli.complete(work)


def _fields(config: Config) -> dict[str, str]:
    """What verdicts depend on: the configuration and the source of what is tried, and versions of what they run on."""
    from linsim.claims.campaign import sources

    versions = deciding() | {"hypothesis": version("hypothesis")}
    return fingerprint({"config": asdict(config), "source": sources(), **versions})


def _kept(config: Config, verdicts: Sequence[Verdict], of: Mapping[str, str]) -> dict[str, Any]:
    """All that is kept of a run."""
    from linsim.claims.report import as_json, finding

    where = provenance()
    return {
        "finding": json.loads(finding(verdicts).to_json()),
        "claims": [as_json(verdict) for verdict in verdicts],
        "config": asdict(config),
        "of": dict(of),
        **where,
        "versions": json.loads(where["versions"]) | {"hypothesis": version("hypothesis")},
    }


def _of_result(folder: Path) -> Mapping[str, str] | None:
    file = folder / VERDICTS
    if not file.exists():
        return None
    fields: Mapping[str, str] = _read(file)["of"]
    return fields


def _read(file: Path) -> dict[str, Any]:
    try:
        told: dict[str, Any] = read_json(file)
        return {name: told[name] for name in ("finding", "claims", "of")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput("resume", str(file), f"a readable result ({error}), or --overwrite") from error


def _require_sound(config: Config) -> None:
    require_integer("examples", config.examples, at_least=1)
    require_integer("seed", config.seed, at_least=0)
    _chosen(config.only)


def _show(told: Mapping[str, Any]) -> Finding:
    from linsim.claims.report import from_json, table

    console = Console(file=sys.stdout)
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH
    found = Finding.from_json(json.dumps(told["finding"]))
    print(f"{found.sentence}.")
    console.print(table([from_json(verdict) for verdict in told["claims"]]))
    for line in found.details:
        print(line)
    return found


def _chosen(only: Sequence[str]) -> list[str]:
    from linsim.claims.registry import CLAIMS

    known: Mapping[str, Any] = CLAIMS
    for name in only:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3)
            allowed = f"did you mean {' or '.join(near)}?" if near else f"one of {', '.join(known)}"
            raise cli.BadArgument(f"only: got {name}; allowed: {allowed}")
    return [name for name in CLAIMS if not only or name in only]


if __name__ == "__main__":
    sys.exit(main())
