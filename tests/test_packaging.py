"""What stands in a wheel, and that it works from there."""

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOPS = ("experiments", "figures")
MODULES = sorted(path for top in TOPS for path in (ROOT / top).rglob("*.py"))
SMALL = ["--dim", "2", "--pretrain.budgets", "3", "--finetune.rates", "1", "--finetune.strengths", "1"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_experiments_and_figures_name_their_own_modules_relatively(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert not [alias.name for alias in node.names if alias.name.split(".")[0] in TOPS]
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            assert node.module.split(".")[0] not in TOPS


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with what the wheel puts into site-packages."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        files.extractall(folder / "site")
    return folder / "site"


def test_no_generic_name_lands_in_site_packages(installed):
    assert {path.name.partition("-")[0] for path in installed.iterdir()} == {"linsim", "linsim_lab"}


def test_everything_that_runs_needs_is_there_and_pages_and_pictures_are_not(installed):
    for top in ("linsim", *TOPS):
        inside = installed / ("linsim_lab" if top in TOPS else "") / top
        needed = {path for path in (ROOT / top).rglob("*") if path.is_file() and "__pycache__" not in path.parts}
        needed -= {path for path in needed if path.suffix == ".md" or path.is_relative_to(ROOT / "figures/gallery")}
        assert {path.relative_to(ROOT / top) for path in needed} == {
            path.relative_to(inside) for path in inside.rglob("*") if path.is_file()
        }


def test_an_experiment_computes_and_draws_where_it_is_installed(installed, tmp_path):
    check = (
        f"import sys\nsys.path.insert(0, {str(installed)!r})\n"
        "from linsim_lab.experiments.overtraining_chart import main\n"
        "status = main(sys.argv[1:])\n"
        f"assert not set(sys.modules) & set({TOPS}), 'from the checkout'\n"
        "sys.exit(status)"
    )
    command = [sys.executable, "-c", check, *SMALL, "--out", str(tmp_path / "out")]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".zarr", ".png", ".svg"}


def test_help_names_the_command_as_it_is_installed(installed, tmp_path):
    command = [sys.executable, "-m", "linsim_lab.experiments.stages", "--help"]
    environment = {"PYTHONPATH": str(installed), "PATH": ""}
    told = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout
    assert "python -m linsim_lab.experiments.stages --out DIR" in told
    assert "python -m experiments." not in told
