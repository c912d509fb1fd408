"""An independent log of what happens to tasks, in a Redis of its own: `POOLPROOF_INCLUDE` loads it.

It shares no code with the recorder. Each thing is noted twice: before the recorder has a chance to
write it down, and after. What lies between the two when a process is killed may have been recorded
or not; all else is certain.
"""

from __future__ import annotations

import os
import threading
import time
from functools import cache, partial
from typing import Any, Final

import redis
from celery import signals

URL: Final = "CHAOS_ORACLE_URL"
LOG: Final = "oracle:log"
_CONNECTIONS: Final = 6


@cache
def _client(pid: int) -> redis.Redis:
    del pid  # a child must not share the connection of the process that it was forked from
    client = redis.Redis.from_url(os.environ[URL])
    # One for each thread, now: later there may be no file descriptor left.
    pool = client.connection_pool
    for connection in [pool.get_connection() for _ in range(_CONNECTIONS)]:
        pool.release(connection)
    return client


def _note(edge: str, what: str, task: object) -> None:
    pid, tid = os.getpid(), threading.get_native_id()
    line = f"{edge} {what} {task} {pid} {tid} {time.monotonic_ns()}"
    _client(pid).rpush(LOG, line)


def _received(edge: str, request: Any, **_: object) -> None:
    _note(edge, "received", request.id)


def _begun(edge: str, task_id: str, **_: object) -> None:
    _note(edge, "begun", task_id)


def _ended(edge: str, task_id: str, state: str | None = None, **_: object) -> None:
    _note(edge, f"ended:{state or 'NONE'}", task_id)


def _failed(edge: str, task_id: str, **_: object) -> None:
    _note(edge, "failed", task_id)


def _revoked(edge: str, request: Any, **_: object) -> None:
    _note(edge, "revoked", request.id)


def _listen(edge: str) -> None:
    for signal, receiver in (
        (signals.task_received, _received),
        (signals.task_prerun, _begun),
        (signals.task_postrun, _ended),
        (signals.task_failure, _failed),
        (signals.task_revoked, _revoked),
    ):
        signal.connect(partial(receiver, edge), weak=False, dispatch_uid=f"{edge} {receiver}")


@signals.worker_init.connect(weak=False)
def _after_the_recorder(**_: object) -> None:
    # The recorder connects when the worker begins, and was imported before us.
    _listen("after")


_listen("before")
