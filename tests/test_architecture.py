"""The directions of imports, and what may not be imported where."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# From the bottom up; a room may import the rooms before it, never one after it.
ORDER = [
    "errors",
    "spectra",
    "tasks",
    "shifts",
    "losses",
    "estimates",
    "sensitivity",
    "quantisation",
    "perturbation",
    "curvature",
    "matrix_free",
    "products",
    "forgetting",
    "monitoring.trees",
    "named_trees",
    "monitoring.predictive",
    "monitoring.probes",
    "monitoring.measuring",
    "monitoring.alarm",
    "monitoring.record",
    "network",
    "phase",
    "problem",
    "axes",
    "plan",
    "dynamics.mode_flow",
    "dynamics.deep_mode_flow",
    "dynamics.width",
    "dynamics.matrix_flow",
    "dynamics.solver",
    "dynamics.descent",
    "dynamics.flow",
    "dynamics.frame",
    "dynamics.chains",
    "dynamics.mode_steps",
    "dynamics.fused_modes",
    "dynamics.matrix_steps",
    "dynamics.modes",
    "dynamics.dense",
    "dynamics.gram",
    "dynamics.flow_modes",
    "dynamics.flow_matrices",
    "dynamics.choosing",
    "training",
    "inflection",
    "turning",
    "noise_turning",
    "prediction",
    "stages",
    "lanes",
    "results",
    "chunk",
    "fingerprint",
    "recheck",
    "provenance",
    "running",
    "remembering",
    "checksums",
    "chunks",
    "sweep",
    "store",
    "unfinished",
    "cluster",
    "bar",
    "checkpoints",
    "summary",
    "config",
    "transfers",
    "building",
    "draws",
    "testing",
    "claims.claim",
    "claims.margins",
    "claims.simulation",
    "claims.learning",
    "claims.dynamics",
    "claims.steps",
    "claims.plateaus",
    "claims.balance",
    "claims.laziness",
    "claims.matrices",
    "claims.tuning",
    "claims.forgetting",
    "claims.regularisation",
    "claims.fronts",
    "claims.overtraining",
    "claims.pairs",
    "claims.finite_tuning",
    "claims.tuned_rates",
    "claims.hessians",
    "claims.noise",
    "claims.sensitivity",
    "claims.curvature",
    "claims.flatness",
    "claims.monitors",
    "claims.scatter",
    "claims.registry",
    "claims.judge",
    "claims.report",
    "cli",
]
ROOMS = sorted(path for path in (ROOT / "linsim").rglob("*.py") if path.name != "__init__.py")


def room_of(path):
    return ".".join(path.relative_to(ROOT / "linsim").with_suffix("").parts)


def imports(path):
    """Every module a file imports, at any depth of its code, with `from package import module` resolved."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                is_module = (ROOT / (inner.replace(".", "/") + ".py")).exists()
                yield inner if is_module else node.module


def test_every_room_has_its_place_in_the_order():
    assert sorted(ORDER) == sorted(room_of(path) for path in ROOMS)


@pytest.mark.parametrize("path", ROOMS, ids=room_of)
def test_imports_run_downwards(path):
    place = ORDER.index(room_of(path))
    for name in imports(path):
        assert name.split(".")[0] not in ("experiments", "figures", "tests", "benchmarks"), name
        if name.startswith("linsim."):
            assert ORDER.index(name.removeprefix("linsim.")) < place, f"{room_of(path)} imports {name}"


@pytest.mark.parametrize("path", ROOMS, ids=room_of)
def test_nothing_below_the_sweep_knows_about_files(path):
    if ORDER.index(room_of(path)) < ORDER.index("provenance"):
        assert not {"pathlib", "os", "shutil", "zarr", "tempfile"} & {name.split(".")[0] for name in imports(path)}


def test_experiments_do_not_draw_and_figures_do_not_compute():
    for path in (ROOT / "experiments").rglob("*.py"):
        linear = path.parent.name != "transformer"  # which no solver of linsim trains
        barred = ("matplotlib", "optax") if linear else ("matplotlib",)
        assert not any(name.startswith(barred) for name in imports(path)), path.name
    figures = sorted((ROOT / "figures").glob("*.py"))
    assert figures
    names = ", ".join(f"figures.{path.stem}" for path in figures if path.stem != "__init__")
    check = f"import sys, {names}\nassert 'jax' not in sys.modules, 'a figure imported jax'"
    subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=True)


def test_no_room_is_too_large():
    for path in [*ROOMS, *(ROOT / "experiments").rglob("*.py"), *(ROOT / "figures").rglob("*.py")]:
        assert len(path.read_text().splitlines()) <= 300, path


def test_importing_linsim_changes_no_setting_of_jax():
    check = (
        "import jax\nbefore = jax.config.jax_enable_x64\nimport linsim.cli, experiments.overtraining_chart\n"
        "assert jax.config.jax_enable_x64 == before == False"
    )
    subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=True)
