"""Write the page of a result, to explore it in a browser; or the page on which the theory is played with.

    linsim explore RESULT
    linsim explore --theory

RESULT is the folder of a result; the page is RESULT/NAME.html, one file that asks no host for anything. NAME is that of
the experiment; result where a result gives none that is letters, digits, _ and -.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from linsim.commands.reading import OneLineParser
from linsim.errors import InvalidInput, RunFailed, require
from linsim.storage import store

from . import explorer, theory
from .page import write


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line.

    Args:
      arguments: without the program's name; None means sys.argv.

    Returns:
      Exit status 0; with one line on stderr 2 (a bad argument, nothing to explore) or 3 (not written).
    """
    parser = OneLineParser(prog="linsim explore", description=(__doc__ or "").partition("\n")[0], allow_abbrev=False)
    parser.add_argument("result", type=Path, nargs="?", metavar="RESULT", help="folder of a result")
    parser.add_argument("--theory", action="store_true", help="the closed form with sliders, without a result")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="of the page; default RESULT/NAME.html, or theory.html"
    )
    options = parser.parse_args(arguments)
    try:
        both = options.theory and options.result is not None
        require(not both, "result", str(options.result), "none beside --theory")
        require(options.theory or options.result is not None, "result", "none", "the folder of a result, or --theory")
        require(options.out is None or not options.out.is_dir(), "out", str(options.out), "a file, not a folder")
        if options.theory:
            print(_told(write(theory.page(theory.at_hand()), options.out or Path("theory.html"))))
            return 0
        dataset = store.load(options.result)
        name = str(dataset.attrs.get("experiment", options.result.resolve().name))
        text, left_out = explorer.page(dataset, name=name)
        file = options.out or explorer.file_of(options.result, name)
        print(_told(write(text, file)))
        if left_out:
            print(f"Thinned, as the whole is more than browsers bear: {', '.join(left_out)}.")
    except InvalidInput as error:
        print(error, file=sys.stderr)
        return 2
    except RunFailed as error:
        print(f"not written: {error}", file=sys.stderr)
        return 3
    return 0


def _told(file: Path) -> str:
    return f"{file}, {file.stat().st_size / 1e6:.1f} MB: open it in a browser"


if __name__ == "__main__":
    sys.exit(main())
