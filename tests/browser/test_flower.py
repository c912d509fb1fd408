"""Flower beside the live page: real workers, a real Flower, a real crash, seen from a browser."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.served import PATIENCE_MS, books, crash, free_port, looking, serving

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.timeout(1200)


def _flower(page: Page, side: str) -> dict[tuple[str, str], tuple[int, bool]]:
    """Return (Flower shows, the books say) -> tasks and whether the panel says that they differ."""
    rows = page.locator("table.flower").evaluate_all(
        "tables => tables.flatMap(t => [...t.rows].map(r => [...r.cells].map(c => c.textContent)))"
    )
    return {
        (shows, say): (int(count.replace(",", "")), differs == "differs")
        for label, shows, say, count, differs in rows[1:]
        if label == side
    }


def _eventually(page: Page, holds: Callable[[], bool], side: str) -> None:
    deadline = time.monotonic() + PATIENCE_MS / 1e3
    while not holds():
        assert time.monotonic() < deadline, (books(page, side), _flower(page, side))
        page.wait_for_timeout(100)


def _the_dead_are_all_there(page: Page) -> bool:
    """Whether all that threads lost is in the panel, where Flower has none of it right."""
    lost = [each for (_, say), each in _flower(page, "threads:4").items() if say == "lost"]
    return sum(count for count, _ in lost) == books(page, "threads:4")["lost"] > 0 and all(
        differs for _, differs in lost
    )


def _the_living_agree(page: Page, side: str) -> bool:
    count, differs = _flower(page, side).get(("succeeded", "completed"), (0, True))
    return count > 0 and not differs


def test_after_a_crash_the_panel_shows_where_flower_differs_and_where_it_does_not(
    browser: Browser, tmp_path: Path
) -> None:
    port = free_port()
    with (
        serving("--out", "runs", "--with-flower", cwd=tmp_path, port=port),
        looking(browser, port) as page,
    ):
        for side in ("prefork:4", "threads:4"):
            _eventually(page, lambda s=side: _the_living_agree(page, s), side)

        crash(page, "threads:4", "lost its worker to SIGSEGV")
        dead = r"Flower still shows \d+ tasks? as (received|started) that died with threads:4's "
        said = page.locator("section.flower p", has_text=re.compile(rf"{dead}worker at \d\d:\d\d"))
        expect(said.first).to_be_visible(timeout=PATIENCE_MS)
        _eventually(page, lambda: _the_dead_are_all_there(page), "threads:4")
        for side in ("prefork:4", "threads:4"):
            _eventually(page, lambda s=side: _the_living_agree(page, s), side)
        _eventually(
            page,
            # What it never heard of was done before it was up.
            lambda: (
                not any(
                    differs
                    for (shows, _), (_, differs) in _flower(page, "prefork:4").items()
                    if shows != "never heard of"
                )
            ),
            "prefork:4",
        )
        _check_the_login(browser, page)


def _check_the_login(browser: Browser, page: Page) -> None:
    """What the page says of Flower's user and password lets a person in, and nothing else does."""
    url = page.get_by_role("link", name="Flower").get_attribute("href") or ""
    told = page.locator("section.flower p", has_text="asks for the user").inner_text()
    found = re.search(r"the user (\S+), password (\S+)\.$", told)
    assert found
    for password, status in ((found[2], 200), ("wrong", 401)):
        context = browser.new_context(http_credentials={"username": found[1], "password": password})
        answer = context.new_page().goto(url, timeout=PATIENCE_MS)
        assert answer is not None
        assert answer.status == status
        context.close()
