"""Compiled programs between processes: found again, bounded by JAX, harmless where they cannot be."""

import os
import subprocess
import sys

import pytest

from linsim.storage import compiled
from linsim.storage.compiled import Trials, keep_programs, processor

PROGRAM = """
import sys, jax
from linsim.storage.compiled import keep_programs
found = []
jax.monitoring.register_event_listener(lambda event, **_: found.append(event))
print(keep_programs())
print(float(jax.jit(lambda x: x**2 + 1)(3.0)), sum(e.endswith("/cache_hits") for e in found))
"""


def computed(tmp_path, **environment):
    """What a process prints, and what it says of it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "LINSIM_", "XDG_"))}
    kept |= {"JAX_PLATFORMS": "cpu", "HOME": str(tmp_path), **environment}
    ran = subprocess.run([sys.executable, "-c", PROGRAM], env=kept, check=True, capture_output=True, text=True)
    return ran.stdout.split(), ran.stderr


def test_the_next_process_finds_what_one_has_compiled_and_a_damaged_folder_is_one_line(tmp_path):
    asked = tmp_path / "here"
    folder = asked / processor()
    assert computed(tmp_path, LINSIM_CACHE=str(asked)) == ([str(folder), "10.0", "0"], "")
    found, said = computed(tmp_path, LINSIM_CACHE=str(asked))
    assert (found[:2], int(found[2]) > 0, said) == ([str(folder), "10.0"], True, "")
    programs = sorted(folder.glob("*-cache"))
    for program, left in zip(programs, ["garbage", "", *["half"] * len(programs)], strict=False):
        whole = program.read_bytes()
        program.write_bytes(whole[: len(whole) // 2] if left == "half" else left.encode())
    found, said = computed(tmp_path, LINSIM_CACHE=str(asked))
    assert found == [str(folder), "10.0", "0"]
    assert said == f"{folder}: {len(programs)} damaged programs were thrown away; they are compiled again\n"
    assert int(computed(tmp_path, LINSIM_CACHE=str(asked))[0][2]) > 0


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({}, ".cache/linsim/programs"),
        ({"LINSIM_CACHE": "off"}, None),
        ({"JAX_COMPILATION_CACHE_DIR": "{home}/mine"}, "mine"),
        ({"HOME": "/proc"}, None),
    ],
    ids=["by itself", "off", "a folder of the user's own", "nowhere"],
)
@pytest.mark.skipif(sys.platform != "linux", reason="the folder is where Linux has it")
def test_where_programs_are_kept(tmp_path, environment, folder):
    environment = {name: value.format(home=tmp_path) for name, value in environment.items()}
    found, said = computed(tmp_path, **environment)
    assert (found[0], found[1], said) == (str(folder and tmp_path / folder / processor()), "10.0", "")


def test_a_folder_that_was_asked_for_and_cannot_be_is_told(tmp_path):
    (tmp_path / "file").touch()
    found, said = computed(tmp_path, LINSIM_CACHE=str(tmp_path / "file"))
    assert found[0] == "None"
    assert said.startswith(f"LINSIM_CACHE={tmp_path / 'file'}: compiled programs are not kept: ")
    assert said.count("\n") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only there is known what a processor can do")
def test_processors_that_differ_in_what_they_can_do_share_no_programs(tmp_path, monkeypatch):
    told = []
    for flags in ("fpu sse4_2 avx2", "fpu sse4_2", "fpu sse4_2 avx2"):
        (tmp_path / "cpuinfo").write_text(
            f"processor : 0\nmodel name : EPYC\ncpu MHz : 2{len(told)}00\nflags : {flags}\n"
        )
        monkeypatch.setattr(compiled, "_ABOUT", tmp_path / "cpuinfo")
        told.append(processor())
    assert told[0] == told[2] != told[1]


def test_tests_keep_none():
    assert keep_programs() is None


def test_trials_are_kept_until_versions_change(tmp_path, caplog, monkeypatch):
    file = tmp_path / "kernels.json"
    Trials(file)["dense"] = 2.5
    assert Trials(file) == {"dense": 2.5} and not caplog.records
    for told, said in (
        ("{", "damaged"),
        ("[]", "damaged"),
        (file.read_text().replace("linsim", "lin"), "other versions"),
    ):
        file.write_text(told)
        assert Trials(file) == {}
        assert said in caplog.records.pop().getMessage()
        assert not caplog.records
    nowhere = Trials(tmp_path / "none" / "kernels.json")
    nowhere["dense"] = 2.0
    assert nowhere == {"dense": 2.0}
