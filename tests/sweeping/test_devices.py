"""Lanes spread over all devices of the process, and the numbers are those of one device."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from linsim.storage import store

ROOT = Path(__file__).parent.parent.parent

SCRIPT = """
import sys, pathlib, jax, numpy as np
import linsim.sweeping.lanes
from linsim.storage import store
from linsim.phase import Phase
from linsim.sweeping.running import running
from linsim.sweeping.sweep import sweep
from tests.problems import aligned_problem, gaussian_problem

out, devices = pathlib.Path(sys.argv[1]), int(sys.argv[2])
assert len(jax.devices()) == devices
placed, put = set(), jax.device_put
jax.device_put = lambda value, place: placed.add(len(place.device_set)) or put(value, place)
axes = {"pretrain_momentum": [0.1, 0.6], "learning_rate": [1e-3, 4e-3, 1e-2, 30.0], "momentum": [0.0, 0.4, 0.8]}
given = dict(budgets=np.asarray((5, 40)), finetune_steps=30, pretrain=Phase(0.01, momentum=0.1))
for name, problem in {"modes": aligned_problem(seeds=3, **given), "dense": gaussian_problem(seeds=3, **given)}.items():
    (out / name).mkdir()
    with running(memory=2**20, recheck=0):
        store.save(sweep(problem, axes, solver=name), out / name)
assert placed == {devices}, placed
"""


@pytest.fixture(scope="module")
def swept(tmp_path_factory) -> dict[int, Path]:
    """The same sweeps on 1 device and on 5, among which lanes cannot be dealt evenly, each in a process of its own."""
    begun = {}
    for devices in (1, 5):
        out = tmp_path_factory.mktemp(f"on_{devices}")
        flags = f"--xla_force_host_platform_device_count={devices}"
        environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1"}
        command = [sys.executable, "-c", SCRIPT, str(out), str(devices)]
        begun[devices] = out, subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    for _, process in begun.values():
        _, told = process.communicate(timeout=120)
        assert process.returncode == 0, told
    return {devices: out for devices, (out, _) in begun.items()}


@pytest.mark.parametrize("solver", ["modes", "dense"])
def test_any_number_of_devices_gives_the_same_numbers(swept, solver):
    one, several = (store.load(swept[count] / solver) for count in (1, 5))
    # 144 lanes: bites of one size on one device, of another on several, the last one padded. Programs for other numbers
    # of lanes may round otherwise: 70 stable steps at 1e-16, on losses of order 1.
    for name in one.data_vars:
        np.testing.assert_allclose(several[name], one[name], rtol=1e-13, atol=1e-15, err_msg=str(name))
    xr.testing.assert_equal(several["diverged"], one["diverged"])
    assert one["diverged"].values.any()
    assert several.attrs["device"].startswith("5 x ")
