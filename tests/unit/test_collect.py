"""A collector that judges: what it says of a run that cannot be judged, and to whom."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from poolproof.cli import collect
from poolproof.report import publish
from poolproof_workers.errors import DISK, FAILED_CHECK, OK, DiskError

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


class _Redis:
    """Keeps what is told of each run; no run is left to be judged."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    def set(self, _: str, text: str) -> None:
        self.told.append(json.loads(text))

    def get(self, _: str) -> None:
        return None


@pytest.fixture
def redis(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> _Redis:
    """Two runs are closed, one after the other, and no history of them is there."""
    redis, closed = _Redis(), [tmp_path / "one", tmp_path / "two"]

    class Collector:
        def __init__(self, *_: Any, **__: Any) -> None: ...

        def run(self, **_: Any) -> Path | None:
            return closed.pop(0) if closed else None

    monkeypatch.setattr(collect, "Collector", Collector)
    for name in ("connect", "open_client", "noticing"):
        monkeypatch.setattr(collect, name, lambda _: nullcontext(redis))
    monkeypatch.setattr(collect, "wait_until_reachable", lambda *_: None)
    return redis


def _collect(*options: str) -> Result:
    return CliRunner().invoke(collect.command, options, standalone_mode=False)


def test_a_run_that_cannot_be_judged_is_told_and_the_next_is_kept(redis: _Redis) -> None:
    ended = _collect()

    assert (ended.exception, ended.return_value) == (None, OK)
    assert [(told["run"], told["code"]) for told in redis.told] == [("one", DISK), ("two", DISK)]
    assert ended.stderr.splitlines() == [f"poolproof: {told['error']}" for told in redis.told]


def test_with_once_it_is_what_the_collector_ends_with(redis: _Redis) -> None:
    ended = _collect("--once")

    assert isinstance(ended.exception, DiskError)
    assert [told["error"] for told in redis.told] == [str(ended.exception)]


def test_who_plays_a_run_hears_of_a_bug_of_the_judge(
    redis: _Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def publish_(*_: Any, **__: Any) -> int:
        raise ValueError("no such thing")

    monkeypatch.setattr(publish, "publish", publish_)

    ended = _collect()

    assert isinstance(ended.exception, ValueError)
    told = {"run": "one", "code": FAILED_CHECK, "error": "ValueError: no such thing"}
    assert redis.told == [told]
