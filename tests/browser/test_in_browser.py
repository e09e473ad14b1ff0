"""The pages as somebody uses them: pointer, keyboard, sliders, links; and whether everybody can."""

import re

import numpy as np
import pytest
import xarray as xr

import linsim as ls
from figures.cells import cells_of
from linsim.finding import Finding
from linsim.theory.turns import Criteria
from pages import explorer, theory
from pages.page import write
from tests.browser.test_explorer import league, watched

COLUMNS = 6
WIDTHS = (360, 800, 1400)


def cell(page, rate, strength):
    return page.locator(f'#map [data-at="{strength * COLUMNS + rate}"]')


def told(page, name, column=0):
    """A number of a cell, as the table beside the map tells it."""
    return page.locator(f'#cells td[data-name="{name}"]').nth(column).inner_text()


def labels(page):
    """What is read aloud of every cell, by rate and strength."""
    found = page.eval_on_selector_all("#map [data-at]", "cells => cells.map(each => each.getAttribute('aria-label'))")
    return np.array(found).reshape(-1, COLUMNS).T


def slid(page, name, place):
    page.eval_on_selector(
        f"#{name}", "(each, place) => { each.value = place; each.dispatchEvent(new Event('input')); }", place
    )


def fragment(page):
    return page.evaluate("location.hash")


def number(text):
    """What `short` writes, read back."""
    text = text.replace("\u2212", "-").replace("\u202f", "")
    return {"no turn": np.inf, "unknown": np.nan}.get(text) or float(re.match(r"[-\d.e]+", text)[0])


def test_every_cell_says_what_the_figure_shows(opened, chart_page, chart):
    page = opened(chart_page)
    cells = cells_of(chart)
    for at, label in np.ndenumerate(labels(page)):
        said = number(re.search(r"inflection budget \(steps\): (.*?)(;|$)", label)[1])
        right = np.inf if cells.never_turns[at] else cells.inflection[at]
        np.testing.assert_allclose(said, right, rtol=1e-3, atol=0.5)
        assert ("beyond the edge" in label) == (cells.unstable[at] and not cells.some_diverged[at])
        assert ("some runs diverged" in label) == cells.some_diverged[at]
        assert ("all runs diverged" in label) == cells.all_diverged[at]
    assert int(page.get_attribute("#map", "data-turned")) == np.isfinite(cells.inflection).sum() > 0
    kinds = page.eval_on_selector_all("#map .hatches path", "paths => paths.map(each => each.dataset.kind)")
    assert {"never", "some"} <= set(kinds)


def test_pointing_at_a_cell_tells_its_numbers_and_draws_its_curves(opened, chart_page, chart):
    page = opened(chart_page)
    drawn = {}
    for rate in (1, 3):
        cell(page, rate, 0).hover()
        assert number(told(page, "fine-tuning learning rate")) == pytest.approx(
            float(chart["learning_rate"][rate]), 2e-3
        )
        middle = chart["pretrain_loss_after"].isel(learning_rate=rate, regularization=0).median("seed")
        at = int(page.input_value("#budget"))
        assert number(told(page, "pre-training loss after fine-tuning at the budget")) == pytest.approx(
            float(middle[at]), rel=5e-3
        )
        drawn[rate] = page.get_attribute(
            "#losses .line[data-name='closed form'], #losses .line[data-name='simulated']", "d"
        )
    assert drawn[1] != drawn[3]
    assert page.get_attribute("#losses .band", "d").startswith("M"), "seeds as a band"


def test_clicking_pins_and_unpinning_takes_it_away_again(opened, chart_page):
    page = opened(chart_page)
    cell(page, 3, 0).click()
    cell(page, 1, 2).click()
    assert fragment(page) == "#pins=3%2C13"
    assert cell(page, 3, 0).get_attribute("aria-selected") == "true"
    assert page.locator("#cells .chip").all_inner_texts() == ["1", "2"]
    assert page.locator("#map .pin").count() == 2
    page.get_by_role("button", name="Unpin").first.click()
    assert fragment(page) == "#pins=13"
    assert cell(page, 3, 0).get_attribute("aria-selected") == "false"


def test_a_cell_is_pinned_without_a_mouse(opened, chart_page):
    page = opened(chart_page)
    page.locator("#reset").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('role')") == "gridcell"
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "ArrowLeft", "End", "ArrowLeft", "Enter"):
        page.keyboard.press(key)
    assert fragment(page) == f"#pins={COLUMNS + 4}"
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("rate ")
    assert page.locator("#map [tabindex='0']").count() == 1, "one stop among all cells"
    page.keyboard.press("Space")
    assert fragment(page) == ""


def test_sliders_of_the_criteria_move_the_boundary_as_the_library_would(opened, chart_page, chart):
    page = opened(chart_page)
    lost = (chart["diverged"] | chart["unstable"]).transpose(
        "pretrain_steps", "learning_rate", "regularization", "seed"
    )
    losses = chart["pretrain_loss_after"].transpose(*lost.dims).values
    scales = {"scale": chart.attrs["zero_loss"], "floor": chart.attrs["rounding_floor"]}
    counts = set()
    for name, place in (("harm", 90), ("harm", 110), ("excess", 95)):
        slid(page, name, place)
        hash = dict(re.findall(r"(\w+)=([^&]*)", fragment(page)))
        criteria = Criteria(least_harm=float(hash["harm"]), least_excess=float(hash.get("excess", 0.001)))
        turn = ls.locate(chart["pretrain_steps"].values, losses, lost.values, **scales, criteria=criteria)
        told = chart.assign(inflection_steps=(lost.dims[1:], turn.steps))
        count = np.isfinite(cells_of(told).inflection).sum()
        assert int(page.get_attribute("#map", "data-turned")) == count
        assert f"({count} of " in page.inner_text("#map-keys")
        counts.add(int(count))
    assert len(counts) > 1
    page.click("#reset")
    assert int(page.get_attribute("#map", "data-turned")) == np.isfinite(cells_of(chart).inflection).sum()


def test_the_slider_of_the_budget_colours_by_what_going_on_costs(opened, chart_page, chart):
    page = opened(chart_page)
    before = page.get_attribute("#map [data-at]", "fill")
    slid(page, "budget", 2)
    assert page.input_value("#quantity") == "cost"
    assert page.get_attribute("#map [data-at]", "fill") != before
    losses = chart["pretrain_loss_after"].where(~(chart["diverged"] | chart["unstable"]))
    cost = (losses[-1] / losses[2] - 1) if losses.dims[0] == "pretrain_steps" else None
    right = cost.median("seed").transpose("learning_rate", "regularization").values
    for at, label in np.ndenumerate(labels(page)):
        said = re.search(r"from the budget: (.*?)(;|$)", label)[1].replace("\u2212", "-")
        if np.isnan(right[at]):
            assert said == "unknown"
        elif not said.startswith("×"):
            assert float(said.split()[0]) == pytest.approx(100 * right[at], rel=2e-2, abs=0.01)


def test_what_going_on_costs_is_told_of_losses_after_fine_tuning_alone(opened, chart_page, tmp_path):
    assert "what going on would cost" in opened(chart_page).inner_text("#cells")
    page = opened(write(explorer.page(watched())[0], tmp_path / "watch.html"))
    assert page.inner_text("#losses figcaption") == "loss of a task"
    assert "what going on would cost" not in page.inner_text("#cells")


def test_a_page_without_a_map_speaks_of_none(opened, chart_page, tmp_path):
    one = watched().drop_dims("layer")
    page = opened(write(explorer.page(one)[0], tmp_path / "watch.html"))
    assert page.inner_text("#explore-title") == "Curves"
    assert page.is_hidden("#map") and page.is_hidden("#all")
    assert not [words for words in ("map", "pinned") if words in page.inner_text("#explore").lower()]
    page = opened(chart_page)
    assert page.inner_text("#explore-title") == "Map and curves"
    assert page.is_visible("#all")


def test_the_map_is_a_table_as_well_sorted_by_any_column(opened, chart_page):
    page = opened(chart_page)
    page.locator("#all summary").click()
    rows = page.locator("#all-table tbody tr")
    assert rows.count() == 3 * COLUMNS
    head = page.locator("#all-table thead th", has_text="harm").first
    for order in ("ascending", "descending"):
        head.get_by_role("button").click()
        head = page.locator("#all-table thead th[aria-sort$='cending']")
        assert head.get_attribute("aria-sort") == order
    assert page.evaluate("document.activeElement.closest('th').getAttribute('aria-sort')") == "descending"
    rows.nth(0).get_by_role("button").click()
    assert "pins=" in fragment(page)


def test_a_league_is_sorted_and_its_words_are_words(opened, tmp_path):
    page = opened(write(explorer.page(league(details=("<i>plain</i>",)))[0], tmp_path / "league.html"))
    assert page.is_hidden("#explore")
    first = "#league-table tbody tr:first-child th"
    page.locator("#league-table thead button").nth(1).click()
    assert page.inner_text(first) == "<b>none</b>"
    page.locator("#league-table thead button").nth(1).click()
    assert page.inner_text(first) == "decay"
    assert fragment(page) == "#sort=-1"
    assert page.locator("#details li").inner_html() == "&lt;i&gt;plain&lt;/i&gt;"


def test_a_table_tells_what_is_beyond_its_numbers_and_sorts_it_last(opened, tmp_path):
    turns = xr.DataArray([[np.inf], [5000.0], [700.0]], dims=("run", "seed"), attrs={"beyond": "> 8000"})
    runs = xr.Dataset({"turn": turns}, {"run": ["never" + "_and_so_on" * 40, "late", "soon"], "seed": [0]})
    result = Finding("Two turn", "seen").stored_in(runs.assign_attrs(experiment="turns"))
    page = opened(write(explorer.page(result)[0], tmp_path / "turns.html"))
    page.locator("#league-table thead button").nth(1).click()
    assert page.locator("#league-table tbody td").all_inner_texts() == ["700", "5\u202f000", "> 8000"]
    assert page.inner_text("#league-hint") == "A button in each head sorts by its column."
    name = page.locator("#league-table tbody th", has_text="never").bounding_box()
    assert name["width"] < 400 and name["height"] > 60, "a long name is wrapped"


def test_medians_are_told_of_where_there_are_seeds(opened, tmp_path):
    page = opened(write(explorer.page(league())[0], tmp_path / "league.html"))
    assert "medians, with their range over seeds" in page.inner_text("#league-hint")


def fronts_page(folder):
    losses = np.array([[1.0, 4.0, 9.0], [1.0, 2.0, 3.0]])
    names = ("finetune_loss_after", "pretrain_loss_after")
    both = xr.Dataset(
        {name: (("way", "rate"), loss) for name, loss in zip(names, (losses, losses[:, ::-1]), strict=True)}
    )
    result = Finding("Two fronts", "seen").stored_in(both.assign_coords(way=["one", "other"]))
    return write(explorer.page(result)[0], folder / "fronts.html")


def test_fronts_are_of_the_cases_that_are_chosen(opened, tmp_path):
    page = opened(fronts_page(tmp_path))
    assert page.locator("#front .line").count() == 2
    assert page.locator("#front .key").all_inner_texts() == ["one", "other"]
    page.get_by_role("checkbox", name="one").uncheck()
    assert page.locator("#front .key").all_inner_texts() == ["other"]
    assert fragment(page) == "#fronts=1"


def test_sliders_of_the_theory_move_what_they_should_and_stay_in_the_link(opened, theory_page):
    page = opened(theory_page)
    harm = float(page.get_attribute("#told-all", "data-harm"))
    assert harm > 1, "the U of the default problem"
    slid(page, "factor", 24)
    assert "never turns" in page.inner_text("#told-all")
    assert fragment(page) == "#factor=1.025"
    page.locator("#budget").focus()
    page.keyboard.press("ArrowRight")
    assert "budget=" in fragment(page)
    page.locator("#map [data-at]").nth(30).click()
    assert {"rate", "strength"} <= set(re.findall(r"(\w+)=", fragment(page)))


@pytest.fixture(scope="module")
def league_page(tmp_path_factory):
    return write(explorer.page(league(trust="Do not trust it"))[0], tmp_path_factory.mktemp("pages") / "league.html")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["chart", "theory", "league"])
def test_rules_of_accessibility_are_kept(opened, request, name, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe; `make browser` installs it")
    page = opened(request.getfixturevalue(f"{name}_page"), "#pins=3%2C13", color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    page.wait_for_timeout(100)
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["chart", "theory"])
def test_nothing_sticks_out_at_any_width_nor_on_paper(opened, request, name, width):
    pinned = "#pins=1%2C3%2C7%2C9%2C13%2C15"
    size = {"width": width, "height": 800}
    page = opened(request.getfixturevalue(f"{name}_page"), pinned, viewport=size, color_scheme="dark")
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.emulate_media(media="print")
    assert page.is_hidden("#copy"), "no buttons on paper"
    assert page.is_visible("#losses svg")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)", "nor in the dark"


def test_the_chapter_on_sizes_tells_the_account_where_there_is_a_result(opened, theory_page, tmp_path):
    assert opened(theory_page).is_hidden("#goldilocks")
    details = (
        "smaller is more brittle - a = 1: no; larger; a = 2: yes.",
        "Exponents, a = 1: 0.5.",
        "brittle - a = 1: -; a = 2: b.",
    )
    sizes = Finding("There is no zone", "not seen", details=details).stored_in(
        xr.Dataset(coords={"task": ["a = 1", "a = 2"]})
    )
    page = opened(write(theory.page(sizes), tmp_path / "theory.html"))
    assert page.inner_text("#goldilocks-sentence") == "There is no zone."
    rows = page.locator("#goldilocks-table tbody tr")
    assert rows.all_inner_texts() == ["smaller is more brittle\tno; larger\tyes", "brittle\t-\tb"]
    page.locator("#goldilocks-table thead button").nth(0).click()
    assert rows.nth(0).locator("th").inner_text() == "brittle"
