"""The live page, end to end: real workers, a real crash, seen from a browser."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import psutil
import pytest
from playwright.sync_api import expect

from tests.browser.served import PATIENCE_MS, books, crash, free_port, looking, serving, until
from tests.integration.cli import Cli

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.timeout(1200)

_FAULTS_OFF = {"POOLPROOF_ALLOW_FAULTS": "0"}


@pytest.fixture
def port() -> int:
    return free_port()


def test_a_crash_is_seen_to_take_one_lane_of_prefork_and_all_of_threads(
    browser: Browser, tmp_path: Path, port: int
) -> None:
    with serving("--out", "runs", cwd=tmp_path, port=port) as cli:
        with looking(browser, port) as page:
            expect(page.locator("h1")).to_have_text("prefork:4 against threads:4")
            for side in ("prefork:4", "threads:4"):
                until(page, side, "completed", 30)

            said = crash(page, "prefork:4", "lost one child process")
            assert "no innocent task died" in said
            said = crash(page, "threads:4", "lost its worker to SIGSEGV")
            told = re.search(r"(\d+) innocent tasks? died", said)
            died = int(told[1]) if told else 0
            gone = page.locator(".news p", has_text="a new worker took over")
            expect(gone).to_be_visible(timeout=PATIENCE_MS)
            done = books(page, "threads:4")["completed"]
            found = until(page, "threads:4", "completed", done + 20)
            assert found["enqueued"] == sum(found.values()) - found["enqueued"]

            page.get_by_role("button", name="Stop and judge").click()
            _until_over(page, cli)
        assert cli.process.returncode == 0

    (summary,) = _summaries(tmp_path / "runs")
    crashes = {crash["pool"]: crash for crash in summary["crashes"]}
    assert crashes["prefork:4"]["interrupted"] == 0
    assert crashes["threads:4"]["interrupted"] == died
    assert summary["books"]["balanced"]

    words = (summary["run"], "--speed", "1000")
    with (
        serving(*words, cwd=tmp_path, port=port, env=_FAULTS_OFF),
        looking(browser, port) as page,
    ):
        expect(page.locator("p", has_text=", over")).to_be_visible(timeout=PATIENCE_MS)
        for side, judged in summary["books"]["by_pool"].items():
            back = judged.get("completed", 0) + judged.get("recovered", 0)
            seen = until(page, side, "completed", back)
            assert seen["enqueued"] == sum(judged.values())
            assert seen["lost"] == judged.get("lost", 0)
        assert page.get_by_role("button", name=re.compile("Crash")).count() == 0


def test_a_measured_comparison_is_started_from_the_page_and_grows_into_its_report(
    browser: Browser, tmp_path: Path, port: int
) -> None:
    with (
        serving("--out", "runs", cwd=tmp_path, port=port) as cli,
        looking(browser, port) as page,
    ):
        until(page, "prefork:4", "completed", 5)
        slots = page.get_by_label("Slots").first
        slots.fill("2")
        slots.press("Enter")
        expect(page.locator("p.dim")).to_contain_text("has 2 slots now", timeout=PATIENCE_MS)
        seconds = page.get_by_label("Seconds to measure")
        seconds.fill("5")
        seconds.press("Enter")
        page.get_by_role("button", name="Measure this work on both").click()

        # The pool has the size that it was given here, and the side its name.
        expect(page.locator("h1")).to_have_text("prefork:2 against threads:4", timeout=PATIENCE_MS)
        assert page.get_by_role("button", name=re.compile("Crash")).count() == 0
        expect(page.locator("table.measured")).to_be_visible(timeout=PATIENCE_MS)
        so_far = page.locator("table.measured tbody tr").inner_text()
        assert "prefork:2 / threads:4" in so_far
        expect(page.locator("iframe.report")).to_be_visible(timeout=PATIENCE_MS)
        report = page.frame_locator("iframe.report")
        expect(report.locator("h1")).to_have_text("prefork:2 against threads:4")
        shown = page.locator("table.measured tbody td").nth(1).inner_text()

        (over,) = re.findall(r"Run (\S+), over", page.locator("p.dim").first.inner_text())
        page.get_by_role("button", name="Back to the demonstration").click()
        expect(page.locator("p.dim").first).not_to_contain_text(over, timeout=PATIENCE_MS)
        # Both sides of the new run are there, so nothing of the page is made anew after that.
        expect(page.get_by_role("button", name="Crash threads:4")).to_be_visible()
        until(page, "prefork:2", "completed", 5)
        page.get_by_role("button", name="Stop and judge").click()
        _until_over(page, cli)
    assert cli.process.returncode == 0

    (compared,) = [each for each in _summaries(tmp_path / "runs") if each["comparisons"]]
    assert compared["plan"]["name"] == "compare"
    assert shown == f"{compared['comparisons'][0]['ratio']:.2f}"


def test_the_picture_can_be_held_and_a_task_in_it_be_asked(
    browser: Browser, tmp_path: Path, port: int
) -> None:
    with (
        serving("--out", "runs", "--pool", "threads:2", cwd=tmp_path, port=port),
        looking(browser, port) as page,
    ):
        until(page, "threads:2", "completed", 20)
        page.get_by_label("Seconds shown").select_option("5")
        page.get_by_role("button", name="Hold the picture").click()
        expect(page.get_by_role("button", name="Let it go on")).to_be_visible()

        tip = _tip(page)
        assert re.search(r"task:\s*\d+", tip)
        assert re.search(r"began:\s*\d\d:\d\d:\d\d\.\d\d\d", tip)
        assert re.search(r"in the books:\s*(completed|running)", tip)
        done = books(page, "threads:2")["completed"]
        until(page, "threads:2", "completed", done + 5)  # held is the picture, not the run


def _tip(page: Page) -> str:
    """Return what the page says of a task under the pointer."""
    boxes = [each.bounding_box() for each in page.locator("canvas").all()]
    lanes = max(filter(None, boxes), key=lambda box: box["width"])  # the series are smaller
    for step in range(1, 60):
        page.mouse.move(lanes["x"] + lanes["width"] - 8 * step, lanes["y"] + 45)
        found = page.locator(".bk-tooltip-content")
        if found.count() and (said := found.first.inner_text()):
            return str(said)
        page.wait_for_timeout(50)
    raise AssertionError("no task could be pointed at")


@pytest.mark.parametrize("width", [360, 3840])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_saved_run_fits_any_screen_in_the_light_and_in_the_dark(
    browser: Browser, saved_run: Path, port: int, width: int, scheme: str
) -> None:
    screen = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
    words = (saved_run.name, "--out", str(saved_run.parent), "--speed", "1000")
    with (
        serving(*words, cwd=saved_run, port=port),
        looking(browser, port, **screen) as page,
    ):
        expect(page.locator("p", has_text=", over")).to_be_visible(timeout=PATIENCE_MS)
        expect(page.locator("iframe.report")).to_be_visible(timeout=PATIENCE_MS)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        dark = (
            page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
        )
        assert dark == (scheme == "dark")


def test_a_crash_needs_no_pointer(browser: Browser, tmp_path: Path, port: int) -> None:
    with (
        serving("--out", "runs", "--pool", "solo", cwd=tmp_path, port=port),
        looking(browser, port) as page,
    ):
        until(page, "solo", "completed", 3)
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate(_FOCUSED) == "Crash solo":
                break
        page.keyboard.press("Enter")

        said = page.locator(".news[aria-live] p", has_text="solo lost its worker to SIGSEGV")
        expect(said).to_be_visible(timeout=PATIENCE_MS)


#: What has the focus; Bokeh keeps its widgets in shadow roots.
_FOCUSED = """() => {
  let found = document.activeElement;
  while (found?.shadowRoot?.activeElement) found = found.shadowRoot.activeElement;
  return found?.textContent;
}"""


def test_a_page_of_another_site_cannot_press_anything(
    browser: Browser, tmp_path: Path, port: int
) -> None:
    with (
        serving("--watch", "--out", "runs", cwd=tmp_path, port=port),
        looking(browser, port) as page,
    ):
        expect(page.locator("h1")).to_have_text("poolproof")
        sockets = f"ws://127.0.0.1:{port}/ws"
        for origin, answer in ((f"http://127.0.0.1:{port}", 101), ("http://example.org", 403)):
            assert _knock(port, origin) == answer, (origin, sockets)


def _knock(port: int, origin: str) -> int:
    """Ask for the page's socket as a script of `origin` would; return the status of the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as knocking:
        lines = (
            "GET /ws HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Protocol: bokeh, {_session_token(port)}",
            f"Origin: {origin}",
        )
        knocking.sendall("\r\n".join((*lines, "", "")).encode())
        return int(knocking.recv(4096).split()[1])


def _session_token(port: int) -> str:
    with urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
        found = re.search(r'"token":"([^"]+)"', answer.read().decode())
    assert found
    return found[1]


def test_reports_are_handed_out_of_the_folder_of_runs_only(saved_run: Path, port: int) -> None:
    words = (saved_run.name, "--out", str(saved_run.parent), "--token", "word")
    with serving(*words, cwd=saved_run, port=port) as cli:
        assert _status(cli, port, f"/report/{saved_run.name}?token=word") == 200
        assert _status(cli, port, f"/report/{saved_run.name}") == 403
        assert _status(cli, port, "/report/..%2f..%2fetc?token=word") == 404


def _status(cli: Cli, port: int, path: str) -> int:
    deadline = time.monotonic() + PATIENCE_MS / 1e3
    while True:
        try:
            with urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return int(answer.status)
        except HTTPError as error:
            return error.code
        except URLError:
            assert time.monotonic() < deadline, cli.lines
            time.sleep(0.05)


@pytest.fixture(scope="module")
def saved_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small run that is over: a crash of two threads."""
    folder = tmp_path_factory.mktemp("saved")
    code, _, lines = Cli.start("crash", "--pool", "threads:2", "--out", "runs", cwd=folder).finish()
    assert code == 0, lines
    (run,) = (folder / "runs").iterdir()
    return run


def test_the_page_goes_on_when_the_collector_is_killed(
    browser: Browser, tmp_path: Path, port: int
) -> None:
    with (
        serving("--out", "runs", "--pool", "threads:2", cwd=tmp_path, port=port) as cli,
        looking(browser, port) as page,
    ):
        done = until(page, "threads:2", "completed", 10)["completed"]
        children = psutil.Process(cli.process.pid).children()
        (collector,) = [each for each in children if "collect" in each.cmdline()]
        os.kill(collector.pid, signal.SIGKILL)
        until(page, "threads:2", "completed", done + 20)


def test_without_faults_allowed_there_is_nothing_to_press(
    browser: Browser, tmp_path: Path, port: int
) -> None:
    env = {"POOLPROOF_CONTROL": '{"redis": "redis://127.0.0.1:1/0", "namespace": "x"}'}
    words = ("--watch", "--out", "runs")
    with (
        serving(*words, cwd=tmp_path, port=port, env=env | _FAULTS_OFF),
        looking(browser, port) as page,
    ):
        expect(page.locator("h1")).to_have_text("poolproof")
        assert page.get_by_role("button").count() == 0
        assert page.locator("input, select").count() == 0


def test_where_others_can_reach_it_the_page_asks_for_a_token(
    browser: Browser, tmp_path: Path, port: int
) -> None:
    words = ("--watch", "--out", "runs", "--host", "0.0.0.0")
    with (
        serving(*words, "--token", "word", cwd=tmp_path, port=port),
        looking(browser, port) as page,
    ):
        assert "?token=WORD" in page.content()
        page.goto(f"http://127.0.0.1:{port}/?token=other")
        assert "?token=WORD" in page.content()
        page.goto(f"http://127.0.0.1:{port}/?token=word")
        expect(page.locator("h1")).to_have_text("poolproof", timeout=PATIENCE_MS)


def test_where_others_can_reach_it_and_nobody_chose_a_token_one_is_made_up(
    browser: Browser, tmp_path: Path, port: int
) -> None:
    words = ("--watch", "--out", "runs", "--host", "0.0.0.0")
    with serving(*words, cwd=tmp_path, port=port) as cli, looking(browser, port) as page:
        assert "?token=WORD" in page.content()
        said = " ".join(line for line in cli.lines if "The page is at" in line)
        (address,) = [word for word in said.split() if word.startswith("http")]
        page.goto(address)
        expect(page.locator("h1")).to_have_text("poolproof", timeout=PATIENCE_MS)


def test_a_port_that_is_taken_is_said_in_one_line(tmp_path: Path, port: int) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        code, _, lines = Cli.start("serve", "--watch", "--port", str(port), cwd=tmp_path).finish()

    assert code == 2
    assert lines[-1].startswith(f"poolproof: Port {port} of 127.0.0.1 cannot be had")


def _until_over(page: Page, cli: Cli) -> None:
    deadline = time.monotonic() + PATIENCE_MS / 1e3
    while cli.process.poll() is None:
        assert time.monotonic() < deadline, cli.lines
        page.wait_for_timeout(100)


def _summaries(runs: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_bytes()) for path in sorted(runs.glob("*/summary.json"))]
