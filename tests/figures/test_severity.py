"""The picture of three questions: a row for each case, medians with intervals, and what is not told."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from figures import severity
from figures.severity import draw
from linsim.errors import InvalidInput
from linsim.finding import Finding
from linsim.labels import texts
from tests.figures.pictures import assert_redrawn

ROWS = (
    *(("training objective", "relabelled", name) for name in ("hard", "soft")),
    *(("optimiser", "tail", name) for name in ("descent", "Muon", "Adam")),
)


@pytest.fixture
def dataset():
    harm = np.array([[[0.5, 0.7], [0.1, 0.2]], [[0.0, 0.0], [0.0, 0.0]], *[[[3.0, 5.0], [np.nan, np.nan]]] * 3])
    questions, cases, names = (texts(list(column)) for column in zip(*ROWS, strict=True))
    found = xr.Dataset(
        {name: (("alternative", "recipe", "seed"), harm / part) for name, part in (("harm", 1), ("excess", 4))},
        {
            "recipe": texts(["one recipe", "equal effort"]),
            "seed": [0, 1],
            **{
                name: ("alternative", values)
                for name, values in (("question", questions), ("case", cases), ("name", names))
            },
        },
    )
    return Finding("Harm ranges", "seen", {}, (), "").stored_in(found)


def test_every_case_has_a_row_below_its_question_and_extremes_are_named(dataset):
    figure = draw(dataset)
    harm, excess = figure.axes
    assert [tick.get_text() for tick in harm.get_yticklabels()] == ["relabelled", "tail"]
    words = {text.get_text() for text in harm.texts}
    assert {"training objective", "optimiser", "hard", "soft"} <= words
    assert "Muon" not in words  # all three are alike
    assert "not told" in words
    assert {text.get_text() for text in excess.texts} == {"not told"}
    plt.close(figure)


def test_markers_are_at_medians_and_nothing_at_the_lower_end(dataset):
    figure = draw(dataset)
    points = {
        tuple(np.asarray(line.get_xdata(), float).round(6))
        for line in figure.axes[0].lines
        if len(line.get_xdata()) == 2
    }
    assert (0.6, 1e-3) in points
    plt.close(figure)


def test_a_stored_result_is_redrawn_with_the_same_bytes(dataset, tmp_path, capsys):
    assert_redrawn(severity, dataset, tmp_path)
    capsys.readouterr()


def test_what_is_no_result_is_refused(dataset):
    with pytest.raises(InvalidInput, match="dataset: got no excess; allowed: a result of severity"):
        draw(dataset.drop_vars("excess"))
