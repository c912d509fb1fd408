"""An independent count, in Redis: `POOLPROOF_INCLUDE` loads it, and it shares no code with us.

Each task counts four fields, and nothing but the process's death comes between two of them:
`taken`, `begun` around the recorder's record of its start, `returned`, `ended` around that of its
end. So a task whose fields differ was hit right there, and all others the recorder must have.

The time of each start is noted as well. The keys lie outside the namespace of the run, so they are
still there after it.
"""

from __future__ import annotations

import os
import time
from functools import cache, wraps
from typing import TYPE_CHECKING, Any

import redis
from celery.signals import celeryd_after_setup, task_postrun, task_prerun

if TYPE_CHECKING:
    from celery import Task
    from celery.apps.worker import Worker

KEY = "oracle"
#: A list of `TASK_ID UNIX_TIME`, one for each start.
TIMES = "oracle-times"
_CONNECTIONS = 8


@cache
def _client(pid: int) -> redis.Redis:
    del pid  # a child must not share the connection of the process that it was forked from
    # Where the broker itself is struck, the count is kept in another Redis.
    url = os.environ.get("ORACLE_REDIS_URL") or os.environ["POOLPROOF_REDIS_URL"]
    client = redis.Redis.from_url(url)
    # One for each thread, now: later there may be no file descriptor left.
    pool = client.connection_pool
    for connection in [pool.get_connection() for _ in range(_CONNECTIONS)]:
        pool.release(connection)
    return client


def _count(what: str, task_id: str) -> None:
    _client(os.getpid()).hincrby(KEY, f"{what}:{task_id}", 1)


@task_prerun.connect(weak=False)
def _taken(task_id: str, **_: object) -> None:
    # Connected at the import, so called before the recorder, which listens from worker_init on.
    # The time first: of whatever is counted it is known.
    _client(os.getpid()).rpush(TIMES, f"{task_id} {time.time()}")
    _count("taken", task_id)


@celeryd_after_setup.connect(weak=False)
def _surround(instance: Worker, **_: object) -> None:
    # After worker_init, so called after the recorder; and before any process of the pool is made.
    task_postrun.connect(_ended, weak=False)
    for task in instance.app.tasks.values():
        task.run = _counted(task)


def _counted(task: Task[Any, Any]) -> Any:
    run = task.run

    @wraps(run)
    def counted(*args: Any, **kwargs: Any) -> Any:
        _count("begun", task.request.id)
        result = run(*args, **kwargs)
        _count("returned", task.request.id)
        return result

    return counted


def _ended(task_id: str, state: str | None = None, **_: object) -> None:
    _count(f"ended-{state}", task_id)
