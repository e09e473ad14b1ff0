"""Every test runs in float64, on two CPU devices, with shapes checked at run time and silent broadcasts refused."""

import os

os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2".strip()
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["MPLBACKEND"] = "Agg"

import jax
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

import tests.typechecker  # noqa: F401 - the hook finds it by this name

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
install_import_hook(["linsim"], "tests.typechecker.check")

# Compilation trips the default deadline. CI draws the same examples every time; by hand they vary.
settings.register_profile("by_hand", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("by_hand"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "by_hand")
