"""What every experiment on a finding of the paper has: the same basic flags, claims, a figure, a place in the notes."""

import dataclasses
from importlib import import_module
from pathlib import Path

import pytest

from figures.gallery import GALLERY
from linsim.claims.registry import CLAIMS
from linsim.commands import cli

ROOT = Path(__file__).parent.parent.parent
NAMES = [
    "incremental_learning",
    "progressive_sensitivity",
    "fixed_rate",
    "tuned_rate",
    "finite_sample",
    "regularization",
    "checkpoint_pair",
    "depth_and_width",
    "rich_and_lazy",
    "stages",
]
BASIC = ("dim", "depth", "seeds", "seed", "solver", "precision", "task", "network", "pretrain")


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def test_it_takes_the_basic_flags_and_says_what_each_field_means(name, capsys):
    experiment = import_module(f"experiments.{name}")
    fields = {field.name for field in dataclasses.fields(experiment.Config)}
    assert set(BASIC) <= fields
    given = ["--overwrite", "--seeds", "2"]
    config, output = cli.parse(experiment.Config, cli.Sweeping, f"experiments.{name}", experiment.__doc__, given)
    assert config == dataclasses.replace(experiment.Config(), seeds=2)
    assert output.out == Path("results") / name
    with pytest.raises(SystemExit) as stop:
        experiment.main(["--help"])
    assert stop.value.code == 0
    assert f"experiments.{name}" in capsys.readouterr().out


@pytest.mark.parametrize("bad", [["--dim", "0"], ["--seeds", "0"], ["--pretrain.steps", "0"], ["--solver", "none"]])
def test_bad_input_is_one_line_and_leaves_nothing(name, bad, refused):
    told = refused(import_module(f"experiments.{name}").main, bad)
    assert bad[0].removeprefix("--") in told
    assert bad[1] in told


def test_it_stands_on_claims_that_exist(name):
    module = import_module(f"experiments.{name}")
    claims = getattr(module, "CLAIMS", ()) or module.experiment.claims
    assert len(claims) > 0
    assert set(claims) <= set(CLAIMS)


def test_it_has_a_picture_and_a_section_in_the_notes(name):
    assert name in {entry.name for entry in GALLERY}
    assert f"`experiments/{name}.py`" in (ROOT / "paper_notes.md").read_text() or (
        f"`experiments/{name}/`" in (ROOT / "paper_notes.md").read_text()
    )
