"""The public names: one list, and what stands under each name."""

import ast
import subprocess
import sys
import types
from pathlib import Path

import pytest

import linsim as ls

ROOT = Path(__file__).parent.parent
LISTED = [
    alias.name
    for node in ast.parse((ROOT / "linsim/__init__.pyi").read_text()).body
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
]


def test_the_stub_is_the_list_and_dir_shows_nothing_else():
    assert len(set(LISTED)) == len(LISTED)
    assert dir(ls) == ls.__all__ == sorted(LISTED)
    assert not [name for name in dir(ls) if name.startswith("_")]


def test_every_name_is_a_value_of_its_name_and_none_is_a_module():
    for name in LISTED:
        value = getattr(ls, name)
        assert not isinstance(value, types.ModuleType), name
        if callable(value):
            assert value.__name__ == name
    with pytest.raises(AttributeError, match="absent"):
        _ = ls.absent


def test_a_name_stays_what_it_is_whatever_was_imported_before():
    check = (
        "import linsim.sweeping.sweep, linsim.sweeping.running, linsim.claims.judge, linsim.testing\n"
        "import linsim as ls\nfrom linsim import sweep\n"
        "assert callable(sweep) and callable(ls.running) and callable(ls.judge)"
    )
    subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=True)


def test_names_are_imported_when_they_are_used():
    check = (
        "import sys\nimport linsim as ls\nassert 'numpy' not in sys.modules\n"
        "ls.load\nassert 'xarray' in sys.modules and 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=True)
