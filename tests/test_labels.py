"""Shared names are told the same in every result."""

import numpy as np
import pytest
import xarray as xr

from linsim.errors import InvalidInput
from linsim.labels import AXES, LABELS, Label, attrs_of, counted_harm, label, labelled
from linsim.phase import SWEPT
from linsim.sweeping.axes import Field


def test_a_shared_name_brings_its_long_name_its_units_and_its_dimensions():
    target = labelled("pretrain_target", np.eye(2))
    assert target.dims == ("output", "input")
    assert target.attrs == {"long_name": "A of the pre-training task", "units": "output per input"}
    assert labelled("harm", np.zeros(3), ["seed"]).dims == ("seed",)
    assert labelled("initial_weights_2", np.eye(2), ("rows", "columns")).attrs == {"long_name": "initial W_2"}


def test_an_axis_is_its_own_dimension_and_words_are_stored_at_any_length():
    assert all(told.dims == (name,) for name, told in AXES.items())
    shifts = labelled("shift", ["none", "all modes turned"])
    assert shifts.dims == ("shift",)
    assert shifts.dtype == np.dtypes.StringDType()


def test_a_prediction_is_told_as_what_it_predicts():
    predicted, simulated = attrs_of("predicted_harm"), attrs_of("harm")
    assert predicted == simulated | {"long_name": f"{simulated['long_name']}, in closed form"}


def test_all_variables_of_a_dataset_are_labelled_its_own_among_them_and_nothing_told_is_lost():
    bare = xr.Dataset({"harm": ("seed", [0.5]), "odd": ("seed", [1.0])}, {"seed": [0]})
    told = label(bare, {"odd": Label("what only this result has", "1"), "seed": Label("drawn task")})
    assert told["harm"].attrs == LABELS["harm"].attrs
    assert told["odd"].attrs == {"long_name": "what only this result has", "units": "1"}
    assert told["seed"].attrs == {"long_name": "drawn task"}
    assert not any(variable.attrs for variable in bare.variables.values())
    kept = label(told)
    assert kept["seed"].attrs == {"long_name": "drawn task"}


def test_the_fine_tuning_rate_is_called_alike_as_an_axis_and_as_a_swept_field():
    swept = SWEPT["learning_rate"]
    assert LABELS["learning_rate"].attrs == {"long_name": f"fine-tuning {swept.words}", "units": swept.units}
    assert Field.named("pretrain_momentum").attrs("pretrain_momentum")["long_name"] == "pre-training momentum"


def test_harm_next_to_a_loss_near_zero_does_not_count():
    found = xr.Dataset(
        {"harm": ("seed", [3000.0, 0.5, np.inf, np.nan]), "inflection_steps": ("seed", [np.nan, 40.0, np.nan, np.nan])}
    )
    np.testing.assert_array_equal(counted_harm(found), [0.0, 0.5, np.inf, np.nan])
    np.testing.assert_array_equal(
        counted_harm(found.rename(harm="x_harm", inflection_steps="x_inflection_steps"), "x_"), counted_harm(found)
    )


def test_unknown_names_and_missing_dimensions_are_one_line():
    with pytest.raises(InvalidInput, match="name: got harmm; allowed: a shared one"):
        labelled("harmm", np.zeros(1), ["seed"])
    with pytest.raises(InvalidInput, match="dims: got None; allowed: the dimensions of harm"):
        labelled("harm", np.zeros(1))
