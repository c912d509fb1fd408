"""An independent count, in Redis: `POOLPROOF_INCLUDE` loads it, and it shares no code with us.

Each start and each end of a task INCRs one field, before the task's process can die of what the
task does next. The keys lie outside the namespace of the run, so they are still there after it.
"""

from __future__ import annotations

import os
import time
from functools import cache

import redis
from celery.signals import task_postrun, task_prerun

KEY = "oracle"
ENDED_NS = "oracle:ended_ns"
_CONNECTIONS = 8


@cache
def _client(pid: int) -> redis.Redis:
    del pid  # a child must not share the connection of the process that it was forked from
    client = redis.Redis.from_url(os.environ["POOLPROOF_REDIS_URL"])
    # One for each thread, now: later there may be no file descriptor left.
    pool = client.connection_pool
    for connection in [pool.get_connection() for _ in range(_CONNECTIONS)]:
        pool.release(connection)
    return client


@task_prerun.connect(weak=False)
def _begun(task_id: str, **_: object) -> None:
    _client(os.getpid()).hincrby(KEY, f"begun:{task_id}", 1)


@task_postrun.connect(weak=False)
def _ended(task_id: str, state: str | None = None, **_: object) -> None:
    # When, before that: a process may be killed in the middle of this.
    _client(os.getpid()).hset(ENDED_NS, task_id, time.monotonic_ns())
    _client(os.getpid()).hincrby(KEY, f"{state}:{task_id}", 1)
