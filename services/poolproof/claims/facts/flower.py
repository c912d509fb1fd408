"""A claim about Flower, tried beside a bare Celery worker that is killed."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from poolproof.claims.bare_worker import bare_celery, bare_worker, holds
from poolproof.claims.claim import Claim, Finding, not_shown, shown
from poolproof.infra.connection import connect
from poolproof.infra.flower import USER, FlowerPlace
from poolproof.infra.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolproof.claims.lab import Lab

_AT_MOST_S: Final = 90.0
_READY_S: Final = 30.0
_HEAR_S: Final = 15.0
_WATCH_S: Final = 10.0
#: They run longer than anybody watches.
_TASK_S: Final = 60.0
_SLOTS: Final = 4
_WORDS: Final = (
    *("flower", "--address=127.0.0.1", "--persistent=False"),
    *("--conf=/dev/null", "--logging=warning"),
)


def _shows_the_dead(lab: Lab, pool: str) -> Finding:
    """Kill a worker while all its slots run tasks, and ask Flower and the broker about them."""
    lab.listener.phase(f"what Flower shows when {pool} is killed")
    with (
        FlowerPlace() as place,
        RedisServer.start() as server,
        _flower(place, server.url),
        bare_worker(pool, "-E", url=server.url) as worker,
    ):
        if not holds(lambda: bool(place.heard()), _HEAR_S):
            return not_shown("Flower heard of no worker")
        for _ in range(_SLOTS):
            worker.count(_TASK_S)
        if not holds(lambda: _started(place) == worker.runs() == _SLOTS, _HEAR_S):
            return not_shown("Flower did not hear of all tasks that began")
        os.killpg(worker.process.pid, signal.SIGKILL)
        worker.process.wait()
        with connect(server.url) as redis:
            held = redis.llen(worker.queue) + redis.hlen("unacked")
        changed = holds(lambda: _started(place) != _SLOTS, _WATCH_S)
        started = _started(place)
    observed = (
        f"{started} of {_SLOTS} are STARTED in Flower {_WATCH_S:.0f} s later; Redis holds {held}"
    )
    return shown(observed, holds=not changed and held == 0, started=started, held=held)


@contextmanager
def _flower(place: FlowerPlace, url: str) -> Iterator[None]:
    """Run a Flower of the bare workers' application; it answers when this yields."""
    login = {"FLOWER_BASIC_AUTH": f"{USER}:{place.password}"}
    with bare_celery([*_WORDS, f"--port={place.port}"], url, login):
        holds(lambda: place.ask("workers?json=1") is not None, _READY_S)
        yield


def _started(place: FlowerPlace) -> int:
    return len(place.ask("api/tasks?state=STARTED") or ())


CLAIMS: Final = (
    Claim(
        "flower-started",
        "Flower goes on to show as started what ran on a worker that was killed, though nothing "
        "is left that could run it again: it shows what it heard last, not what is so.",
        "flower #1428",
        f"all of them STARTED for {_WATCH_S:.0f} s, and no message of them in Redis",
        _AT_MOST_S,
        _shows_the_dead,
        ("prefork:4", "threads:4"),
    ),
)
