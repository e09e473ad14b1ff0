"""What the gallery holds: of every picture, which experiment makes its data and which module draws it."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

from linsim.storage.store import DATA

RESULTS = Path("results")
STORED = Path(__file__).with_name("stored")
"""Results that take too long to compute for each drawing: they come with the figures."""
FOLDER = Path("figures/gallery")
PAGE = Path("figures/README.md")
"""Shows every picture of that folder, and below it quotes its title."""

_PAGE_WIDTH = 120  # of the page's lines, in letters
_BESIDE = __package__.removesuffix("figures")  # the package that holds experiments and figures, where there is one


@dataclass(frozen=True)
class Entry:
    """A picture of the gallery, under the name of its files and of its result's folder."""

    name: str
    experiment: str = ""
    """Module of `experiments`; default the name."""
    arguments: tuple[str, ...] = ()
    """Its flags, where they are not the defaults."""
    figure: str = ""
    """Module of `figures`; default that of the experiment's name."""

    @property
    def module(self) -> str:
        """The experiment's module."""
        return f"{_BESIDE}experiments.{self.experiment or self.name}"

    @property
    def drawn_by(self) -> str:
        """The figure's module."""
        return f"{_BESIDE}figures.{self.figure or self.experiment or self.name}"

    @property
    def stored(self) -> bool:
        """Whether the result comes with the repository."""
        return (STORED / self.name / DATA).is_dir()

    def source(self) -> Path | None:
        """The folder of the result, your own before the stored one; None where it has to be computed."""
        places = (RESULTS / self.name, STORED / self.name)
        return next((place for place in places if (place / DATA).is_dir()), None)

    @property
    def command(self) -> tuple[str, ...]:
        """What computes the result, after `python -m`."""
        return (self.module, *self.arguments, *(("--out", f"{RESULTS / self.name}") if self.arguments else ()))


_GAUSSIAN = (
    "--network.init gaussian --task.bases random --seeds 5 --pretrain.budgets 40 --finetune.rates 12 "
    "--finetune.strengths 9"
)
_SEVERITY = (
    "--objectives results/objectives --optimizers results/optimizers --data-distribution results/data_distribution"
)
_LEAGUE = "--families tail head removed amplified rotated_inputs rotated_both random digits --seeds 10 --no-curves"
_TRANSFORMER_24 = "--language.tokens 24 --language.shift 1 --seed 1 --monitors.sequences 16"

GALLERY = (
    Entry("overtraining_chart"),
    Entry("gaussian", "overtraining_chart", tuple(_GAUSSIAN.split())),
    Entry("digits", figure="overtraining_chart"),
    Entry("incremental_learning"),
    Entry("progressive_sensitivity"),
    Entry("fixed_rate"),
    Entry("tuned_rate"),
    Entry("finite_sample"),
    Entry("regularization"),
    Entry("checkpoint_pair"),
    Entry("depth_and_width"),
    Entry("rich_and_lazy"),
    Entry("optimizers"),
    Entry("objectives"),
    Entry("new_heads"),
    Entry("relabelled_digits"),
    Entry("superposition"),
    Entry("data_distribution"),
    Entry("severity", arguments=tuple(_SEVERITY.split())),
    Entry("mitigations"),
    Entry("league", "mitigations", tuple(_LEAGUE.split()), figure="league"),
    Entry("early_exposure"),
    Entry("three_phases"),
    Entry("tasks_in_turn"),
    Entry("goldilocks"),
    Entry("stages"),
    Entry("sweep"),
    Entry("monitors"),
    Entry("forecast"),
    Entry("forecast_scores"),
    Entry("transformer"),
    Entry("transformer_24", "transformer", tuple(_TRANSFORMER_24.split())),
)

OTHERS = (Entry("watch"),)
"""Pictures that the gallery does not show: of your own runs."""


def quoted(page: str, name: str, sentence: str) -> str:
    """The gallery page with a sentence as the quotation below a picture, in place of the one that stood there.

    Args:
      page: Markdown, in which each picture's line is `![words](gallery/NAME.png)`.
      name: of the picture; a page that does not show it stays as it is.
      sentence: plain text, of any length.
    """
    shown = re.compile(rf"^(!\[[^\n]*\]\(gallery/{re.escape(name)}\.png\)\n)(?:\n(?:>[^\n]*\n)+)?", re.MULTILINE)
    quotation = textwrap.indent(textwrap.fill(sentence, _PAGE_WIDTH, break_on_hyphens=False), "> ")
    return shown.sub(lambda found: f"{found[1]}\n{quotation}\n", page)
