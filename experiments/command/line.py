"""The command line of `linsim`: which command, and no more; each reads its own flags."""

from __future__ import annotations

import difflib
import sys
import textwrap
from collections.abc import Sequence
from contextlib import nullcontext

from linsim import __version__
from linsim.commands.helping import reading_width
from linsim.commands.lab import beside
from linsim.commands.spoken import by_linsim, dashed, say

from .names import TOOLS, experiments, module_of, names, question
from .standing_in import standing_in

HELP = {"-h", "--help"}
_EXAMPLES = """\
linsim overtraining-chart                  the chart, into results/overtraining_chart
linsim overtraining-chart --help           what can be varied
linsim again results/overtraining_chart    the same once more, compared"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line.

    Args:
      arguments: without the program's name; None means sys.argv.

    Returns:
      Exit status of the command; 2 with one line on stderr where there is none of that name.
    """
    first, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if first in HELP:
        say(overview())
        return 0
    if first == "--version":
        print(f"linsim {__version__}")
        return 0
    name = dashed(first)
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        allowed = f"did you mean {near[0]}?" if near else "one of those that linsim --help lists"
        print(f"command: got {first}; allowed: {allowed}", file=sys.stderr)
        return 2
    with by_linsim(), standing_in() if HELP & {*rest} else nullcontext():
        status: int = beside(module_of(name)).main(rest)
    return status


def overview() -> str:
    """What --help says."""
    asked = {name: question(file) for name, file in experiments().items()}
    does = {name: told for name, (_, told) in TOOLS.items()}
    indent = max(map(len, asked)) + 4
    width = reading_width()
    lines = ["usage: linsim COMMAND [FLAGS]", "", _EXAMPLES, ""]
    for heading, told in (("experiments, each with --help", asked), ("results, and this installation", does)):
        lines.append(f"{heading}:")
        for name, words in told.items():
            head = f"  {name}".ljust(indent)
            lines += textwrap.wrap(
                words, width, initial_indent=head, subsequent_indent=" " * indent, break_on_hyphens=False
            )
        lines.append("")
    return "\n".join([*lines, "linsim --version  linsim --help"])
