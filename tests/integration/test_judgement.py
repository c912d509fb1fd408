"""Whoever plays a run on workers elsewhere learns from Redis how it was judged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from poolproof.cli.play import _said
from poolproof.produce.plan import Run
from poolproof.runner.listener import NullListener
from poolproof.runner.remote_environment import Judgement, RemoteEnvironment
from poolproof.runner.session import Session
from poolproof_workers.contract import Keys
from poolproof_workers.errors import FAILED_CHECK, OK, DiskError

if TYPE_CHECKING:
    from redis import Redis

KEYS = Keys("judged")
RUN = Run.new(tag=7)


class Judge(NullListener):
    """A collector that judges as soon as somebody waits for it."""

    def __init__(self, redis: Redis, code: int, error: str = "") -> None:
        self.told = {"run": RUN.id, "code": code, "error": error}
        self._redis = redis

    def phase(self, text: str) -> None:
        assert "judged" in text
        self._redis.set(KEYS.judged, json.dumps(self.told))


def _judgement(redis: Redis, listener: NullListener, **news: Any) -> Judgement:
    redis.set(KEYS.progress, json.dumps({"run": RUN.id, "closed": True, **news}))
    # What stands there until then is of another run.
    redis.set(KEYS.judged, json.dumps({"run": "another", "code": OK, "error": ""}))
    producer: Any = None  # nothing is sent any more
    session = Session(redis, KEYS, RUN, producer, (), listener, lambda: None)
    return RemoteEnvironment(redis, KEYS, "redis://127.0.0.1:1/0")._judgement(
        session, session.progress()
    )


@pytest.mark.parametrize("code", [OK, FAILED_CHECK])
def test_it_ends_with_the_exit_code_of_the_run(redis: Redis, code: int) -> None:
    judgement = _judgement(redis, Judge(redis, code), judges=True)

    assert judgement == Judgement(RUN.id, code)
    assert ("NO valid result" in _said(judgement)) == (code != OK)


def test_a_run_that_could_not_be_judged_is_an_error_that_says_why(redis: Redis) -> None:
    with pytest.raises(DiskError, match="No space left"):
        _judgement(redis, Judge(redis, 5, "No space left."), judges=True)


def test_nobody_waits_for_a_collector_that_does_not_judge(redis: Redis) -> None:
    judgement = _judgement(redis, NullListener())

    assert judgement.code == OK
    assert "nobody has judged it" in _said(judgement)
