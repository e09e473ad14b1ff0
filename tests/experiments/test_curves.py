"""What curves over the budget come to: harm, and which of it counts."""

import numpy as np
import xarray as xr

from experiments.curves import harm_of, material_harm


def test_harm_is_how_far_the_last_loss_is_above_the_least_whatever_the_order_of_axes():
    losses = np.array([[3.0, 2.0, 2.5], [3.0, 2.0, 1.0]])
    curves = xr.DataArray(losses, {"pretrain_steps": [1, 2, 4]}, ("seed", "pretrain_steps"))
    harm = harm_of(curves)
    assert harm.dims == ("seed",)
    assert harm[0] >= 0.25  # the least may lie between budgets
    assert harm[1] == 0


def test_harm_next_to_a_loss_near_zero_is_none_in_arrays_with_and_without_names():
    harm, excess = np.array([3000.0, 0.5, 0.005, np.inf, np.nan]), np.array([1e-6, 0.2, 0.2, np.inf, np.nan])
    np.testing.assert_array_equal(material_harm(harm, excess), [0, 0.5, 0.005, np.inf, np.nan])
    np.testing.assert_array_equal(material_harm(harm, excess, 0.01), [0, 0.5, 0, np.inf, np.nan])
    named = material_harm(xr.DataArray(harm, dims="seed", attrs={"units": "1"}), xr.DataArray(excess, dims="seed"))
    np.testing.assert_array_equal(named, material_harm(harm, excess))
    assert named.attrs == {"units": "1"}
