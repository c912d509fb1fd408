"""An independent count of starts and ends: loaded into a worker by `POOLPROOF_INCLUDE`.

It shares no code and no clock with what it checks: each event is an entry of a stream of its own,
and Redis, which gives the entry its id, says when it was.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Final

import redis
from celery.signals import task_postrun, task_prerun

STREAM: Final = "onlooker"


@cache
def _client(pid: int) -> redis.Redis:
    """One a process: `pid` is there so that a child that is forked gets one of its own."""
    del pid
    return redis.Redis.from_url(os.environ["POOLPROOF_REDIS_URL"])


def _add(event: str, task_id: str) -> None:
    _client(os.getpid()).xadd(STREAM, {"event": event, "task": task_id})


# Connected when the worker imports this, so before the recorder, at the start and at the end.
@task_prerun.connect(weak=False)  # type: ignore[untyped-decorator]
def _begin(task_id: str, **_: object) -> None:
    _add("start", task_id)


@task_postrun.connect(weak=False)  # type: ignore[untyped-decorator]
def _end(task_id: str, **_: object) -> None:
    _add("end", task_id)
