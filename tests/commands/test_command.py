"""The command `linsim`: every experiment under its name, and quick where nothing is computed."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from experiments.command import line
from experiments.command.names import experiments, module_of, names
from figures.gallery import GALLERY, OTHERS
from linsim import __version__
from linsim.commands import lab
from linsim.commands.lab import beside
from linsim.commands.spoken import by_linsim, spoken

ROOT = Path(__file__).parent.parent.parent


def test_every_experiment_of_the_gallery_is_a_command_and_every_command_is_there():
    assert {entry.experiment or entry.name for entry in (*GALLERY, *OTHERS)} <= {
        name.replace("-", "_") for name in experiments()
    }
    assert {"claims", "tour", "figures"} <= set(names())
    for name in names():
        assert importlib.util.find_spec(module_of(name)) is not None, name


def test_version_and_help_answer_without_jax_or_numpy():
    check = (
        "import sys\nfrom linsim.commands.lab import beside\nline = beside('experiments.command.line')\n"
        "assert line.main(['--version']) == line.main(['--help']) == line.main([]) == 0\n"
        "assert not {'jax', 'numpy', 'tyro', 'rich'} & set(sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert told.startswith(f"linsim {__version__}\n")
    assert all(f"\n  {name} " in told for name in names())


def test_a_command_that_does_not_exist_is_one_line_with_the_nearest(capsys):
    assert line.main(["overtraning-chart"]) == 2
    assert capsys.readouterr().err == "command: got overtraning-chart; allowed: did you mean overtraining-chart?\n"
    assert line.main(["x"]) == 2
    assert capsys.readouterr().err == "command: got x; allowed: one of those that linsim --help lists\n"


def test_the_console_script_leads_to_the_command_of_this_checkout():
    path = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["linsim"]
    module, _, name = path.partition(":")
    assert callable(getattr(import_module(module), name))
    assert beside("experiments.command.line") is line


@pytest.mark.parametrize("given", ["tour", "overtraining_chart", "figures"])
def test_help_names_the_command_as_it_was_called(capsys, given):
    with pytest.raises(SystemExit) as stop:
        line.main([given, "--help"])
    told = capsys.readouterr().out
    assert stop.value.code == 0
    assert f"usage: linsim {given.replace('_', '-')} " in told
    assert "python -m experiments" not in told


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(("words", "status"), [(["--help"], 0), (["stages", "--help"], 0), (["--version"], 1)])
def test_a_reader_that_has_read_enough_gets_no_traceback(words, status, unbuffered):
    reading, writing = os.pipe()
    os.close(reading)
    check = "import sys\nfrom linsim.commands.lab import main\nsys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", check, *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (status, "")


def test_an_interrupt_before_any_work_is_one_line(monkeypatch, capsys):
    def stop(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(lab, "beside", stop)
    assert lab.main() == 3
    assert capsys.readouterr().err == "interrupted\n"


COMPLETE = """
source {script}
COMP_WORDS=({words}) COMP_CWORD={last}
_tyro_linsim
echo "${{COMPREPLY[@]}}"
echo $(complete -p linsim)
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_and_flags_and_choices(tmp_path):
    check = "import sys\nfrom experiments.command import line\nsys.exit(line.main(['completion', 'bash']))"
    script = tmp_path / "linsim.bash"
    script.write_text(
        subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    )

    def completed(*words):
        text = COMPLETE.format(script=script, words=" ".join(f"'{word}'" for word in words), last=len(words) - 1)
        told = subprocess.run(["bash", "-c", text], check=True, capture_output=True, text=True).stdout
        found, how = told.splitlines()
        assert how == "complete -o default -F _tyro_linsim linsim"  # so that RESULT is completed as any folder
        return found.split()

    assert completed("linsim", "over") == ["overtraining-chart"]
    assert set(names()) <= {*completed("linsim", "")}
    assert completed("linsim", "stages", "--network.ta") == ["--network.tau"]
    assert {"gaussian", "identity"} <= {*completed("linsim", "stages", "--network.init", "")}
    assert completed("linsim", "again", "results/") == []


def test_outside_of_linsim_a_command_is_that_of_python():
    assert spoken("experiments.finite_sample") == "python -m experiments.finite_sample"
    with by_linsim():
        assert spoken("linsim_lab.experiments.finite_sample") == "linsim finite-sample"
    assert spoken("figures") == "python -m figures"


@pytest.mark.thorough("by test_help_of_a_module_imports_nothing_that_computes")
def test_help_is_the_same_without_the_libraries_that_compute_which_come_back_when_they_are_asked_for():
    check = (
        "import contextlib, io, sys, time\nfrom experiments.command import line\n"
        "from experiments.command.names import experiments\n"
        "def told(name):\n"
        "    with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):\n"
        "        line.main([name, '--help'])\n"
        "    return text.getvalue()\n"
        "quick = {name: told(name) for name in experiments()}\n"
        "assert 'usage: linsim stages' in quick['stages']\n"
        "assert not {'jax', 'xarray', 'scipy', 'matplotlib', 'linsim.tasks'} & set(sys.modules)\n"
        "import jax, linsim\nfrom linsim.commands import cli\n"
        "assert jax.__version__\nassert isinstance(linsim.power_law(2).sum(), float) and cli.Folder\n"
        "slow = {name: told(name) for name in experiments()}\n"
        "assert quick == slow, [name for name in quick if quick[name] != slow[name]]"
    )
    subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=True)


def test_help_of_a_module_imports_nothing_that_computes():
    command = [sys.executable, "-X", "importtime", "-m", "experiments.stages", "--help"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert "python -m experiments.stages [FLAGS]" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "linsim.tasks" in imported
    assert not {"jaxlib", "jax._src", "pandas._libs", "scipy._lib", "optax._src", "tyro._cli"} & imported
