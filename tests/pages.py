"""Pages whose blocks are run, section by section and in order, as a reader would."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.users import as_users

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"```(\w+)\n(.*?)```", flags=re.DOTALL)


def sections(page):
    """Heading -> blocks: they use what earlier ones of their own section left behind, and nothing else."""
    parts = re.findall(r"^## ([^\n]*)\n(.*?)(?=^## |\Z)", page, flags=re.DOTALL | re.MULTILINE)
    return {title: BLOCK.findall(text) for title, text in parts if BLOCK.search(text)}


def files(blocks):
    """Name -> text of the blocks that begin with the name of a file, which a later command runs."""
    return {name[1]: text for _, text in blocks if (name := re.match(r"# ([\w/]+\.py)\n", text))}


def commands(blocks):
    """What Python is given, command by command."""
    given = []
    for language, text in blocks:
        if language == "console":
            lines = [shlex.split(line, comments=True) for line in text.splitlines()]
            assert all(program == "python" for program, *_ in filter(None, lines))
            given += [arguments for _, *arguments in filter(None, lines)]
        elif text not in files(blocks).values():
            assert language == "python"
            given.append(["-c", text])
    return given


def read(blocks, folder):
    """Run the blocks of a section in a folder; returns what they print."""
    for name, text in files(blocks).items():
        (folder / name).write_text(text)
    told = ""
    for arguments in commands(blocks):
        done = subprocess.run(
            [sys.executable, *arguments], cwd=folder, env=as_users(), capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        told += done.stdout
    return told
