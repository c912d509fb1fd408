"""The live page as it is served, and what a browser that looks at it sees."""

from __future__ import annotations

import re
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from playwright.sync_api import expect

from tests.integration.cli import Cli

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

#: Until a worker is up, a task has come back, a page has caught up: on a slow machine.
PATIENCE_MS = 90_000


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(*words: str, cwd: Path, port: int, env: dict[str, str] | None = None) -> Iterator[Cli]:
    cli = Cli.start("serve", *words, "--port", str(port), cwd=cwd, env=env)
    try:
        yield cli
    finally:
        if cli.process.poll() is None:
            cli.process.terminate()
        cli.finish(60)
        assert cli.left() == []


@contextmanager
def looking(browser: Browser, port: int, **screen: Any) -> Iterator[Page]:
    """Open the page as soon as somebody serves it."""
    deadline = time.monotonic() + PATIENCE_MS / 1e3
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        assert time.monotonic() < deadline, "nobody serves the page"
        time.sleep(0.05)
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 1000}, **screen})
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(f"http://127.0.0.1:{port}/")
    yield page
    context.close()


def crash(page: Page, side: str, sentence: str) -> str:
    """Press the button; return the sentence about what came of it."""
    page.get_by_role("button", name=f"Crash {side}").click()
    said = page.locator(".news p", has_text=re.compile(f"^{re.escape(side)} {sentence}"))
    expect(said).to_be_visible(timeout=PATIENCE_MS)
    return said.inner_text()


def books(page: Page, side: str) -> dict[str, int]:
    """Return a side's row of the books, read at one moment."""
    table = page.locator("table.books")
    cells = table.evaluate("t => [...t.rows].map(r => [...r.cells].map(c => c.textContent))")
    (row,) = (row for row in cells if row[0] == side)
    heads = (head.strip("=+ ") for head in cells[0][1:])
    return {head: int(text.replace(",", "")) for head, text in zip(heads, row[1:], strict=True)}


def has(page: Page, side: str) -> bool:
    return page.locator("table.books th", has_text=side).count() > 0


def until(page: Page, side: str, row: str, least: int) -> dict[str, int]:
    deadline = time.monotonic() + PATIENCE_MS / 1e3
    while (found := books(page, side) if has(page, side) else {}).get(row, 0) < least:
        assert time.monotonic() < deadline, found
        page.wait_for_timeout(100)
    return found
