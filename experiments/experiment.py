"""An experiment as a value: a question with its configuration, what is computed, and what the data say.

An experiment is made of four files: its own, `figures/NAME.py`, a line in the list of `figures/gallery.py`, and rows in
`tests/experiments/test_verdicts.py`, a configuration for each of its verdicts.

    LABELS = {"counts": Label("harm counts in every seed")}          # of what this experiment alone has

    @dataclass(frozen=True)
    class Config(ChartConfig):                                       # every field is a flag, typed, with its unit
        least_harm: float = 0.01

    def compute(config, report=None) -> xr.Dataset:                  # a sweep with measures; trains nothing by hand
        return label(sweep(problem, axes, measures=..., report=report), LABELS)

    def find(dataset) -> Finding:                                    # from the dataset alone
        return undecided(dataset) or Finding("More pre-training hurts on 3 of 8 shifts", "seen", {"shifts": 3}, details)

    experiment = Experiment("my_question", __doc__, Config, compute, find)
    run, main = experiment.run, experiment.main

`run(config)` computes in float64 and returns the dataset with its configuration and its finding in the attributes;
`main()` is the command line: it keeps, draws and tells. Neither is written again, nor is the long name of anything that
results share (`linsim.labels`), nor a phrase that findings share (`experiments.words`). What the terminal says is the
finding, and a table only where numbers are to be looked up; the figure takes its title from the finding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, TypeVar

import xarray as xr

from linsim.commands import cli
from linsim.commands.spoken import spoken
from linsim.errors import DISTRUSTED
from linsim.finding import Finding
from linsim.precision import Precision, computing_in
from linsim.progress.bar import progress_bar
from linsim.progress.showing import Progress
from linsim.storage import store
from linsim.storage.compiled import keep_programs
from linsim.storage.identity import Identity
from linsim.storage.leases import lease
from linsim.storage.plain import write_whole
from linsim.sweeping.running import reporting

from .identity import files_named, identity
from .words import wrapped

C = TypeVar("C")

_HERE = __package__  # `experiments` in a checkout, inside another package where it is installed
_BESIDE = _HERE.removesuffix("experiments")
_REASONS = 4  # for a solver, told in full
LINES = 11
"""That a terminal is told of a result; one more says where it is."""


@dataclass(frozen=True)
class Experiment(Generic[C]):
    """A question that one command answers."""

    name: str
    """Of its module, and of its folder in results/."""
    description: str | None
    """Its docstring, which --help shows."""
    config: type[C]
    """Frozen dataclass; every field becomes a flag."""
    compute: Callable[[C, Progress | None], xr.Dataset]
    """Configuration, progress report -> dataset, all of it labelled; `InvalidInput` for a field outside its domain."""
    find: Callable[[xr.Dataset], Finding]
    """Dataset -> what it says."""
    table: Callable[[xr.Dataset], Sequence[str]] | None = None
    """Dataset -> lines of a table, where numbers are to be looked up; told below the sentence."""
    claims: tuple[str, ...] = ()
    """Ids of the claims that the finding stands on."""
    figure: str = ""
    """Module of `figures` that draws it; default the one of the same name."""
    doing: str = "training"
    """What the progress bar says."""
    flags: type[cli.Drawing] = cli.Sweeping
    """What may be said of how it is done, by what it does: sweep in chunks, go on with parts, or neither."""
    precision: Precision | None = "float64"
    """Of what JAX makes where nothing else is said; None is what `config.precision` says."""
    inputs: Callable[[C], Mapping[str, str]] = files_named
    """Configuration -> digests of what it names, by field, or by part of one: other content is another result."""
    beside: Callable[[xr.Dataset], Mapping[str, str]] | None = None
    """Dataset -> texts that lie beside it, by the names of their files."""
    grows: str = ""
    """Field of the inputs that may gain parts while what is known of the others still holds; see `earlier` of
    `linsim.sweeping.running.Running`."""

    @property
    def module(self) -> str:
        """As `python -m` takes it."""
        return f"{_HERE}.{self.name}"

    def run(self, config: C, report: Progress | None = None, progress: bool | None = None) -> xr.Dataset:
        """The result of a configuration, which is in its attributes, as is the finding.

        Args:
          config: frozen dataclass of the experiment.
          report: called with (done, total) of whatever takes the time.
          progress: whether to show a bar; None shows one in a notebook, unless `report` listens.

        Raises:
          InvalidInput: a field outside its domain.
        """
        return self._made(config, self.identity(config), report, progress)

    def identity(self, config: C) -> Identity:
        """What a result of a configuration is of: its content, that of what it names, source and versions."""
        told: Any = config
        with computing_in(self.precision or told.precision):  # code that is named may make arrays when it is imported
            return identity(self.name, config, self.inputs(config), [self.compute, self.find])

    def _made(
        self, config: C, of: Identity, report: Progress | None = None, progress: bool | None = None
    ) -> xr.Dataset:
        """The result, of what was there when it was begun."""
        keep_programs()
        told: Any = config
        with computing_in(self.precision or told.precision), reporting(progress, report, self.doing) as listener:
            dataset = self.compute(config, listener)
        return self.found(dataset.assign_attrs(of.attrs))

    def found(self, dataset: xr.Dataset) -> xr.Dataset:
        """A dataset with what it says, in place of what was said before."""
        return self.find(dataset).stored_in(dataset)

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Command line: compute and keep, draw, tell.

        Args:
          arguments: without the program's name; None means sys.argv.

        Returns:
          Exit status 0; 4 where the result's own check says not to trust it; 2, 3 as of `linsim.commands.cli.complete`.
        """

        def work(made: cli.Made) -> int:
            config, flags = cli.parse(self.config, self.flags, self.module, self.description, arguments)
            flags.validate()
            made.again = cli.going_on(self.module, arguments)
            memory = flags.bytes if isinstance(flags, cli.Sweeping) else None
            resume = isinstance(flags, cli.Resumable) and flags.resume
            of, bits = self.identity(config), {"memory": str(memory)}
            grows = f"config.{self.grows}." if self.grows else ""
            again = partial(lease, overwrite=flags.overwrite, resume=resume, grows=grows)
            with again(flags.out, of.fields, bits) as made.lease:
                started = time.perf_counter()
                if not made.lease.complete:
                    earlier = store.load(flags.out) if made.lease.earlier and self.grows else None
                    with progress_bar(self.doing) as bar, cli.computing(flags, made.lease.chunks, bar, earlier):
                        made.lease.saved = store.save(self._made(config, of, bar), flags.out)
                made.saved = flags.out / store.DATA
                computed = time.perf_counter()
                dataset = store.view(flags.out)
                for name, text in (self.beside(dataset) if self.beside else {}).items():
                    write_whole(text, flags.out / name)
                pictures = self._draw(dataset, flags)
                finished = time.perf_counter()
                print(self.tell(dataset, None if flags.verbose else LINES))
            did = "complete before" if made.lease.complete else f"computed and saved in {computed - started:.1f} s"
            kinds = "".join(f", {file.suffix}" for file in pictures[1:])
            files = [str(made.saved), *(f"{file}{kinds}" for file in pictures[:1])]
            print(f"{did}, drawn in {finished - computed:.1f} s: {' and '.join(files)}")
            return DISTRUSTED if Finding.of(dataset).trust else 0

        return cli.complete(work)

    def tell(self, dataset: xr.Dataset, most: int | None = None) -> str:
        """What a terminal says of a result: sentence, whether to trust it, table, details; claims and solver.

        Args:
          dataset: with its finding.
          most: lines, of which the last says how many more there are; None for all.
        """
        finding = Finding.of(dataset)
        parts = [
            [wrapped(line) for line in (f"{finding.sentence}.", finding.trust) if line],
            self.table(dataset) if self.table else (),
            [wrapped(line) for line in finding.details],
            [self.claims_told] * bool(self.claims),
            _few(str(dataset.attrs.get("solver_reason", "")).splitlines()),
        ]
        lines = "\n".join(line for part in parts for line in part).splitlines()
        if most is not None and len(lines) > most:
            rest = len(lines) - most + 1
            lines = [*lines[: most - 1], f"... and {rest} more lines, with --verbose"]
        return "\n".join(lines)

    @property
    def claims_told(self) -> str:
        """Where the claims are tried that the finding stands on; empty where it stands on none."""
        ids = " ".join(self.claims)
        return f"The claims behind it: {spoken(f'{_HERE}.claims')} --only {ids}" if ids else ""

    def _draw(self, dataset: xr.Dataset, flags: cli.Drawing) -> Sequence[Path]:
        """The pictures of a result, and its page; those of an older one go, drawn again or not."""
        name = self.figure or self.name
        for kind in ("png", "svg", "html"):
            (flags.out / f"{name}.{kind}").unlink(missing_ok=True)
        if not flags.figure:
            return ()
        # Experiments know no figures until one is wanted.
        paths: Sequence[Path] = import_module(f"{_BESIDE}figures.{name}").save(dataset, flags.out)
        page = import_module(f"{_BESIDE}pages.explorer").save(dataset, flags.out, name) if flags.page else None
        return paths if page is None else [*paths, page]


def _few(reasons: Sequence[str]) -> list[str]:
    """The first of many reasons, which differ from place to place in a number mostly."""
    more = len(reasons) - _REASONS
    return [*reasons[:_REASONS], *[f"... and {more} more lines in the attribute solver_reason"] * (more > 0)]
