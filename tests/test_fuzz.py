"""Fuzzing finds what is put in on purpose, keeps it, and finds it again."""

import pytest

from benchmarks.fuzz import __main__ as fuzz

CHEAP = ["data", "checkpoints", "stores"]  # which compile nothing; the others are found by `--prove`, in a minute


@pytest.mark.parametrize("kind", CHEAP)
def test_a_fault_put_in_on_purpose_is_found(kind, capsys):
    assert fuzz.main(["--prove", "--seed", "0", "--kinds", kind]) == 0
    assert f"{kind}: " in capsys.readouterr().out


def test_what_was_found_before_is_not_found_again(capsys):
    assert fuzz.main(["--seconds", "0", "--kinds", *CHEAP]) == 0, capsys.readouterr().out


def test_what_is_found_is_kept_and_told_with_what_it_takes_to_see_it_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fuzz, "KEPT", tmp_path / "seeds.txt")
    with fuzz.KINDS["data"].plant():
        assert fuzz.main(["--seconds", "0.3", "--seed", "0", "--kinds", "data"]) == 1
        name, seed = fuzz.KEPT.read_text().splitlines()[0].split()
        assert fuzz.main(["--again", name, seed]) == 1
    assert f"{name} {seed}: " in capsys.readouterr().out
    assert fuzz.main(["--again", name, seed]) == 0
