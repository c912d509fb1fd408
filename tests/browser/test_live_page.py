"""The live page, end to end: real workers, a real crash, seen from a browser."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from playwright.sync_api import expect

from tests.integration.cli import Cli

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

#: Until a worker is up, a task has come back, a page has caught up: on a slow machine.
_PATIENCE_MS = 90_000
_FAULTS_OFF = {"POOLPROOF_ALLOW_FAULTS": "0"}


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _serving(*words: str, cwd: Path, port: int, env: dict[str, str] | None = None) -> Iterator[Cli]:
    cli = Cli.start("serve", *words, "--port", str(port), cwd=cwd, env=env)
    try:
        yield cli
    finally:
        if cli.process.poll() is None:
            cli.process.terminate()
        cli.finish(60)
        assert cli.left() == []


@contextmanager
def _looking(browser: Browser, port: int) -> Iterator[Page]:
    """Open the page as soon as somebody serves it."""
    deadline = time.monotonic() + _PATIENCE_MS / 1e3
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        assert time.monotonic() < deadline, "nobody serves the page"
        time.sleep(0.05)
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(_PATIENCE_MS)
    page.goto(f"http://127.0.0.1:{port}/")
    yield page
    context.close()


def _books(page: Page, side: str) -> dict[str, int]:
    """Return a side's column of the books, read at one moment."""
    table = page.locator("table.books")
    cells = table.evaluate("t => [...t.rows].map(r => [...r.cells].map(c => c.textContent))")
    column = cells[0].index(side)
    return {row[0]: int(row[column].replace(",", "")) for row in cells[1:]}


def _has(page: Page, side: str) -> bool:
    return page.locator("table.books th", has_text=side).count() > 0


def _until(page: Page, side: str, row: str, least: int) -> dict[str, int]:
    deadline = time.monotonic() + _PATIENCE_MS / 1e3
    while (books := _books(page, side) if _has(page, side) else {}).get(row, 0) < least:
        assert time.monotonic() < deadline, books
        page.wait_for_timeout(100)
    return books


def _crash(page: Page, side: str, sentence: str) -> str:
    """Press the button; return the sentence about what came of it."""
    page.get_by_role("button", name=f"Crash {side}").click()
    said = page.locator(".news p", has_text=re.compile(f"^{re.escape(side)} {sentence}"))
    expect(said).to_be_visible(timeout=_PATIENCE_MS)
    return said.inner_text()


def test_a_crash_is_seen_to_take_one_lane_of_prefork_and_all_of_threads(
    browser: Browser, tmp_path: Path, port: int
) -> None:
    with _serving("--out", "runs", cwd=tmp_path, port=port) as cli:
        with _looking(browser, port) as page:
            expect(page.locator("h1")).to_have_text("prefork:4 against threads:4")
            for side in ("prefork:4", "threads:4"):
                _until(page, side, "completed", 30)

            said = _crash(page, "prefork:4", "lost one child process")
            assert "no innocent task died" in said
            said = _crash(page, "threads:4", "lost its worker to SIGSEGV")
            found = re.search(r"(\d+) innocent tasks? died", said)
            died = int(found[1]) if found else 0
            gone = page.locator(".news p", has_text="a new worker took over")
            expect(gone).to_be_visible(timeout=_PATIENCE_MS)
            done = _books(page, "threads:4")["completed"]
            books = _until(page, "threads:4", "completed", done + 20)
            assert books["enqueued"] == sum(books.values()) - books["enqueued"]

            page.get_by_role("button", name="Stop and judge").click()
            deadline = time.monotonic() + _PATIENCE_MS / 1e3
            while cli.process.poll() is None:
                assert time.monotonic() < deadline
                page.wait_for_timeout(100)
        assert cli.process.returncode == 0

    summary = _summary(tmp_path / "runs")
    crashes = {crash["pool"]: crash for crash in summary["crashes"]}
    assert crashes["prefork:4"]["interrupted"] == 0
    assert crashes["threads:4"]["interrupted"] == died
    assert summary["books"]["balanced"]

    words = (summary["run"], "--speed", "1000")
    with (
        _serving(*words, cwd=tmp_path, port=port, env=_FAULTS_OFF),
        _looking(browser, port) as page,
    ):
        expect(page.locator("p", has_text=", over")).to_be_visible(timeout=_PATIENCE_MS)
        for side, judged in summary["books"]["by_pool"].items():
            back = judged.get("completed", 0) + judged.get("recovered", 0)
            seen = _until(page, side, "completed", back)
            assert seen["enqueued"] == sum(judged.values())
            assert seen["lost"] == judged.get("lost", 0)
        assert page.get_by_role("button", name=re.compile("Crash")).count() == 0


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
    deadline = time.monotonic() + _PATIENCE_MS / 1e3
    while not holds():
        assert time.monotonic() < deadline, (_books(page, side), _flower(page, side))
        page.wait_for_timeout(100)


def _the_dead_are_all_there(page: Page) -> bool:
    """Whether all that threads lost is in the panel, where Flower has none of it right."""
    lost = [each for (_, say), each in _flower(page, "threads:4").items() if say == "lost"]
    return sum(count for count, _ in lost) == _books(page, "threads:4")["lost"] > 0 and all(
        differs for _, differs in lost
    )


def _the_living_agree(page: Page, side: str) -> bool:
    count, differs = _flower(page, side).get(("succeeded", "completed"), (0, True))
    return count > 0 and not differs


def test_after_a_crash_the_panel_shows_where_flower_differs_and_where_it_does_not(
    browser: Browser, tmp_path: Path, port: int
) -> None:
    with (
        _serving("--out", "runs", "--with-flower", cwd=tmp_path, port=port),
        _looking(browser, port) as page,
    ):
        for side in ("prefork:4", "threads:4"):
            _eventually(page, lambda s=side: _the_living_agree(page, s), side)

        _crash(page, "threads:4", "lost its worker to SIGSEGV")
        dead = r"Flower still shows \d+ tasks? as (received|started) that died with threads:4's "
        said = page.locator("section.flower p", has_text=re.compile(rf"{dead}worker at \d\d:\d\d"))
        expect(said.first).to_be_visible(timeout=_PATIENCE_MS)
        _eventually(page, lambda: _the_dead_are_all_there(page), "threads:4")
        for side in ("prefork:4", "threads:4"):
            _eventually(page, lambda s=side: _the_living_agree(page, s), side)
        _eventually(
            page,
            lambda: not any(differs for _, differs in _flower(page, "prefork:4").values()),
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
        answer = context.new_page().goto(url)
        assert answer is not None
        assert answer.status == status
        context.close()


def test_the_page_goes_on_when_the_collector_is_killed(
    browser: Browser, tmp_path: Path, port: int
) -> None:
    with (
        _serving("--out", "runs", "--pool", "threads:2", cwd=tmp_path, port=port) as cli,
        _looking(browser, port) as page,
    ):
        done = _until(page, "threads:2", "completed", 10)["completed"]
        children = psutil.Process(cli.process.pid).children()
        (collector,) = [each for each in children if "collect" in each.cmdline()]
        os.kill(collector.pid, signal.SIGKILL)
        _until(page, "threads:2", "completed", done + 20)


def test_without_faults_allowed_there_is_nothing_to_press(
    browser: Browser, tmp_path: Path, port: int
) -> None:
    env = {"POOLPROOF_CONTROL": '{"redis": "redis://127.0.0.1:1/0", "namespace": "x"}'}
    words = ("--watch", "--out", "runs")
    with (
        _serving(*words, cwd=tmp_path, port=port, env=env | _FAULTS_OFF),
        _looking(browser, port) as page,
    ):
        expect(page.locator("h1")).to_have_text("poolproof")
        assert page.get_by_role("button").count() == 0


def test_where_others_can_reach_it_the_page_asks_for_a_token(
    browser: Browser, tmp_path: Path, port: int
) -> None:
    words = ("--watch", "--out", "runs", "--host", "0.0.0.0")
    with (
        _serving(*words, "--token", "word", cwd=tmp_path, port=port),
        _looking(browser, port) as page,
    ):
        assert "?token=WORD" in page.content()
        page.goto(f"http://127.0.0.1:{port}/?token=other")
        assert "?token=WORD" in page.content()
        page.goto(f"http://127.0.0.1:{port}/?token=word")
        expect(page.locator("h1")).to_have_text("poolproof", timeout=_PATIENCE_MS)


def test_where_others_can_reach_it_and_nobody_chose_a_token_one_is_made_up(
    browser: Browser, tmp_path: Path, port: int
) -> None:
    words = ("--watch", "--out", "runs", "--host", "0.0.0.0")
    with _serving(*words, cwd=tmp_path, port=port) as cli, _looking(browser, port) as page:
        assert "?token=WORD" in page.content()
        said = " ".join(line for line in cli.lines if "The page is at" in line)
        (address,) = [word for word in said.split() if word.startswith("http")]
        page.goto(address)
        expect(page.locator("h1")).to_have_text("poolproof", timeout=_PATIENCE_MS)


def test_a_port_that_is_taken_is_said_in_one_line(tmp_path: Path, port: int) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        code, _, lines = Cli.start("serve", "--watch", "--port", str(port), cwd=tmp_path).finish()

    assert code == 2
    assert lines[-1].startswith(f"poolproof: Port {port} of 127.0.0.1 cannot be had")


def _summary(runs: Path) -> dict[str, Any]:
    (path,) = runs.glob("*/summary.json")
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found
