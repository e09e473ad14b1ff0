"""Print what has a shell complete commands, flags and choices.

    linsim completion bash > ~/.local/share/bash-completion/completions/linsim
    linsim completion zsh > ~/.zfunc/_linsim
    linsim completion fish > ~/.config/fish/completions/linsim.fish

A new shell knows it then; of zsh the folder must be in fpath before compinit.
"""

from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import make_dataclass
from pathlib import Path
from typing import Any

from linsim.commands.lab import beside
from linsim.commands.reading import OneLineParser, command_type, rules

from .names import TOOLS, experiments, module_of
from .standing_in import standing_in

_NOTHING = make_dataclass("Nothing", [])  # the flags of a command that has arguments of its own


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line.

    Args:
      arguments: without the program's name; None means sys.argv.

    Returns:
      Exit status 0.
    """
    parser = OneLineParser(prog="linsim completion", description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), metavar="SHELL", help="bash, zsh or fish")
    shell = parser.parse_args(arguments).shell

    from tyro.extras import subcommand_cli_from_dict

    asked = ["--tyro-print-completion", shell]
    with suppress(SystemExit), standing_in():  # tyro ends with the script
        commands = {name: _flags(name) for name in experiments()} | dict.fromkeys(TOOLS, _NOTHING)
        subcommand_cli_from_dict(commands, prog="linsim", args=asked, registry=rules(), sort_subcommands=True)
    if shell == "bash":
        print("complete -o default -F _tyro_linsim linsim  # files and folders, where no flag or choice fits")
    return 0


def _flags(name: str) -> Any:
    """A type whose fields are the flags of an experiment."""
    module: Any = beside(module_of(name))
    if not hasattr(module, "Config"):
        return _NOTHING
    flags = module.experiment.flags if hasattr(module, "experiment") else module.Flags
    return command_type(module.Config, flags, Path("results") / name)
