"""The figure of tuned rates: theory and simulation, its message, and results in which nothing happens."""

import io

import numpy as np
import pytest

from experiments.tuned_rate import Config, run
from experiments.tuned_rate.experiment import SampleConfig
from figures import tuned_rate as figure
from linsim.commands.config import FinetuneConfig, PretrainConfig
from linsim.errors import InvalidInput
from tests.figures.pictures import words

SMALL = Config(
    dim=3,
    seeds=2,
    factors=(2.0, 4.0),
    pretrain=PretrainConfig(steps=2000, budgets=8, learning_rate=0.02),
    finetune=FinetuneConfig(steps=40, rates=12, lowest_rate=1e-3, highest_rate=0.2, strengths=1),
    largest_rate=0.02,
    sample=SampleConfig(size=6),
)


@pytest.fixture(scope="module")
def result():
    return run(SMALL)


def test_theory_is_lines_and_simulation_is_hollow_markers(result):
    drawn = figure.draw(result)
    text = words(drawn)
    for part in ("closed form", "simulation (median)", "range of 2 seeds", "inflection point", "before fine-tuning"):
        assert part in text
    assert (
        "Tuning the rate removes the U on near tasks (×2), whose tuned rate falls; the U stays on far ones (×4)" in text
    )
    for axes in drawn.axes[:2]:
        markers = [line for line in axes.lines if line.get_linestyle() == "None" and line.get_marker() != "*"]
        assert len(markers) == 4
        assert all(line.get_markerfacecolor() == "white" for line in markers)
        assert sum(line.get_linestyle() != "None" for line in axes.lines) == 5  # four rules and the loss before
    assert (
        sum(line.get_linestyle() not in ("None", "none") for line in drawn.axes[2].lines) == 3
    )  # two tasks, the limit
    stars = [[line for line in axes.lines if line.get_marker() == "*" and len(line.get_xdata())] for axes in drawn.axes]
    assert len(stars[0]) == 1  # of the fixed rate alone
    assert len(stars[1]) == 2


def test_without_a_closed_form_markers_are_joined(result):
    bare = result.drop_vars([name for name in result if str(name).startswith("predicted_")])
    drawn = figure.draw(bare)
    assert "closed form" not in words(drawn)
    assert all(line.get_linestyle() != "None" for line in drawn.axes[2].lines if line.get_marker() != "<")


def test_the_same_result_gives_the_same_bytes(result, tmp_path):
    first, second = (figure.save(result, tmp_path / name) for name in ("a", "b"))
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_the_title_says_how_much_of_the_largest_rate_far_tasks_need(result):
    said = "which need more than half of the largest rate allowed"
    assert said in words(figure.draw(result))
    early = (result["rule"] == "tuned") & (result["pretrain_steps"] == result["pretrain_steps"][2])
    assert said not in words(figure.draw(result.assign(rule_time=result["rule_time"].where(~early, 0.39))))
    lost = result.assign(rule_harm=result["rule_harm"].where(result["rule"] != "fixed"))
    assert "whether tuning removes a U cannot be told" in words(figure.draw(lost))


def test_results_in_which_nothing_happens_are_drawn(result):
    flat = result.assign({name: 0 * result[name] for name in ("rule_harm", "fixed_harm", "tuned_harm")})
    assert "there is no U for tuning to remove" in words(figure.draw(flat))
    lost = result.assign({str(name): result[name] * np.nan for name in result if "rule_" in str(name)})
    lost = lost.assign({str(name): result[name] * np.nan for name in result if str(name).endswith("d_harm")})
    assert "Every fine-tuning run diverged" in words(figure.draw(lost))
    alone = result.isel(seed=[0], factor=[0], pretrain_steps=[-1])
    for dataset in lost, alone:
        figure.draw(dataset).savefig(io.BytesIO(), dpi=30)


def test_what_is_no_result_is_refused(result):
    with pytest.raises(InvalidInput, match="dataset: got no rule_time; allowed: a result of experiments.tuned_rate"):
        figure.draw(result.drop_vars("rule_time"))
