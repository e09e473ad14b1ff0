"""The source that numbers come from: all that is imported for them, and nothing else."""

import subprocess
import sys

import pytest

from linsim.storage import provenance
from linsim.storage.sources import changed, sources
from tests.test_architecture import ROOT

FILES = {
    "my_loss": '"""\nfrom my_words import nothing\n"""\nimport numpy as np, my_scale\nfrom my_parts import (\n'
    "    first,  # (why)\n    second as other,\n)\n",
    "my_scale": "SCALE = 1.0\n",
    "my_words": "",
    "my_unused": "",
    "my_parts/__init__": "from .second import value as second\nfirst = 1\n",
    "my_parts/second": "from . import third\nfrom .. import my_unused\nvalue = 2\n",
    "my_parts/third": "def f():\n    import my_lazy; from importlib import import_module as i\n"
    "    importlib.import_module('my_dynamic')\n",
    "my_parts/fourth": "",
    "my_lazy": "import no_such_module\nfrom linsim import matrix_flow\n",
    "my_dynamic": "if True: import my_plain\n",
    "my_plain": "raise RuntimeError('nothing is imported')\n",
}
DECIDING = {"my_loss", "my_scale", "my_parts", "my_parts.second", "my_parts.third", "my_lazy", "my_dynamic", "my_plain"}
BY_DOCSTRING = {"my_words"}
"""A line of a docstring that reads like an import counts as one."""


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    for name, text in FILES.items():
        file = tmp_path / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_modules_are_followed_however_they_are_imported_and_none_is(theirs):
    found = sources(["my_loss"])
    assert {name for name in found if name.startswith("my_")} == DECIDING | BY_DOCSTRING
    assert {"linsim", "linsim.dynamics.matrices.matrix_flow"} < {*found}
    assert "linsim.theory.turning" not in found
    assert not any(name.partition(".")[0] in ("numpy", "importlib") for name in found)
    assert not any(name.startswith("my_") for name in sys.modules)


def test_an_edit_changes_the_digest_of_its_module_alone(theirs):
    before = sources(["my_loss"])
    (theirs / "my_scale.py").write_text("SCALE = 2.0\n")
    (theirs / "my_parts" / "fourth.py").write_text("edited = True\n")
    after = sources(["my_loss"])
    assert [name for name in before if before[name] != after[name]] == ["my_scale"] == changed(before)
    (theirs / "my_lazy.py").unlink()
    assert changed(before) == ["my_lazy", "my_scale"]


def test_what_an_experiment_imports_is_what_counts_and_no_other_experiment():
    check = (
        "import sys, experiments.overtraining_chart as chart\n"
        "from linsim.storage.sources import sources\n"
        "ours = {name for name in sys.modules if name.partition('.')[0] in ('linsim', 'experiments', 'figures')}\n"
        "counted = sources([chart.compute.__module__])\n"
        "assert not ours - {*counted}, ours - {*counted}\n"
        "assert not any(name.startswith(('figures', 'linsim.claims', 'experiments.tour')) for name in counted)\n"
    )
    subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=True)


@pytest.mark.parametrize("tracked", [True, False], ids=["a checkout", "installed inside of another repository"])
def test_the_revision_is_that_of_the_repository_of_linsim_alone(tmp_path, monkeypatch, tracked):
    file = tmp_path / "venv" / "linsim" / "provenance.py"
    file.parent.mkdir(parents=True)
    for path in (file, tmp_path / "theirs.py"):
        path.write_text("")
    monkeypatch.setattr(provenance, "__file__", str(file))
    known = ["-c", "user.name=u", "-c", "user.email=u@example.org", "-c", "commit.gpgsign=false"]
    added = "." if tracked else "theirs.py"
    for words in (["init", "-q"], ["add", added], [*known, "commit", "-qm", "begin"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    assert (provenance.provenance()["git_revision"] != "not a git checkout") == tracked
