"""A browser for tests of pages: the system's Chromium, driven by Playwright; tests that lack one say what to do."""

import os
import shutil

import pytest

from experiments import overtraining_chart
from linsim.commands.config import FinetuneConfig, NetworkConfig, RefinedConfig
from linsim.sweeping.running import running
from pages import explorer, theory
from pages.page import write
from tests.computed import computed

NAMES = ("chromium", "chromium-browser", "google-chrome")

CHART = overtraining_chart.Config(
    dim=3,
    seeds=3,
    network=NetworkConfig(init="gaussian", tau=3.0),
    pretrain=RefinedConfig(learning_rate=0.02, steps=500, first=5, budgets=12),
    finetune=FinetuneConfig(steps=50, rates=6, lowest_rate=1e-4, highest_rate=0.2, strengths=3),
    measure=("hessian_trace",),
)
"""Cells that turn, that do not, that are unstable and that diverge; three seeds."""


@pytest.fixture(scope="session")
def chromium():
    """A browser of its own, without a window."""
    sync = pytest.importorskip("playwright.sync_api", reason="no Playwright; `make browser` installs it")
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"none of {', '.join(NAMES)} on the PATH; `make browser` installs Chromium")
    with sync.sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # which Chromium refuses to make for root
        browser = playwright.chromium.launch(executable_path=path, args=sandbox)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def chart():
    with running(recheck=0):
        return computed(overtraining_chart.experiment, CHART)


@pytest.fixture(scope="session")
def chart_page(chart, tmp_path_factory):
    return write(explorer.page(chart)[0], tmp_path_factory.mktemp("pages") / "chart.html")


@pytest.fixture(scope="session")
def theory_page(tmp_path_factory):
    return write(theory.page(), tmp_path_factory.mktemp("pages") / "theory.html")


@pytest.fixture
def opened(chromium):
    """Open a page; when the test ends nothing may have been said on its console, and no host asked for anything."""
    said, contexts = [], []

    def open_page(path, hash="", **settings):
        context = chromium.new_context(**{"viewport": {"width": 1200, "height": 900}} | settings)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda asked: asked.url.startswith(("file:", "data:", "blob:")) or said.append(asked.url))
        page.goto(f"{path.as_uri()}{hash}")
        page.wait_for_selector("html[data-ready]", timeout=20_000)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
