"""A headless Chromium for the tests, or why there is none."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

_NAMES = ("chromium", "chromium-browser", "google-chrome")


def _path() -> str | None:
    return next(filter(None, map(shutil.which, _NAMES)), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the Chromium of this machine."""
    with sync_playwright() as playwright:
        # As root, in a container, its own sandbox cannot start; it only sees pages of ours.
        found = playwright.chromium.launch(
            executable_path=_path(), args=["--no-sandbox"], timeout=120_000
        )
        yield found
        found.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if _path() is None and os.environ.get("CI"):
        pytest.fail("the tests in a browser must run in CI: install Chromium")
    if _path() is None:
        pytest.skip(f"there is none of {', '.join(_NAMES)} here (on Debian: apt install chromium)")
    with chromium() as found:
        yield found
