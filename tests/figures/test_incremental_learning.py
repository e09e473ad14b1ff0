"""The picture of modes learned one after another: theory and simulation, whatever was learned."""

import numpy as np
import pytest
import xarray as xr

from figures import incremental_learning as figure
from linsim.errors import InvalidInput
from linsim.finding import Finding
from tests.figures.pictures import assert_redrawn, in_full, words

BUDGETS = np.unique(np.geomspace(5, 5000, 60).astype(int))
SIGMA = 2 / np.arange(1, 4)


def result(depths=(1, 2), scales=(1e-4, 1e-2), seeds=2):
    """Logistic curves at two layers, exponentials at one."""
    time = 0.005 * BUDGETS[:, None]
    curves = np.stack(
        [
            [
                1 - np.exp(-2 * time) * np.ones(3)
                if depth == 1
                else 1 / (1 + (SIGMA / s - 1) * np.exp(-4 * SIGMA * time))
                for s in scales
            ]
            for depth in depths
        ]
    )
    half = np.log(np.asarray(scales)[:, None] ** -1 * SIGMA) / SIGMA / 0.02 * np.ones((len(depths), 1, 1))
    share = np.stack(
        [[[0.5, 0.5, np.nan] if depth == 1 else [s**0.5, s**0.3, np.nan] for s in scales] for depth in depths]
    )
    variables = {"strength": ("mode", SIGMA)}
    for kind in ("aligned", "random", "predicted"):
        extra, shape = (("seed",), (seeds,)) if kind == "random" else ((), ())
        for name, values in (("learned", curves), ("half_learned_steps", half), ("overlap", share)):
            axes = ("depth", "scale", *(["pretrain_steps"] if name == "learned" else []), "mode", *extra)
            spread = values[..., None] * np.linspace(1, 0.8, seeds) if extra else values
            variables[f"{kind}_{name}"] = (axes, spread.reshape(*values.shape, *shape))
    coords = {"depth": list(depths), "scale": list(scales), "pretrain_steps": BUDGETS, "mode": [1, 2, 3]}
    return xr.Dataset(variables, coords | {"seed": np.arange(seeds)})


def test_theory_is_drawn_as_lines_and_simulation_as_hollow_markers():
    drawn = figure.draw(result())
    control, steps, random, sharpness = drawn.get_axes()
    for axes in (control, steps):
        lines = [line for line in axes.lines if len(line.get_xdata()) == len(BUDGETS)]
        marked = [line for line in lines if line.get_marker() not in ("None", None)]
        assert len(marked) == 3
        assert all(line.get_linestyle() == "None" and line.get_markerfacecolor() == "white" for line in marked)
        assert len(lines) == 6
    assert len(random.collections) == 3  # a band for each mode
    assert "range of 2 seeds" in words(drawn)
    theory = [line for line in sharpness.lines if line.get_marker() == "None"]
    np.testing.assert_allclose(theory[1].get_ydata(), [0.01, 0.1])


def test_bars_of_random_starts_carry_the_marker_of_their_depth():
    sharpness = figure.draw(result(depths=(1, 2, 3))).get_axes()[3]
    alone = [line for line in sharpness.lines if line.get_linestyle() == "None"]
    entries = sharpness.get_legend().get_lines()[:3]
    assert [line.get_marker() for line in alone[3:]] == [line.get_marker() for line in entries]
    assert len({line.get_marker() for line in alone[3:]}) == 3
    assert all(line.get_markerfacecolor() == "white" for line in alone)


def test_the_title_is_what_was_found():
    found = Finding("Steps are sharp at 2 of 2 depths", "seen")
    assert "Steps are sharp at 2 of 2 depths" in words(figure.draw(found.stored_in(result())))


RESULTS = {
    "one seed": lambda: result(seeds=1),
    "one budget": lambda: result().isel(pretrain_steps=[0]),
    "no closed form": lambda: result().assign({"predicted_learned": lambda x: x["predicted_learned"] * np.nan}),
    "nothing learned": lambda: result().map(lambda x: x if x.name == "strength" else x * np.nan),
    "one mode": lambda: result().isel(mode=[0]),
    "deep only": lambda: result(depths=(2,)),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", RESULTS)
def test_any_result_can_be_drawn(name):
    drawn = figure.draw(RESULTS[name]())
    in_full(drawn)


def test_a_stored_result_is_redrawn_with_the_same_bytes(tmp_path, capsys):
    assert_redrawn(figure, result(), tmp_path)
    capsys.readouterr()
    with pytest.raises(InvalidInput, match="a result of incremental_learning"):
        figure.draw(result().drop_vars("strength"))
