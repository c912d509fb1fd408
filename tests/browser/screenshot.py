"""Takes the README's picture of the live page: python -m tests.browser.screenshot FILE."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.browser.conftest import chromium
from tests.browser.served import crash, free_port, looking, serving, until

_SCREEN = {"viewport": {"width": 1280, "height": 1160}, "color_scheme": "light"}


def main(file: str = "docs/live-page.png") -> None:
    """Crash both pools on a page of our own, and take the picture."""
    port = free_port()
    with (
        tempfile.TemporaryDirectory() as folder,
        serving("--out", "runs", cwd=Path(folder), port=port),
        chromium() as browser,
        looking(browser, port, **_SCREEN) as page,
    ):
        for side in ("prefork:4", "threads:4"):
            until(page, side, "completed", 60)
        crash(page, "prefork:4", "lost one child process")
        crash(page, "threads:4", "lost its worker to SIGSEGV")
        done = until(page, "threads:4", "stranded", 1)["completed"]
        until(page, "threads:4", "completed", done + 10)
        page.screenshot(path=file)


if __name__ == "__main__":
    main(*sys.argv[1:])
