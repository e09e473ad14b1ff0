"""The figure draws any chart, says what is in it, and gives the same bytes every time."""

import dataclasses

import numpy as np
import pytest

from experiments.overtraining_chart import Config, run
from figures import __main__ as command
from figures import overtraining_chart as figure
from figures.cells import cells_of, chosen_cells
from figures.panels.maps import crossings, scale
from linsim.commands.config import FinetuneConfig, NetworkConfig, PretrainConfig, RefinedConfig, TaskConfig
from linsim.errors import InvalidInput
from linsim.finding import Finding
from linsim.storage import store
from tests.figures.pictures import words

SMALL = Config(
    dim=4,
    pretrain=PretrainConfig(steps=6000, budgets=12),
    finetune=FinetuneConfig(steps=200, rates=7, strengths=6, highest_rate=0.02),
)
GAUSSIAN = dataclasses.replace(
    SMALL, seeds=3, network=NetworkConfig(init="gaussian"), task=TaskConfig(bases="random"), dim=3
)


def wide(**changes):
    return dataclasses.replace(SMALL, finetune=dataclasses.replace(SMALL.finetune, **changes))


@pytest.fixture(scope="module")
def chart():
    return run(SMALL)


def test_theory_is_lines_and_simulation_is_points(chart):
    text = words(figure.draw(chart))
    for part in ("closed form", "simulation", "before fine-tuning", "inflection point", "steps", "squared output"):
        assert part in text
    assert " ".join(Finding.of(chart).sentence.split()) in text


CHARTS = {
    "several seeds, no closed form": (lambda: run(GAUSSIAN), "range of 3 seeds", "Simulation only"),
    "one cell": (lambda: run(wide(rates=1, strengths=1)), "harm"),
    "one rate": (lambda: run(wide(rates=1)), "harm"),
    "two by two": (lambda: run(wide(rates=2, strengths=2)), "harm"),
    "no strength 0": (lambda: run(wide(regularizations=(0.5, 1.0, 2.0))), "harm"),
    "diverged lanes": (lambda: run(wide(highest_rate=5.0)), "runs diverged"),
    "all diverged": (lambda: run(wide(learning_rates=(50.0, 90.0))), "every fine-tuning run diverged"),
    "no turn": (
        # Stable rates: beyond, rounding grows, and what it grows to depends on the compiler.
        lambda: run(
            dataclasses.replace(
                wide(highest_rate=0.005),
                shift=dataclasses.replace(SMALL.shift, rescale_factor=1.0),
                pretrain=RefinedConfig(**vars(SMALL.pretrain)),
            )
        ),
        "More pre-training never hurts within these budgets",
    ),
    "weight decay": (lambda: run(wide(regularizer="weight_decay")), "weight decay strength"),
    "one budget": (
        lambda: run(dataclasses.replace(SMALL, pretrain=PretrainConfig(steps=900, budgets=1))),
        "never turns",
    ),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", CHARTS)
def test_any_chart_can_be_drawn_and_says_what_is_in_it(tmp_path, name):
    make, *said = CHARTS[name]
    dataset = make()
    assert all(path.stat().st_size > 10_000 for path in figure.save(dataset, tmp_path))
    text = words(figure.draw(dataset))
    assert all(part in text for part in said), text


def test_cells_beyond_the_edge_of_stability_are_hatched_and_out_of_medians_and_curves(chart):
    stable = chart.assign(unstable=chart["unstable"] & False)
    assert "some runs unstable" not in words(figure.draw(stable))
    chosen = chosen_cells(cells_of(stable))
    unstable = stable["unstable"].copy(deep=True)
    unstable[:, *chosen[-1]] = True
    cells = cells_of(stable.assign(unstable=unstable))
    assert np.argwhere(cells.unstable).tolist() == [list(chosen[-1])]
    assert np.isnan(cells.harm[chosen[-1]])
    assert not cells.never_turns[chosen[-1]]
    assert chosen[-1] not in chosen_cells(cells)
    assert "some runs unstable" in words(figure.draw(stable.assign(unstable=unstable)))
    assert not cells_of(chart.drop_vars("unstable")).unstable.any()  # a result of earlier days


def test_the_same_chart_gives_the_same_bytes(chart, tmp_path):
    first, second = (figure.save(chart, tmp_path / name) for name in ("a", "b"))
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert not any(word in one.read_bytes() for word in (b"<dc:date>", b"Matplotlib v", b"Creation Time"))


def test_a_stored_chart_is_redrawn_from_the_command_line(chart, tmp_path, capsys):
    store.save(chart, tmp_path)
    assert command.main(["overtraining_chart", "--data", str(tmp_path), "--out", str(tmp_path / "gallery")]) == 0
    assert (tmp_path / "gallery" / "overtraining_chart.svg").is_file()
    capsys.readouterr()
    assert command.main(["overtraining_chart", "--data", str(tmp_path / "absent")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    (tmp_path / "file").write_text("")
    assert command.main(["overtraining_chart", "--data", str(tmp_path), "--out", str(tmp_path / "file")]) == 3
    assert "could not be drawn" in capsys.readouterr().err


def test_what_is_no_chart_is_refused(chart):
    with pytest.raises(InvalidInput, match="dataset: got no harm, inflection_steps; allowed: an overtraining chart"):
        figure.draw(chart.drop_vars(["harm", "inflection_steps"]))


def test_contours_stand_where_harm_crosses_their_level(chart):
    # Harm growing by a decade a column crosses 1 exactly on the column where it is 1, and halfway between 0.1 and 10.
    rates, strengths = scale(np.asarray([1e-3, 1e-1])), scale(np.asarray([1.0, 10.0]))
    points = crossings(np.asarray([[0.1, 0.1], [10.0, 10.0]]), 1.0, rates, strengths)
    np.testing.assert_allclose(points, [[-2.0, 0.0], [-2.0, 1.0]])
