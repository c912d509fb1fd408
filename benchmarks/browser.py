"""A headless Chromium that looks at a live page and notes what it draws, and when."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import psutil

from poolproof.infra.page import HOST
from poolproof_workers.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, CDPSession, Page

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
_PATIENCE_S: Final = 90.0
#: Round trips of which the shortest relates the browser's clock to ours.
_TRIPS: Final = 100

#: Counts the browser's own frames. A plot is done with the part of the frame that is ours when it
#: says `repainted`; a message that is posted then arrives after the browser has drawn that frame.
_NOTE: Final = """() => {
  const noted = window.poolproofNoted = {frames: 0, drawn: []};
  const frame = () => { noted.frames += 1; requestAnimationFrame(frame); };
  requestAnimationFrame(frame);
  for (const view of Bokeh.index.query(view => view.repainted && view.model.renderers)) {
    const source = view.model.renderers.map(r => r.data_source).find(s => s.data.newest);
    if (!source) continue;
    let before = null;
    const {port1, port2} = new MessageChannel();
    port1.onmessage = ({data}) => noted.drawn.push([performance.now(), data]);
    view.repainted.connect(() => {
      const newest = source.data.newest[0];
      if (newest && newest !== before) port2.postMessage(before = newest);
    });
  }
}"""
_PLOTS: Final = """sides => window.Bokeh && [...Bokeh.index.query(
  view => view.repainted && view.model.renderers.some(
    r => r.data_source.data.newest?.[0]?.length > 0))].length >= sides"""
_TAKE: Final = """() => {
  const {frames, drawn} = window.poolproofNoted;
  window.poolproofNoted.frames = 0;
  window.poolproofNoted.drawn = [];
  return {frames, drawn, now: performance.now()};
}"""


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a page drew in a while."""

    seconds: float
    until_ns: float
    frames: int  #: of the browser, whether anything was new in them or not
    updates: int  #: frames that showed something new, of all sides' lanes together
    #: thread -> when frames were drawn, and the newest event of its lane in them; ns, ours, sorted
    lanes: dict[int, tuple[np.ndarray, np.ndarray]]


class Looking:
    """One page in a browser. `error_s` is what its clock is known to within."""

    def __init__(self, page: Page, devtools: CDPSession, browser: CDPSession, sides: int) -> None:
        self._page = page
        self._devtools = devtools
        self._browser = browser
        page.wait_for_function(_PLOTS, arg=sides, timeout=_PATIENCE_S * 1e3)
        page.evaluate(_NOTE)
        self._zero_ns, self.error_s = self._clock()
        self._taken = 0.0

    def wait(self, seconds: float) -> None:
        """Let it draw."""
        self._page.wait_for_timeout(seconds * 1e3)

    def drawn(self) -> Drawn:
        """Return what it has drawn since the last call."""
        noted = self._page.evaluate(_TAKE)
        lanes: dict[int, list[tuple[float, float]]] = {}
        for drawn_ms, newest in noted["drawn"]:
            for tid, newest_s in newest:
                lanes.setdefault(int(tid), []).append((drawn_ms, newest_s))
        seconds = (noted["now"] - self._taken) / 1e3
        self._taken = noted["now"]
        return Drawn(
            seconds=seconds,
            until_ns=self._zero_ns + noted["now"] * 1e6,
            frames=noted["frames"],
            updates=len(noted["drawn"]),
            lanes={tid: self._ours(frames) for tid, frames in lanes.items()},
        )

    def heap_bytes(self) -> float:
        """Return what the page's JavaScript holds, without what is garbage."""
        self._devtools.send("HeapProfiler.collectGarbage")
        metrics = self._devtools.send("Performance.getMetrics")["metrics"]
        return float(next(m["value"] for m in metrics if m["name"] == "JSHeapUsedSize"))

    def renderers(self) -> list[psutil.Process]:
        """Return the browser's processes that draw pages."""
        found = self._browser.send("SystemInfo.getProcessInfo")["processInfo"]
        return [psutil.Process(int(p["id"])) for p in found if p["type"] == "renderer"]

    @contextmanager
    def stuck(self) -> Iterator[None]:
        """Stop the processes that draw pages for a while."""
        stopped = self.renderers()
        for process in stopped:
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in stopped:
                process.send_signal(signal.SIGCONT)

    def _clock(self) -> tuple[float, float]:
        """Return the zero of the page's clock on ours in ns, and its error in s: half a trip."""
        trips = []
        for _ in range(_TRIPS):
            begin_ns = time.monotonic_ns()
            page_ms = self._page.evaluate("performance.now()")
            end_ns = time.monotonic_ns()
            trips.append((end_ns - begin_ns, (begin_ns + end_ns) / 2 - page_ms * 1e6))
        trip_ns, zero_ns = min(trips)
        return zero_ns, trip_ns / 2e9

    def _ours(self, frames: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
        drawn_ms, newest_s = np.array(frames).T
        return self._zero_ns + drawn_ms * 1e6, np.round(newest_s * 1e9)


class Chromium:
    """A browser of ours. Raises UsageError if one of its parts is not installed."""

    def __init__(self) -> None:
        try:
            from playwright.sync_api import sync_playwright  # noqa: PLC0415  only the tests need it
        except ModuleNotFoundError as error:
            raise UsageError("This needs playwright: pip install 'poolproof[test]'.") from error
        path = next(filter(None, map(shutil.which, _NAMES)), None)
        if path is None:
            names = ", ".join(_NAMES)
            raise UsageError(f"This needs one of {names} (on Debian: apt install chromium).")
        self._path = path
        self._playwright = sync_playwright()
        self._browser: Browser

    def __enter__(self) -> Self:
        # As root, in a container, its own sandbox cannot start; it only sees pages of ours.
        words = ["--no-sandbox"] if os.geteuid() == 0 else []
        chromium = self._playwright.__enter__().chromium
        self._browser = chromium.launch(executable_path=self._path, args=words)
        return self

    def __exit__(self, *_: object) -> None:
        self._browser.close()
        self._playwright.__exit__()

    @contextmanager
    def looking(self, port: int, sides: int, check: Callable[[], None]) -> Iterator[Looking]:
        """Open the page at a port, as soon as somebody serves it and so many sides are seen.

        `check` raises if who should serve it has given up.
        """
        _until_served(port, check)
        context = self._browser.new_context(viewport={"width": 1280, "height": 1000})
        page = context.new_page()
        page.goto(f"http://{HOST}:{port}/")
        devtools = context.new_cdp_session(page)
        devtools.send("Performance.enable")
        yield Looking(page, devtools, self._browser.new_browser_cdp_session(), sides)
        context.close()


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _until_served(port: int, check: Callable[[], None]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        check()
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        if time.monotonic() > deadline:
            raise UsageError(f"Nobody serves a page at port {port}.")
        time.sleep(0.05)
