"""The bar: when it appears, what it says, and where."""

import builtins
import subprocess
import sys
from types import SimpleNamespace

import pytest

from linsim.progress import bar


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(bar.time, "monotonic", lambda: now[0])
    return now


def test_without_a_terminal_there_is_one_line_a_minute(clock, capsys):
    with bar.progress_bar("training") as shown:
        shown.chunks(0, 10, 0)
        for second in range(0, 200, 5):
            clock[0] = float(second)
            if second == 100:
                shown.chunks(4, 10, 12_000)
            shown(second, 400)
    assert capsys.readouterr().err.splitlines() == [
        "training: 16%, chunk 0 of 10, 335 s left".replace("335 s", "6 min"),
        "training: 32%, chunk 4 of 10, 1.2e+02 lanes/s, 4 min left",
        "training: 49%, chunk 4 of 10, 1.2e+02 lanes/s, 3 min left",
    ]


def test_lanes_per_second_are_those_of_the_sweep_at_hand(clock, capsys):
    with bar.progress_bar() as shown:
        for start in (0.0, 1000.0):
            clock[0] = start
            shown.chunks(2, 10, 0)
            clock[0] = start + 100
            shown.chunks(3, 10, 5000)
            shown(int(start + 100), 10_000)
    assert [line.split(", ")[1:3] for line in capsys.readouterr().err.splitlines()] == [
        ["chunk 3 of 10", "50 lanes/s"]
    ] * 2


def test_the_time_left_of_a_resumed_run_is_that_of_the_rest(clock, capsys):
    with bar.progress_bar() as shown:
        shown.chunks(900, 1000, 0)
        shown(9000, 10_000)
        clock[0] = 100.0
        shown(9100, 10_000)
    assert "900 s left" in capsys.readouterr().err.replace("15 min", "900 s")


def test_work_that_is_quicker_than_a_minute_is_silent(clock, capsys):
    with bar.progress_bar() as shown:
        for second in range(60):
            clock[0] = float(second)
            shown(second, 60)
    assert capsys.readouterr() == ("", "")


def test_the_bar_appears_after_two_seconds_on_a_terminal_only(clock, monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with bar.progress_bar() as report:
        report(1, 10)
        early = capsys.readouterr().err
        clock[0] = 3.0
        report(5, 10)
    assert early == ""
    assert "50%" in capsys.readouterr().err


@pytest.fixture
def notebook(monkeypatch):
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setattr(builtins, "get_ipython", lambda: shell, raising=False)
    return shell


def test_a_notebook_shows_it_in_one_line_that_is_written_over(clock, capsys, notebook):
    with bar.progress_bar("training") as shown:
        shown.chunks(2, 4, 0)
        for second in range(5):
            clock[0] = float(second)
            shown(second, 5)
    nothing, third, fourth, gone, end = capsys.readouterr().err.replace("\r\r", "\r").split("\r")
    assert nothing == end == gone.strip() == ""
    for line, share in ((third, "60%"), (fourth, "80%")):
        assert line.startswith("training ━")
        assert f"{share} chunk 2 of 4" in line
        assert len(line) == len(gone)


def test_a_notebook_is_a_kernel_and_not_a_console_of_ipython(notebook):
    assert bar.in_notebook()
    del notebook.kernel
    assert not bar.in_notebook()


def test_without_ipython_it_is_no_notebook_and_ipython_is_not_imported():
    check = "import sys, linsim.progress.bar as bar\nassert not bar.in_notebook() and 'IPython' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)
