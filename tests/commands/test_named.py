"""Somebody else's code by name: what is a fault of theirs, and what is not."""

import pytest

from linsim.commands.named import call_named, named
from linsim.errors import InvalidInput, RunFailed


def test_a_module_that_ends_the_process_is_told_in_one_line(tmp_path, monkeypatch):
    (tmp_path / "ends_when_imported.py").write_text("import sys\n\nsys.exit(0)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InvalidInput, match=r"^own: got ends_when_imported:X; .*SystemExit: 0 \(\S+, line 3\)"):
        named("own", "ends_when_imported:X")


def test_code_that_ends_the_process_is_told_in_one_line():
    def ends():
        raise SystemExit(0)

    with pytest.raises(InvalidInput, match=r"^loss: got mine:loss; allowed: code that does not fail: SystemExit: 0"):
        call_named("loss", "mine:loss", ends)


@pytest.mark.parametrize("kind", [RunFailed, MemoryError])
def test_what_is_no_fault_of_theirs_is_passed_on(kind):
    def fails():
        raise kind("out: the disk is full")

    with pytest.raises(kind, match="disk is full"):
        call_named("own", "mine:X", fails)
