"""One module a question: a frozen configuration, run(config) -> Dataset, and a command line."""

import sys

if sys.argv[:1] == ["-m"] and {"-h", "--help"} & {*sys.argv}:  # `python -m experiments.NAME --help` computes nothing
    from .command.standing_in import stand_in

    stand_in()
