"""What a page of a result holds, read without a browser; what cannot be a page is one line."""

import base64
import errno
import json
import re
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import linsim as ls
from experiments import forecast, overtraining_chart
from experiments.forecast.finding import table as forecast_table
from figures import overtraining_chart as figure
from linsim.commands import cli
from linsim.finding import Finding
from linsim.labels import label, texts
from linsim.storage import store
from linsim.theory.turns import Criteria, material
from pages import __main__ as command
from pages import explorer
from pages.packing import packed
from pages.subject import subjects
from pages.tables import fronts, tables
from pages.thinning import MOST_ALONG, thinned
from pages.turning import turnings

STORED = Path(__file__).parents[2] / "figures/stored/transformer"


def data_of(text):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


def unpacked(told):
    """As the page does it, in other words."""
    planes = np.frombuffer(zlib.decompress(base64.b64decode(told["packed"])), np.uint8)
    size = 1 if told["kind"] == "flag" else 4
    bytes_ = np.ascontiguousarray(planes.reshape(size, -1).T)
    return bytes_.view("?" if size == 1 else "<f4").reshape(told["shape"])


def league(**changes):
    """Three ways by two losses, over two transfers."""
    losses = np.array([[3.0, 1.0], [2.0, 2.5], [0.5, 0.7]])
    dataset = xr.Dataset(
        {"ratio": (("way", "seed"), losses), "chosen": ("way", texts(["a", "b", "c"]))},
        {"way": texts(["replay", "decay", "<b>none</b>"]), "seed": [0, 1]},
    )
    return Finding("One way is best", "seen", **changes).stored_in(dataset.assign_attrs(experiment="league"))


def test_everything_is_inline_and_no_host_is_named(chart_page):
    asked = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            asked.extend(value for name, value in attributes if name in ("src", "href", "action", "srcset"))

    text = chart_page.read_text()
    Reader().feed(text)
    assert asked == ["data:,"]
    assert set(re.findall(r"\w+://[^\s\"'`]+", text)) == {"http://www.w3.org/2000/svg"}
    assert "@import" not in text and "url(http" not in text
    assert re.search(r'http-equiv="Content-Security-Policy" content="default-src \'none\'', text)


def test_the_page_holds_the_numbers_of_the_result(chart, chart_page):
    (view,) = data_of(chart_page.read_text())["views"]
    for name in ("pretrain_loss_after", "finetune_loss_after", "predicted_pretrain_loss_after", "hessian_trace"):
        if name in chart:
            told = view["variables"][name]
            right = chart[name].transpose(*told["dims"]).values
            with np.errstate(over="ignore"):  # runs that diverge
                np.testing.assert_array_equal(unpacked(told), right.astype(np.float32))
    assert view["axes"]["pretrain_steps"]["values"] == chart["pretrain_steps"].values.tolist()
    assert set(view["curves"]) >= {"pretrain_loss_after", "pretrain_loss_before", "hessian_trace"}


def test_arrays_come_back_to_the_last_bit():
    numbers = np.array([[0.0, -1.5, np.inf], [np.nan, 1e-30, -np.inf]])
    np.testing.assert_array_equal(unpacked(packed(numbers)), numbers.astype(np.float32))
    np.testing.assert_array_equal(unpacked(packed(numbers > 0)), numbers > 0)


@pytest.mark.parametrize(("harm", "excess"), [(0.01, 0.001), (0.3, 0.001), (0.01, 0.2), (2.0, 0.0), (0.0, 0.0)])
def test_the_sliders_move_the_turns_as_the_library_would(chart, harm, excess):
    """What judges a turn is stored apart from where it is: both as `locate` has them, whatever the criteria."""
    dataset = label(chart)
    (subject,) = subjects(dataset)
    judged, (turning, *_) = turnings(dataset, subject)
    assert turning.judged is not None
    criteria = Criteria(least_harm=harm, least_excess=excess)
    lost = (chart["diverged"] | chart["unstable"]).transpose("pretrain_steps", ...)
    right = ls.locate(
        chart["pretrain_steps"].values,
        chart["pretrain_loss_after"].transpose(*lost.dims).values,
        lost.values,
        scale=chart.attrs["zero_loss"],
        floor=chart.attrs["rounding_floor"],
        criteria=criteria,
    )
    told = material(*(judged[name].transpose(*lost.dims[1:]).values for name in turning.judged), criteria)
    np.testing.assert_array_equal(told, ~np.isnan(right.steps))
    place = judged[turning.place].transpose(*lost.dims[1:]).values
    # Below the criteria of the result a turn is not resolved any more, and the library tells a budget in its place.
    apart = 1e-12 if harm >= 0.01 and excess >= 0.001 else 0.05
    np.testing.assert_allclose(place[told], right.steps[told], rtol=apart)


def test_a_result_whose_turns_were_told_otherwise_keeps_them():
    dataset = store.load(STORED)
    (subject,) = subjects(dataset)
    _, (turning,) = turnings(dataset, subject)
    assert turning.judged is None
    assert turning.place == "inflection_steps"


def test_words_of_a_result_cannot_become_part_of_the_page():
    text, _ = explorer.page(league(trust="</script><script>alert(1)</script>"))
    assert text.count("</script>") == 2
    assert data_of(text)["finding"]["trust"] == "</script><script>alert(1)</script>"


def watched():
    """Readings of checkpoints, as `linsim watch` leaves them: no fine-tuning."""
    names = ("fisher", "fisher_error", "loss_ratio", "loss", "loss_error")
    readings = {name: ("pretrain_steps", np.linspace(1.0, 2.45, 4) + at) for at, name in enumerate(names)}
    layers = {"fisher_by_layer_error": (("pretrain_steps", "layer"), np.ones((4, 2)))}
    dataset = xr.Dataset(readings | layers, {"pretrain_steps": [1, 2, 5, 9], "layer": texts(["a", "b"])})
    return Finding("No alarm rings", "not seen").stored_in(dataset.assign_attrs(experiment="watch"))


def test_the_curve_of_checkpoints_is_their_loss_and_going_on_has_no_cost(chart):
    (view,) = data_of(explorer.page(watched())[0])["views"]
    assert (view["loss"], view["costs"]) == ("loss", False)
    (subject,) = subjects(watched().drop_vars("loss"))
    assert subject.loss in ("fisher", "loss_ratio"), "no error, though it has more axes"
    (view,) = data_of(explorer.page(chart)[0])["views"]
    assert (view["loss"], view["costs"]) == ("pretrain_loss_after", True)


def test_a_page_is_the_same_of_a_result_in_memory_and_of_one_that_was_stored(tmp_path):
    for result in (watched(), league()):
        file = tmp_path / result.attrs["experiment"]
        store.save(result, file)
        right = data_of(explorer.page(result)[0])
        for other in (store.load(file), result[list(result.data_vars)[::-1]]):
            told = data_of(explorer.page(other)[0])
            assert [told[part] for part in ("views", "tables")] == [right[part] for part in ("views", "tables")]


def test_a_table_has_a_row_for_each_case_and_the_range_over_seeds():
    (table,), left_out = tables(league())
    assert left_out == []
    assert [axis["name"] for axis in table["axes"]] == ["way"]
    assert [column["name"] for column in table["columns"]] == ["ratio", "chosen"]
    assert table["rows"][0] == ["replay", [2.0, 1.0, 3.0], "a"]


def test_an_infinite_number_is_what_the_result_calls_it():
    turns = [[500.0, np.inf], [np.inf, np.inf], [np.nan, np.nan], [600.0, 700.0]]
    runs = xr.Dataset({"turn": (("run", "seed"), turns)}, {"run": texts(list("abcd")), "seed": [0, 1]})
    (table,), _ = tables(runs)
    assert [row[1] for row in table["rows"]] == [[500.0] * 3, None, None, [650.0, 600.0, 700.0]]
    runs["turn"].attrs["beyond"] = "> 8000"
    (table,), _ = tables(runs)
    told = [["> 8000", 500.0, "> 8000"], ["> 8000"] * 3, None, [650.0, 600.0, 700.0]]
    assert [row[1] for row in table["rows"]] == told


def test_the_page_of_a_forecast_says_of_every_turn_what_the_terminal_says():
    result = forecast.experiment.run(forecast.Config())
    (told,) = [each for each in data_of(explorer.page(result)[0])["tables"] if len(each["axes"]) == 1]
    at = [each["name"] for each in told["columns"]].index("turn_high") + 1
    _, *rows = forecast_table(result)
    right = [re.search(r"(> )?[\d.e+]+(?= {2,}[a-z ]+$)", row)[0] for row in rows]
    said = [row[at][0] if isinstance(row[at][0], str) else f"{row[at][0]:.3g}" for row in told["rows"]]
    assert said == right
    assert any(each.startswith("> ") for each in said)


def test_a_table_that_is_too_long_is_left_out_and_told():
    ways = texts([str(way) for way in range(1001)])
    long = xr.Dataset({"ratio": ("way", np.zeros(1001))}, {"way": ways})
    assert tables(long) == ([], ["no table by way of 1001 rows"])


def test_a_front_keeps_what_nothing_beats():
    losses = {"finetune_loss_after": [[1.0, 2.0, 3.0, 2.5]], "pretrain_loss_after": [[4.0, 3.0, 3.5, 1.0]]}
    dataset = xr.Dataset({name: (("way", "rate"), np.array(values)) for name, values in losses.items()})
    (front,), _ = fronts(dataset.assign_coords(way=texts(["one"])))
    assert front == {"words": "one", "points": [[1.0, 4.0], [2.0, 3.0], [2.5, 1.0]]}


def test_what_browsers_do_not_bear_is_thinned_and_told(chart, tmp_path, capsys):
    wide = chart.isel(learning_rate=np.repeat(np.arange(6), 20)).assign_coords(learning_rate=np.geomspace(1e-5, 1, 120))
    (subject,) = subjects(wide)
    kept, said = thinned(wide, subject)
    assert kept.sizes["learning_rate"] == MOST_ALONG
    assert said == [f"{MOST_ALONG} of 120 learning rate values"]
    assert kept["learning_rate"].values[[0, -1]].tolist() == [1e-5, 1.0]
    less, said = thinned(wide, subject, most=40_000)
    assert less.nbytes < kept.nbytes
    assert said[-1] == f"24 of {wide.sizes['pretrain_steps']} pretrain steps values"
    assert less["pretrain_steps"].values[-1] == wide["pretrain_steps"].values[-1]
    store.save(wide, tmp_path)
    assert command.main([str(tmp_path)]) == 0
    page, told = capsys.readouterr().out.splitlines()
    assert page.startswith(str(tmp_path / "overtraining_chart.html"))
    assert told == f"Thinned, as the whole is more than browsers bear: {MOST_ALONG} of 120 learning rate values."


def test_a_page_lies_beside_every_picture_unless_it_is_not_wanted(chart, tmp_path, monkeypatch):
    def drawn(dataset, folder):
        for path in (paths := [folder / f"overtraining_chart.{kind}" for kind in ("png", "svg")]):
            path.touch()
        return paths

    monkeypatch.setattr(figure, "save", drawn)
    flags = cli.Sweeping(out=tmp_path)
    for wanted, names in (
        (flags, {"overtraining_chart.html", "overtraining_chart.png", "overtraining_chart.svg"}),
        (replace(flags, page=False), {"overtraining_chart.png", "overtraining_chart.svg"}),
        (replace(flags, figure=False), set()),
    ):
        told = overtraining_chart.experiment._draw(chart, wanted)
        assert {path.name for path in told} == names == {path.name for path in tmp_path.iterdir()}


BARE = xr.Dataset({"matrix": (("output", "input"), np.eye(2))})
BAD = {
    "nothing named": ([], "result: got none; allowed: the folder of a result, or --theory"),
    "both": (["{result}", "--theory"], "result: got {result}; allowed: none beside --theory"),
    "no result": (["{empty}"], "folder: got {empty}; allowed: a folder with a data.zarr inside"),
    "no map": (["{bare}"], "result: got bare over output, input; allowed: a result with a map or curves over budgets"),
    "older": (
        ["{older}"],
        "result: got one without a finding; allowed: .*`linsim again` computes that of an older ver",
    ),
    "a folder": (["{result}", "--out", "{empty}"], "out: got {empty}; allowed: a file, not a folder"),
    "a flag": (["{result}", "--outt", "x"], "unrecognized arguments: --outt x; see --help"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(name, tmp_path, capsys):
    words, line = BAD[name]
    places = {each: tmp_path / each for each in ("result", "empty", "bare", "older")}
    places["empty"].mkdir()
    store.save(league(), places["result"])
    store.save(Finding("Nothing", "seen").stored_in(BARE.assign_attrs(experiment="bare")), places["bare"])
    store.save(BARE, places["older"])
    try:
        status = command.main([word.format(**places) for word in words])
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    (told,) = capsys.readouterr().err.strip().splitlines()
    assert re.match(line.format(**places), told), told
    assert not list(tmp_path.rglob("*.html"))


@pytest.mark.parametrize("name", ["../../evil", "{tmp}/absolute", "", "..", "</script>", "a b", "a\n", "a" * 300])
def test_a_page_lies_in_the_folder_of_its_result_whatever_that_calls_itself(name, tmp_path):
    name = name.format(tmp=tmp_path)
    result = tmp_path / "runs" / "one"
    store.save(league().assign_attrs(experiment=name), result)
    assert command.main([str(result)]) == 0
    explorer.save(league(), result.parent, name)
    pages = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*html*")}
    assert pages == {"runs/one/result.html", "runs/result.html"}
    assert {path.name for path in tmp_path.iterdir()} == {"runs"}


def test_a_full_disk_leaves_nothing_behind(tmp_path, capsys, monkeypatch):
    store.save(league(), tmp_path / "result")

    def full(path, text, **about):
        path.write_bytes(text.encode()[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    assert command.main([str(tmp_path / "result"), "--out", str(tmp_path / "a.html")]) == 3
    assert capsys.readouterr().err == f"not written: {tmp_path / 'a.html'} (No space left on device)\n"
    assert {path.name for path in tmp_path.iterdir()} == {"result"}


def test_a_page_that_cannot_be_written_is_one_line(tmp_path, capsys):
    store.save(league(), tmp_path / "result")
    (tmp_path / "file").write_text("")
    assert command.main([str(tmp_path / "result"), "--out", str(tmp_path / "file" / "page.html")]) == 3
    assert re.match(r"not written: .*page.html \(.*\)\n$", capsys.readouterr().err)
