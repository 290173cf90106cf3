"""The report in a real browser: its charts are there, in both colour schemes and on a phone, and nothing complains."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tasks.reporting.html.page import render_report
from tests.unit.test_report import START, story

CHARTS = ("performance-log_loss", "performance-auc", "drift", "volume", "importances")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render_report(story(), START), encoding="utf-8")
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1100, 390])
def test_the_charts_are_drawn_and_nothing_complains(browser: Browser, written: Path, scheme: Any, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request", lambda sent: complaints.append(sent.url) if not sent.url.startswith(("file:", "data:", "blob:")) else 0
    )
    page.goto(written.as_uri())
    for chart in CHARTS:
        page.locator(f"#{chart} .main-svg").first.wait_for()
    assert page.locator("#performance-log_loss .scatterlayer .trace").count() >= 6
    assert page.locator("#drift .heatmaplayer image").count() == 1
    assert page.locator("#volume .barlayer .trace").count() >= 2
    colours = page.evaluate("getComputedStyle(document.querySelector('#performance-log_loss .ytick text')).fill")
    assert colours == {"light": "rgb(27, 36, 48)", "dark": "rgb(230, 235, 241)"}[scheme]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert complaints == []
    page.close()


def test_the_charts_follow_a_change_of_the_colour_scheme(browser: Browser, written: Path) -> None:
    page = browser.new_page(color_scheme="light")
    page.goto(written.as_uri())
    tick = page.locator("#volume .ytick text").first
    tick.wait_for()
    page.emulate_media(color_scheme="dark")
    expect(tick).to_have_css("fill", "rgb(230, 235, 241)")
    page.close()
