"""A run on workers elsewhere, and what becomes of it when another begins right after it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from poolproof.runner import remote_environment
from poolproof.runner.listener import NullListener
from poolproof.runner.remote_environment import Judgement, RemoteEnvironment
from poolproof_workers.contract import Keys
from poolproof_workers.errors import FAILED_CHECK, DiskError

KEYS = Keys("one")
#: What Redis holds once another run has begun, and once it was started anew.
_FORGOTTEN = [{"run": "another"}, {}]


class _Redis:
    """Has the collector's last word of a run, once; then it says what it says in its place."""

    def __init__(self, after: dict[str, Any], *, judges: bool, hears: bool) -> None:
        self.run, self._after = "", after
        self._closed = [{"closed": True, "judges": judges}] if hears else []

    def set(self, _: str, run: str) -> None:
        self.run = run

    def get(self, key: str) -> str:
        if key == KEYS.judged:
            return json.dumps({"run": self.run, "code": FAILED_CHECK, "error": ""})
        closed = self._closed.pop() if self._closed and self.ended else None
        return json.dumps({"run": self.run, **closed} if closed else self._after)

    ended = False

    def op(self, op: str, /, **_: Any) -> None:
        self.ended = op == "run-end"


def _play(redis: _Redis, monkeypatch: pytest.MonkeyPatch) -> Judgement:
    monkeypatch.setattr(remote_environment, "registered", lambda *_: {})
    monkeypatch.setattr(remote_environment, "versions", lambda _: {})
    monkeypatch.setattr(remote_environment, "Producer", lambda *_, **__: producer)
    monkeypatch.setattr(remote_environment, "_KEPT_S", 0.05)
    nothing = lambda *_, **__: None  # noqa: E731
    producer = SimpleNamespace(op=redis.op, clock=nothing, switch_events=nothing)
    played = SimpleNamespace(crash=None, events=False, to_json=dict, play=nothing)
    there = RemoteEnvironment(cast("Any", redis), KEYS, "redis://127.0.0.1:1/0")
    return there.play(cast("Any", played), NullListener(), workers=0)


@pytest.mark.parametrize("after", _FORGOTTEN)
def test_a_run_is_judged_as_its_collector_said_whatever_came_after_it(
    after: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    redis = _Redis(after, judges=True, hears=True)

    assert _play(redis, monkeypatch) == Judgement(redis.run, FAILED_CHECK)


def test_a_collector_that_does_not_judge_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not _play(_Redis({}, judges=False, hears=True), monkeypatch).judged


@pytest.mark.parametrize("after", _FORGOTTEN)
def test_a_run_of_which_nobody_knows_how_it_ended_is_no_success(
    after: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DiskError, match="did not say in time that it closed the run"):
        _play(_Redis(after, judges=True, hears=False), monkeypatch)
