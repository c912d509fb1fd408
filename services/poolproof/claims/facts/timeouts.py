"""Claims about who puts back what lies in `unacked` too long, tried on bare Celery workers."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from poolproof.claims.bare_worker import bare_worker, holds
from poolproof.claims.claim import MEASURED, Claim, Finding, not_shown, shown
from poolproof.infra.connection import connect
from poolproof.infra.proxy import Proxy
from poolproof.infra.redis_server import RedisServer
from poolproof_workers.included.application import RUNS

if TYPE_CHECKING:
    from poolproof.claims.lab import Lab

_AT_MOST_S: Final = 90.0
_SHORT_S: Final = 2
_LONG_S: Final = 3600
#: A look takes place every half second.
_WATCH_S: Final = 15.0
_BEGIN_S: Final = 12.0
#: It runs longer than anybody watches.
_TASK_S: Final = 60.0
#: The queue of the worker that is killed.
_DEAD: Final = "dead"
_STARTS: Final = 3
#: What a worker holds while it looks, and how slow its way to Redis is: it takes four ways.
_LOCK: Final = "unacked_mutex"
_SLOW_S: Final = 0.3


def _settings(visibility_s: int) -> dict[str, Any]:
    return {
        "task_acks_late": True,
        "worker_prefetch_multiplier": 1,
        "broker_transport_options": {
            "visibility_timeout": visibility_s,
            "unacked_restore_interval": 0.5,
            "unacked_restore_throttle": 1,
        },
    }


def _shortest_wins(lab: Lab, pool: str) -> Finding:
    """Run a task under a long timeout; then a worker with a short one comes, for another queue."""
    lab.listener.phase(f"two visibility timeouts on one Redis, on {pool}")
    with (
        RedisServer.start() as server,
        bare_worker(pool, url=server.url, queue="patient", settings=_settings(_LONG_S)) as patient,
    ):
        patient.count(_TASK_S)
        if not holds(lambda: patient.runs() == 1, _BEGIN_S):
            return not_shown("the task did not begin")
        if holds(lambda: patient.runs() > 1, 3 * _SHORT_S):
            return not_shown("it began again before the other worker was there")
        begin = time.monotonic()
        with bare_worker(pool, url=server.url, queue="hasty", settings=_settings(_SHORT_S)):
            again = holds(lambda: patient.runs() > 1, _WATCH_S)
            took_s = time.monotonic() - begin
    if again:
        observed = (
            f"it ran once in {3 * _SHORT_S} s, and again {took_s:.1f} s after the other was started"
        )
    else:
        observed = f"it ran once, also in {_WATCH_S:.0f} s beside the other"
    return shown(observed, holds=again, seconds=took_s)


def _idle(lab: Lab, pool: str, *, restores: bool) -> Finding:
    """Kill a worker that holds a message, and watch what one does that is ready and idle by then.

    It waits for tasks of another queue: what it puts back stays where the dead one took it from.
    """
    lab.listener.phase(f"what a dead worker held, beside an idle {pool}")
    settings = _settings(_SHORT_S)
    with (
        RedisServer.start() as server,
        bare_worker(pool, url=server.url, queue="idle", settings=settings),
    ):
        if not _dies_with_a_message(server.url):
            return not_shown("the task did not begin")
        begin = time.monotonic()
        back = holds(lambda: _waits(server.url), _WATCH_S)
        took_s = time.monotonic() - begin
    return shown(_came_back(took_s, back=back), holds=back == restores, back=back, seconds=took_s)


def _comes_late(lab: Lab, pool: str) -> Finding:
    """Start a worker for another queue when what a dead one held has been overdue for long."""
    lab.listener.phase(f"what a dead worker held, when {pool} starts")
    with RedisServer.start() as server:
        if not _dies_with_a_message(server.url):
            return not_shown("the task did not begin")
        if holds(lambda: _waits(server.url), 2 * _SHORT_S):
            return not_shown("it came back before the other worker was there")
        begin, starts, back = time.monotonic(), 0, False
        while not back and starts < _STARTS:
            starts += 1
            with bare_worker(pool, url=server.url, queue="idle", settings=_settings(_SHORT_S)):
                back = _waits(server.url)
                took_s = time.monotonic() - begin
    observed = (
        f"{_came_back(took_s, back=back)}, when the worker had just run a first task of its own"
    )
    if starts > 1:
        observed += f", started {starts} times"
    return shown(observed, holds=back, back=back, seconds=took_s, starts=starts)


def _dies_with_the_lock(lab: Lab, pool: str) -> Finding:
    """Kill a worker while it looks, by a slow way to Redis; watch another, which finds the lock."""
    lab.listener.phase(f"a lock that a dead {pool} left")
    settings = _settings(_SHORT_S)
    with RedisServer.start() as server, connect(server.url) as redis:
        with (
            Proxy(server.url) as way,
            bare_worker(pool, url=way.url, queue=_DEAD, settings=settings) as dead,
        ):
            dead.count(_TASK_S)
            if not holds(lambda: redis.get(RUNS) is not None, _BEGIN_S):
                return not_shown("the task did not begin")
            way.slow(_SLOW_S)
            # Not a look that began when the way was still short.
            looks = holds(lambda: not redis.exists(_LOCK), _WATCH_S) and holds(
                lambda: bool(redis.exists(_LOCK)), _WATCH_S
            )
        left_s = redis.pttl(_LOCK) / 1e3
        if not looks or left_s < 0:
            return not_shown("it was not killed while it looked")
        with bare_worker("threads:1", url=server.url, queue="idle", settings=settings):
            begin = time.monotonic()
            back = holds(lambda: _waits(server.url), _WATCH_S)
            watched_s = time.monotonic() - begin
            redis.delete(_LOCK)
            after = holds(lambda: _waits(server.url), _WATCH_S)
    observed = (
        f"{_came_back(watched_s, back=back)} beside the other, by a lock with {left_s:.0f} s to go"
        + (", and back when it was deleted" if after and not back else "")
    )
    return shown(observed, holds=after and not back, back=back, after=after, left_s=left_s)


def _dies_with_a_message(url: str) -> bool:
    """Start a worker, give it a task and kill it while the task runs; False if it never began."""
    with bare_worker("threads:1", url=url, queue=_DEAD, settings=_settings(_LONG_S)) as dead:
        dead.count(_TASK_S)
        return holds(lambda: dead.runs() == 1, _BEGIN_S)


def _waits(url: str) -> bool:
    """Whether the dead worker's message waits in its queue again."""
    with connect(url) as redis:
        return bool(redis.llen(_DEAD))


def _came_back(took_s: float, *, back: bool) -> str:
    return f"it was back after {took_s:.1f} s" if back else f"not back in {took_s:.1f} s"


CLAIMS: Final = (
    Claim(
        "shortest-timeout",
        "Of all workers on one Redis the one with the shortest visibility timeout decides: it puts "
        "back what runs on another, whatever that one was told.",
        "celery #9339",
        f"a task under a timeout of {_LONG_S} s runs again when a worker with {_SHORT_S} s comes",
        _AT_MOST_S,
        _shortest_wins,
        ("prefork:2", "threads:2"),
    ),
    Claim(
        "idle-restores",
        "An idle worker puts back what a dead one held, when its visibility timeout is over.",
        "kombu's code",
        f"back within {_WATCH_S:.0f} s, by a timeout of {_SHORT_S} s and a look every 0.5 s",
        _AT_MOST_S,
        partial(_idle, restores=True),
        ("prefork:2", "threads:2", "solo"),
    ),
    Claim(
        "idle-gevent",
        "An idle gevent worker does not: it only looks when Redis has nothing at all to say, and "
        "its own wait for tasks is answered every second.",
        "celery #4976, #4968, kombu #1025",
        f"not back within {_WATCH_S:.0f} s",
        _AT_MOST_S,
        partial(_idle, restores=False),
        ("gevent:2",),
    ),
    Claim(
        "late-gevent",
        "It looks once, as it starts, while it waits for what other workers say to its greeting "
        "(mingle): a new gevent worker does put back what is overdue by then, unless Redis ends "
        "that wait first.",
        MEASURED,
        f"back before it runs its first task, in one of {_STARTS} starts",
        _AT_MOST_S,
        _comes_late,
        ("gevent:2",),
    ),
    Claim(
        "orphaned-lock",
        "A worker that dies while it looks for what is overdue leaves its lock behind, and until "
        "that ends, after five minutes (`unacked_mutex_expire`), nobody puts anything back.",
        MEASURED,
        f"not back within {_WATCH_S:.0f} s beside a worker that looks every 0.5 s, and back when "
        "the lock is deleted",
        _AT_MOST_S,
        _dies_with_the_lock,
        ("prefork:2", "threads:2"),
    ),
)
