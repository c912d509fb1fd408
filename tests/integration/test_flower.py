"""A Flower of our own beside the workers: nobody else gets in, and it never outlives us."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import psutil
import pytest

from poolproof.infra.flower import FlowerPlace, LocalFlower
from poolproof.infra.redis_server import RedisServer
from poolproof_workers.contract import Keys
from tests.integration.cli import Cli

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Eventually


def _status(url: str) -> int | None:
    """Return how it answers somebody who has no password; None: not yet."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return None


def test_it_asks_for_a_password_and_comes_back_where_it_was(eventually: Eventually) -> None:
    with (
        RedisServer.start() as server,
        FlowerPlace() as at,
        LocalFlower(at, server.url, Keys("flower-test")) as flower,
    ):
        place = f"http://127.0.0.1:{at.port}"
        eventually(lambda: _status(place) == 401, 60.0)
        assert _status(f"{place}/api/tasks") == 401
        assert not flower.wait(["nobody@nowhere"], 0.2)

        first = psutil.Process(flower.pid)
        first.kill()
        eventually(lambda: (flower.check(), flower.pid != first.pid)[1], 30.0)
        eventually(lambda: _status(place) == 401, 60.0)
        last = psutil.Process(flower.pid)

    assert not last.is_running()


def test_with_a_page_that_is_killed_flower_ends_too(tmp_path: Path, eventually: Eventually) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    cli = Cli.start("serve", "--with-flower", "--port", port, "--out", "runs", cwd=tmp_path)
    try:
        eventually(lambda: any("work flows" in line for line in cli.lines), 90.0)
        assert [words for words in cli.left() if "flower" in words.split()]
    finally:
        cli.process.kill()
        cli.finish(30)

    eventually(lambda: not cli.left(), 30.0)


def test_a_run_that_is_only_shown_gets_no_flower_of_its_own(tmp_path: Path) -> None:
    code, _, lines = Cli.start("serve", "--watch", "--with-flower", cwd=tmp_path).finish()

    assert code == 2
    assert "--with-flower" in lines[-1]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
