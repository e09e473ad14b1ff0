"""What stands in a wheel, and that it works from there."""

import ast
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from experiments.command.names import names
from tests.pages import NOTEBOOKS, steps

ROOT = Path(__file__).parent.parent
TOPS = ("experiments", "figures", "pages")
MODULES = sorted(path for top in TOPS for path in (ROOT / top).rglob("*.py"))
SMALL = ["--dim", "1", "--pretrain.budgets", "3", "--finetune.rates", "1", "--finetune.strengths", "1"]
SMALL += ["--depth", "1", "--pretrain.tolerance", "None", "--recheck", "0"]
QUICK = {"PATH": "", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "LINSIM_CACHE": "off"}
CLAIM = "misaligned-iff"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_experiments_and_figures_name_their_own_modules_relatively(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert not [alias.name for alias in node.names if alias.name.split(".")[0] in TOPS]
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            assert node.module.split(".")[0] not in TOPS


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder with what the wheel puts into site-packages."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as files:
        files.extractall(folder)
    return folder


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


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """An environment with the wheel, and with what the wheel requires and no more: links to where the tests have it."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin/python"), "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (told,) = site.glob("linsim-*.dist-info")
    for name in required(metadata.PathDistribution(told).requires):
        for file in metadata.files(name):
            if ".." not in file.parts and not (site / file).exists():
                (site / file).parent.mkdir(parents=True, exist_ok=True)
                (site / file).symlink_to(file.locate())
    return folder


def required(requirements):
    """The packages that requirements lead to, with what those require in turn."""
    found, left = set(), [(Requirement(text), {""}) for text in requirements]
    while left:
        requirement, extras = left.pop()
        inside = requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in extras)
        known = (requirement.name, *sorted(requirement.extras))
        if inside and known not in found:
            found.add(known)
            asked = {"", *requirement.extras}
            left += [(Requirement(text), asked) for text in metadata.requires(requirement.name) or ()]
    return {name for name, *_ in found}


def linsim(environment, *words):
    """What the command says; it ends with status 0."""
    command = [str(environment / "bin/linsim"), *map(str, words)]
    done = subprocess.run(command, cwd=environment, env=QUICK, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_tests_packages_are_not_lent(environment):
    (site,) = environment.glob("lib/python*/site-packages")
    names = {path.name.partition("-")[0].lower() for path in site.glob("*.dist-info")}
    assert {"linsim", "jax", "hypothesis", "tomlkit"} <= names
    assert not {"pytest", "beartype", "scikit_learn", "distributed"} & names


def test_a_chart_is_computed_and_drawn_where_the_wheel_is_installed(environment):
    linsim(environment, "overtraining-chart", *SMALL, "--out", "chart")
    assert {path.suffix for path in (environment / "chart").iterdir()} == {".zarr", ".png", ".svg", ".html"}


def test_a_claim_is_judged_and_a_figure_drawn_where_the_wheel_is_installed(environment):
    assert "1 of 1 claims hold" in linsim(environment, "claims", "--only", CLAIM, "--examples", "3", "--out", "claims")
    stored = ROOT / "figures/stored/transformer"
    linsim(environment, "figures", "transformer", "--data", stored, "--out", "pictures")
    assert {path.suffix for path in (environment / "pictures").iterdir()} == {".png", ".svg"}


def test_every_command_is_listed_where_the_wheel_is_installed(environment):
    told = linsim(environment, "--help")
    assert all(f"\n  {name} " in told for name in names())


@pytest.mark.thorough(
    "the tour, whose cells `make docs` runs as well; make pages, which every change has to pass, runs these"
)
@pytest.mark.parametrize("page", NOTEBOOKS)
def test_a_notebook_runs_where_the_wheel_is_installed(environment, page):
    assert {step.kind for step in steps(page)} == {"cell"}
    cells = "\n".join(step.text for step in steps(page))
    python = [str(environment / "bin/python"), "-c", cells]
    done = subprocess.run(python, cwd=environment, env=QUICK | {"MPLBACKEND": "agg"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
