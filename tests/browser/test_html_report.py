"""The HTML report, as people meet it: in a browser, on any screen, by keyboard and on paper."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from poolproof.report.html import html
from tests.unit.summaries import comparison_with_all, timelines_of_two

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

#: Throughput, effort and latency of three workloads, ratios, sweep, memory, two timelines.
_PLOTS = 14
#: Plots draw into shadow roots: count what stands in those of one kind of page.
_DRAWN = """kind => {
  const found = root => [...root.querySelectorAll("*")].flatMap(
    e => [...(e instanceof SVGElement && e.tagName === "svg" ? [e] : []),
          ...(e.shadowRoot ? found(e.shadowRoot) : [])]);
  return [...document.querySelectorAll("." + kind)].filter(
    e => found(e).some(svg => svg.getBoundingClientRect().width > 100)).length;
}"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(html(comparison_with_all(), timelines_of_two()), "utf-8")
    return path


@contextmanager
def _opened(browser: Browser, report: Path, **screen: Any) -> Iterator[tuple[Page, list[str]]]:
    """Open the report; also return what it said or asked for that it should not have."""
    context = browser.new_context(**screen)
    page, complaints = context.new_page(), []
    page.set_default_timeout(120_000)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.on("request", lambda r: complaints.append(r.url) if r.url != report.as_uri() else None)
    page.goto(report.as_uri())
    page.wait_for_function(f"kind => ({_DRAWN})(kind) === {_PLOTS}", arg="light")
    yield page, complaints
    context.close()


def test_it_needs_no_network_and_has_no_errors(browser: Browser, report: Path) -> None:
    with _opened(browser, report) as (_, complaints):
        assert complaints == []


def test_the_answer_in_words_comes_first(browser: Browser, report: Path) -> None:
    with _opened(browser, report) as (page, _):
        assert page.locator("h1").inner_text() == "prefork:4 against threads:4"
        assert page.locator("h2").first.inner_text() == "In short"
        said = page.locator("#short li").all_inner_texts()
        assert said == comparison_with_all()["sentences"]


@pytest.mark.parametrize("width", [360, 768, 3840])
def test_nothing_sticks_out_on_a_screen_of_any_width(
    browser: Browser, report: Path, width: int
) -> None:
    with _opened(browser, report, viewport={"width": width, "height": 800}) as (page, _):
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(
    ("scheme", "seen", "hidden"), [("dark", "dark", "light"), ("light", "light", "dark")]
)
def test_the_plots_follow_the_page_into_the_dark(
    browser: Browser, report: Path, scheme: str, seen: str, hidden: str
) -> None:
    with _opened(browser, report, color_scheme=scheme) as (page, _):
        assert page.locator(f".{seen}").first.is_visible()
        assert not page.locator(f".{hidden}").first.is_visible()
        page.emulate_media(media="print")
        assert page.locator(".light").first.is_visible()
        assert not page.locator(".dark").first.is_visible()
        assert page.evaluate(_DRAWN, "light") == _PLOTS


def test_all_figures_can_be_reached_by_keyboard(browser: Browser, report: Path) -> None:
    with _opened(browser, report) as (page, _):
        table = page.locator("details", has_text="“Throughput”").locator("table")
        assert not table.is_visible()
        for _step in range(20):
            page.keyboard.press("Tab")
            if "“Throughput”" in page.evaluate("document.activeElement.textContent"):
                break
        page.keyboard.press("Enter")
        assert table.is_visible()
        assert "1,012" in table.inner_text()


def test_every_plot_says_in_words_what_it_shows(browser: Browser, report: Path) -> None:
    with _opened(browser, report) as (page, _):
        labels = page.locator("[role=img].both").evaluate_all("all => all.map(e => e.ariaLabel)")
        assert len(labels) == _PLOTS
        assert all(labels)
