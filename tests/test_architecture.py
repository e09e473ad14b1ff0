"""The directions of imports, and what may not be imported where."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIBRARY = ROOT / "linsim"

PACKAGES = [
    "objectives",
    "progress",
    "dynamics",
    "measures",
    "theory",
    "storage",
    "sweeping",
    "forecasting",
    "monitoring",
    "commands",
    "testing",
    "claims",
]
"""From the bottom up, above the vocabulary, which is the rooms on the ground floor."""
MOST_ROOMS = 12
"""On any floor, beside packages."""

ROOMS = sorted(path for path in LIBRARY.rglob("*.py") if path != LIBRARY / "__init__.py")
FLOORS = sorted({path.parent for path in ROOMS})


def name_of(path):
    """As it is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def floor_of(name):
    """The package that a module of linsim is in; None for the vocabulary."""
    _, *inner = name.split(".")
    return inner[0] if inner and (LIBRARY / inner[0]).is_dir() else None


def imports(path):
    """Every module a file imports, at any depth of its code, with `from package import module` resolved."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                is_module = (ROOT / (inner.replace(".", "/") + ".py")).exists()
                yield inner if is_module else node.module


def test_every_package_has_its_place():
    assert sorted(PACKAGES) == sorted(path.parent.name for path in LIBRARY.glob("*/__init__.py"))


@pytest.mark.parametrize("path", ROOMS, ids=name_of)
def test_packages_import_downwards(path):
    own = floor_of(name_of(path))
    for name in imports(path):
        assert name.split(".")[0] not in ("experiments", "figures", "pages", "tests", "benchmarks"), name
        if name.split(".")[0] == "linsim" and (other := floor_of(name)) != own and other is not None:
            assert own is not None, f"the vocabulary imports {name}"
            assert PACKAGES.index(other) < PACKAGES.index(own), f"{name_of(path)} imports {name}"


def test_no_rooms_import_each_other_in_a_circle():
    names = {name_of(path) for path in ROOMS}
    TopologicalSorter({name_of(path): {*imports(path)} & names - {name_of(path)} for path in ROOMS}).prepare()


BELOW_STORAGE = [path for path in ROOMS if floor_of(name_of(path)) in {None, *PACKAGES[: PACKAGES.index("storage")]}]


@pytest.mark.parametrize("path", BELOW_STORAGE, ids=name_of)
def test_nothing_below_the_storage_knows_about_files(path):
    assert not {"pathlib", "shutil", "zarr", "tempfile"} & {name.split(".")[0] for name in imports(path)}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert "os" not in {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            assert {alias.name for alias in node.names} == {"environ"}  # which is no file


@pytest.mark.parametrize("floor", FLOORS, ids=lambda floor: str(floor.relative_to(ROOT)))
def test_a_floor_has_at_most_a_dozen_rooms(floor):
    assert len([path for path in floor.glob("*.py") if path.name != "__init__.py"]) <= MOST_ROOMS


def test_experiments_do_not_draw_and_figures_and_pages_do_not_compute():
    for path in (ROOT / "experiments").rglob("*.py"):
        linear = path.parent.name != "transformer"  # which no solver of linsim trains
        barred = ("matplotlib", "optax") if linear else ("matplotlib",)
        assert not any(name.startswith(barred) for name in imports(path)), path.name
    figures = sorted((ROOT / "figures").glob("*.py"))
    assert figures
    shown = [*figures, *(ROOT / "pages").glob("*.py")]
    names = ", ".join(name_of(path) for path in shown if path.stem != "__init__")
    check = f"import sys, {names}\nassert 'jax' not in sys.modules, 'a figure or a page imported jax'"
    subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=True)


def test_no_room_is_too_large():
    for path in [*ROOMS, *(path for top in ("experiments", "figures", "pages") for path in (ROOT / top).rglob("*.py"))]:
        assert len(path.read_text().splitlines()) <= 300, path


def test_no_script_of_a_page_is_too_large():
    for path in (ROOT / "pages/assets").glob("*.js"):
        assert len(path.read_text().splitlines()) <= 300, path


def test_importing_linsim_changes_no_setting_of_jax():
    check = (
        "import jax\nbefore = jax.config.jax_enable_x64\n"
        "import linsim.commands.cli, experiments.overtraining_chart\n"
        "assert jax.config.jax_enable_x64 == before == False"
    )
    subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=True)
