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
PATIENCE_MS = 300_000
# A page's own patience is not that of what is expected of it.
expect.set_options(timeout=PATIENCE_MS)


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
        cli.finish(240)
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
    """Return a side's row of the books, read at one moment; empty if it has none yet."""
    head, *rows = page.locator("table.books").evaluate_all(
        "ts => ts.flatMap(t => [...t.rows].map(r => [...r.cells].map(c => c.textContent)))"
    ) or [[]]
    names = [name.strip("=+ ") for name in head[1:]]
    found = {label: [int(text.replace(",", "")) for text in counts] for label, *counts in rows}
    return dict(zip(names, found[side], strict=True)) if side in found else {}


def until(page: Page, side: str, row: str, least: int) -> dict[str, int]:
    deadline = time.monotonic() + PATIENCE_MS / 1e3
    while (found := books(page, side)).get(row, 0) < least:
        assert time.monotonic() < deadline, found
        page.wait_for_timeout(100)
    return found
