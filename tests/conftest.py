"""Every test runs in float64, on two CPU devices, with silent broadcasts refused; shapes are checked if asked."""

import gc
import os
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path

# Programs of tests run for milliseconds and compile for seconds: they are compiled with few optimisations, unless
# JAX_DISABLE_MOST_OPTIMIZATIONS=0 is given. Those of the README and of the canary are compiled as for users. Fusion
# costs half of what is left; an XLA that does not know a flag refuses to start: that one is for the pinned version.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = os.environ.get("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ["XLA_FLAGS"] = " ".join(
    [
        *["--xla_cpu_use_fusion_emitters=false"]
        * (version("jaxlib") == "0.10.1" and os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1"),
        "--xla_force_host_platform_device_count=2",
        os.environ.get("XLA_FLAGS", ""),  # the last one wins
    ]
).strip()
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["LINSIM_CACHE"] = "off"  # no test depends on what an earlier one has compiled
os.environ["MPLBACKEND"] = "Agg"

import jax
import pytest
from hypothesis import HealthCheck, settings
from jaxtyping import config as jaxtyping_config
from jaxtyping import install_import_hook

import tests.typechecker  # noqa: F401 - the hook finds it by this name

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")

# Compilation trips the default deadline. CI draws the same examples every time; by hand they vary. There are fewer than
# Hypothesis draws by default, which --all does.
settings.register_profile("thorough", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", parent=settings.get_profile("thorough"), max_examples=30)
# Shapes show in any example.
settings.register_profile("shapes", parent=settings.get_profile("thorough"), max_examples=4, derandomize=True)
settings.register_profile("ci", parent=settings.get_profile("quick"), derandomize=True)


gc.set_threshold(200_000, 20, 100)  # collecting among all that is imported took an eighth of the time


def pytest_addoption(parser):
    parser.addoption(
        "--all",
        action="store_true",
        help="run the thorough tests and every case of the sampled ones, too, with --shapes",
    )
    parser.addoption("--shapes", action="store_true", help="hold every value and shape against its annotation")


def pytest_configure(config):
    asked = next((name for name in ("all", "shapes") if config.getoption(f"--{name}")), None)
    settings.load_profile({"all": "thorough", "shapes": "shapes"}.get(asked, "ci" if os.environ.get("CI") else "quick"))
    if config.getoption("--shapes") or config.getoption("--all"):  # takes half of the time once more
        install_import_hook(["linsim"], "tests.typechecker.check")
    config.addinivalue_line("markers", "sampled(n): n cases of it, evenly spread, are run, and all of them with --all")
    config.addinivalue_line("markers", "thorough(guard): is run with --all; what guards the same at a lower price")


def pytest_collection_modifyitems(config, items):
    """Leave out what `make test-all` adds; a test that is named by its id is run as it is."""
    if not config.getoption("--all") and not any("::" in name for name in config.args):
        left_out = {item.nodeid for item in items if item.get_closest_marker("thorough")} | _not_sampled(items)
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid in left_out])
        items[:] = [item for item in items if item.nodeid not in left_out]


def _not_sampled(items):
    cases = defaultdict(list)
    for item in items:
        if (mark := item.get_closest_marker("sampled")) is not None:
            cases[item.nodeid.partition("[")[0], *mark.args].append(item.nodeid)
    dropped = set()
    for (_test, kept), ids in cases.items():
        spread = {round(place * (len(ids) - 1) / max(kept - 1, 1)) for place in range(kept)}
        dropped |= {name for place, name in enumerate(ids) if place not in spread}
    return dropped


def pytest_collection_finish():
    gc.collect()
    gc.freeze()


@pytest.fixture
def unchecked():
    """As users have it: annotations are not checked at run time."""
    jaxtyping_config.update("jaxtyping_disable", True)
    yield
    jaxtyping_config.update("jaxtyping_disable", False)


MAPPINGS = Path("/proc/self/maps")
MOST_MAPPINGS = 20_000
"""Of memory, beyond which compiled programs are let go: Linux gives a process 65,530, a module of tests takes some
10,000, and XLA crashes where there are none left."""


@pytest.fixture(scope="module", autouse=True)
def programs_do_not_pile_up():
    yield
    if MAPPINGS.exists() and MAPPINGS.read_bytes().count(b"\n") > MOST_MAPPINGS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture
def refused(tmp_path, capsys):
    """What a command says of flags that it cannot take: one line, status 2, and nothing is left."""

    def told(main, flags):
        assert main([*flags, "--out", str(tmp_path / "result")]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert not (tmp_path / "result").exists()
        return line

    return told
