"""A bench that lacks something says what it is, and how to get it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from click.testing import CliRunner

from poolproof.experiments.bench import command

if TYPE_CHECKING:
    import pytest


def test_without_playwright_the_live_bench_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("playwright", "playwright.sync_api"):
        monkeypatch.setitem(sys.modules, name, None)

    result = CliRunner().invoke(command, ["live"])

    assert result.exit_code == 2
    assert result.output.splitlines() == [
        "bench: This needs playwright: pip install 'poolproof[test]'."
    ]


def test_without_chromium_the_live_bench_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")

    result = CliRunner().invoke(command, ["live"])

    assert result.exit_code == 2
    assert "apt install chromium" in result.output
