"""What a command line says: help, values, files, and one line for whatever cannot be read."""

import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from linsim.commands.cli import Folder
from linsim.commands.config import ChartConfig, as_json
from linsim.commands.files import as_toml, saying
from linsim.commands.flags import flags_of
from linsim.commands.reading import parse
from linsim.errors import InvalidInput


@dataclass(frozen=True)
class Inner:
    """The inner part."""

    steps: int = 3
    """How many,
    in steps."""
    rate: float | None = 0.1
    """How fast."""
    sides: tuple[Literal["left", "right"], ...] = ()
    """Which."""


@dataclass(frozen=True)
class Config:
    """What is asked."""

    width: int | None = None
    """How wide; default as wide as it goes."""
    values: tuple[float, ...] | None = None
    """Some numbers."""
    place: Path | None = None
    """Where."""
    drawn: bool = True
    """Whether."""
    inner: Inner = field(default_factory=lambda: Inner(steps=7))
    last: str = "z"
    """Beside the others, though it comes after the inner part."""


def read(*words):
    return parse(Config, Folder, "experiments.odd", "Is it odd?\n\n    python -m experiments.odd\n", words)[0]


def test_help_begins_with_the_question_and_groups_flags_by_what_they_change(capsys):
    with pytest.raises(SystemExit) as stop:
        read("--width", "3", "--help")
    told = capsys.readouterr().out
    assert stop.value.code == 0
    assert told.startswith("Is it odd?\n\n    python -m experiments.odd\n")
    groups = [line for line in told.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert groups == ["What is asked:", "The inner part:", "Where the result goes, and the configuration comes from:"]
    for line in (
        "  --width INTEGER\n      How wide; default as wide as it goes.\n",
        "  --inner.steps INTEGER  (default: 7)\n      How many, in steps.\n",
        "  --inner.sides {left,right} ...\n",
        "  --drawn, --no-drawn  (default: on)\n",
        "  --out PATH  (default: results/odd)\n",
    ):
        assert line in told
    assert "None" not in told


@pytest.mark.parametrize(
    ("words", "config"),
    [
        (["--width", "1e6", "--inner.steps", "2.0"], Config(width=10**6, inner=Inner(steps=2))),
        (["--width", "3", "--width", "None"], Config(inner=Inner(steps=7))),
        (["--inner.rate", "None"], Config(inner=Inner(steps=7, rate=None))),
        (["--values", "-1e-3", "2", "--no-drawn"], Config(values=(-1e-3, 2.0), drawn=False, inner=Inner(steps=7))),
        (
            ["--inner.sides", "left", "right", "--place=a"],
            Config(None, None, Path("a"), True, Inner(7, 0.1, ("left", "right"))),
        ),
    ],
)
def test_values_are_read(words, config):
    assert read(*words) == config


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--width", "x"], "width: got x; allowed: an integer, or None"),
        (["--inner.steps", "1.5"], "inner.steps: got 1.5; allowed: an integer"),
        (["--inner.steps", "1e300"], "inner.steps: got 1e300; allowed: an integer"),
        (["--inner.steps"], "inner.steps: got nothing; allowed: an integer"),
        (["--values", "1", "b"], "values: got 1 b; allowed: numbers, or None"),
        (["--inner.sides", "up"], "inner.sides: got up; allowed: any of left, right"),
        (["--widht", "3"], "--widht: no such flag; did you mean --width?"),
        (["--steps", "3"], "--steps: no such flag; did you mean --inner.steps?"),
        (["--no-drwan"], "--no-drwan: no such flag; did you mean --no-drawn?"),
        (["--zzz"], "--zzz: no such flag; see --help"),
        (["--drawn", "no"], "no: belongs to no flag; see --help"),
    ],
)
def test_what_cannot_be_read_is_one_line(words, said):
    with pytest.raises(InvalidInput) as caught:
        read(*words)
    assert str(caught.value) == said


CONFIGS = [
    Config(),
    Config(3, (1e-5, -2.0), Path('a "b" \\ ü'), False, Inner(1, None, ("left",))),
    ChartConfig(),
]


@pytest.mark.parametrize("config", CONFIGS, ids=["defaults", "all fields", "chart"])
def test_a_configuration_comes_back_from_toml_and_from_json(config, tmp_path, capsys):
    file = tmp_path / "config.toml"
    file.write_text(as_toml(config), encoding="utf-8")
    kind = type(config)
    assert parse(kind, Folder, "experiments.odd", "", ["--config", str(file)])[0] == config
    words = saying(json.loads(as_json(config)), list(flags_of(kind())), "result", "a result")
    assert parse(kind, Folder, "experiments.odd", "", words)[0] == config
    with pytest.raises(SystemExit):
        parse(kind, Folder, "experiments.odd", "", [*words, "--print-config"])
    assert capsys.readouterr().out == as_toml(config)


def test_print_config_says_what_every_field_is_for(capsys):
    with pytest.raises(SystemExit):
        read("--print-config", "--inner.rate", "None")
    told = capsys.readouterr().out
    assert '\n[inner]\n# How many, in steps.\nsteps = 7\n# How fast.\nrate = "None"\n' in told
    assert tomllib.loads(told)["drawn"] is True


def test_flags_count_more_than_the_file(tmp_path):
    (tmp_path / "a.toml").write_text("width = 5\ninner.steps = 1e3\n")
    config = read("--inner.steps", "4", f"--config={tmp_path}/a.toml")
    assert config == Config(width=5, inner=Inner(steps=4))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("widht = 3", "config: got widht in {}; allowed: fields that --help shows as flags; did you mean width?"),
        ("inner = 3", "config: got inner in {}; allowed: fields that --help shows as flags; did you mean inner."),
        (
            "[width]\nx = 1",
            "config: got width.x in {}; allowed: fields that --help shows as flags; did you mean width?",
        ),
        ("width = [3]", "width: got [3]; allowed: an integer, or None"),
        ("drawn = 1", "drawn: got 1; allowed: true or false"),
        ("width = true", "width: got True; allowed: an integer, or None"),
        ("width = 'a'", "width: got a; allowed: an integer, or None"),
        ("width", "config: got {}; allowed: a TOML file, such as --print-config writes (Expected '=' after a key "),
        (None, "config: got {}; allowed: a TOML file, such as --print-config writes (No such file or directory)"),
    ],
)
def test_a_file_that_does_not_fit_is_one_line(tmp_path, text, said):
    file = tmp_path / "a.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InvalidInput) as caught:
        read("--config", str(file))
    assert str(caught.value).startswith(said.format(file)[:100])
    assert "\n" not in str(caught.value)


def test_every_field_says_what_it_is_for():
    for flag in flags_of(ChartConfig()):
        assert flag.says, flag.field
