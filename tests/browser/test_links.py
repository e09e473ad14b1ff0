"""What a link tells of a page is what it shows, and what the page lacks is as at first."""

from tests.browser.test_in_browser import cell, fragment, fronts_page, slid


def test_a_link_shows_what_was_seen(opened, chart_page):
    first = opened(chart_page)
    slid(first, "budget", 4)
    slid(first, "harm", 100)
    cell(first, 2, 1).click()
    first.select_option("#measure", "hessian_trace")
    first.select_option("#quantity", "harm0")
    first.click("#theme")
    hash = fragment(first)
    second = opened(chart_page, hash)
    for name in ("budget", "harm", "measure", "quantity"):
        assert second.input_value(f"#{name}") == first.input_value(f"#{name}")
    assert second.get_attribute("html", "data-theme") == "light"
    for part in ("#map .marks", "#map .hatches", "#measures svg g", "#cells"):
        assert second.inner_html(part) == first.inner_html(part)
    assert second.inner_text("#map-title") == first.inner_text("#map-title")
    assert fragment(second) == hash
    second.evaluate("location.hash = ''")
    second.wait_for_function("document.querySelectorAll('#map .pin').length === 0")


GARBLED = (
    *(
        "pins=-1",
        "pins=1.5",
        "pins=99",
        "pins=abc",
        "pins=3e0",
        "measure=bogus",
        "measure=constructor",
        "quantity=bogus",
    ),
    *(
        "fronts=99",
        "fronts=-1",
        "fronts=abc",
        "view=7",
        "view=-1",
        "view=x",
        "table=9",
        "sort=99",
        "sort=--1",
        "theme=pink",
    ),
    *("harm=abc", "harm=-3&excess=-1", "harm=Infinity", "harm=1e9", "excess=0x1", "budget=abc"),
    *("quantity=bogus", "theme=pink", "budget=-5"),
    *("budget=1e9", "o.seed=1", "o.bogus=1", "__proto__=1", "allsort=99", "allsort=abc", "bogus=1", "%", "&=&"),
)


def seen(page):
    """All that a page shows and has chosen, but for what drawing numbers anew."""
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    page.wait_for_timeout(20)
    chosen = page.eval_on_selector_all("select, input", "all => all.map(each => each.value + each.checked)")
    return chosen, page.inner_text("body"), page.inner_html("#map .marks"), page.get_attribute("html", "data-theme")


def test_what_a_link_tells_that_the_page_lacks_is_as_at_first(opened, chart_page):
    page = opened(chart_page)
    first = seen(page)
    for hash in GARBLED:
        page.evaluate("hash => { location.hash = hash; dispatchEvent(new HashChangeEvent('hashchange')); }", hash)
        assert seen(page) == first, hash
    for hash in ("#pins=-1", "#pins=1.5", "#measure=constructor", "#" + "&".join(GARBLED)):
        again = opened(chart_page, hash)
        assert seen(again) == first, hash


def test_a_link_pins_no_cell_twice_and_no_more_than_there_are_colours_for(opened, chart_page):
    page = opened(chart_page, "#pins=0,0,1,99,2,-1,3,4,x,5,6,7,8")
    assert page.locator("#cells .chip").all_inner_texts() == list("123456")
    assert page.locator("#map .pin").count() == 6
    cell(page, 0, 0).click()
    assert fragment(page) == "#pins=1%2C2%2C3%2C4%2C5"


def test_links_of_tables_and_fronts_are_checked_as_well(opened, tmp_path):
    page = opened(fronts_page(tmp_path), "#fronts=99&sort=9&table=4&theme=pink")
    assert page.locator("#front .key").all_inner_texts() == ["one", "other"]
    assert page.inner_text("#theme") == "Theme: auto"
    for hash, keys in (("-1", ["one", "other"]), ("1.1.7.x", ["other"]), ("abc", ["one", "other"]), (".", [])):
        page.evaluate("hash => (location.hash = hash)", f"fronts={hash}&theme=dark")
        page.wait_for_function("document.getElementById('theme').textContent === 'Theme: dark'")
        page.wait_for_timeout(20)
        assert page.locator("#front .key").all_inner_texts() == keys, hash


def test_a_theme_that_there_is_not_is_none_of_the_theory_either(opened, theory_page):
    page = opened(theory_page, "#theme=pink&budget=abc&factor=-3")
    assert page.inner_text("#theme") == "Theme: auto"
