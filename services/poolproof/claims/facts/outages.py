"""Claims about a Redis that goes away under a worker, tried on bare Celery workers."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from typing import TYPE_CHECKING, Final

import psutil

from poolproof.claims.bare_worker import bare_worker, holds
from poolproof.claims.claim import MEASURED, Claim, Finding, not_shown, shown
from poolproof.infra.connection import connect
from poolproof.infra.redis_server import RedisServer

if TYPE_CHECKING:
    from redis import Redis

    from poolproof.claims.lab import Lab

_AT_MOST_S: Final = 120.0
_BEGIN_S: Final = 12.0
#: A worker that ends waits for its task first.
_TASK_S: Final = 2.0
_STEP_S: Final = 20.0
_TRIES: Final = 20
_RUN_S: Final = 0.02  #: of a worker between two of them
_SETTINGS: Final = {"task_acks_late": True}


def _goes_away(lab: Lab, pool: str, *, first: str) -> Finding:
    """Let a worker hear in a given order, on its two connections, that Redis is gone.

    It stands still meanwhile, so that it finds both closed, in that order, and no Redis any more.
    """
    lab.listener.phase(f"Redis goes away under {pool}, {first} first")
    with (
        RedisServer.start() as server,
        bare_worker(pool, url=server.url, settings=_SETTINGS) as worker,
    ):
        server.keep()
        worker.count(_TASK_S)
        if not holds(lambda: worker.runs() == 1, _BEGIN_S):
            return not_shown("the task did not begin")
        main = psutil.Process(worker.process.pid)
        with connect(server.url) as redis:
            if not _close_in_order(redis, main, first):
                return not_shown(f"in {_TRIES} tries it was not stopped while it waited for tasks")
        os.kill(server.pid, signal.SIGKILL)
        main.resume()
        ended = holds(lambda: worker.process.poll() is not None, _TASK_S + _STEP_S / 2)
        server.restart()
        works = not ended and holds(worker.nap(0).ready, _STEP_S)
    code = worker.process.poll() if ended else None
    if ended:
        observed = f"it ended with code {code}"
    else:
        observed = "it lived on, and worked again" if works else "it lived on, and did nothing more"
    as_said = code not in (None, 0) if first == "remote control" else works
    return shown(observed, holds=as_said, ended=ended, works=works)


def _close_in_order(redis: Redis, main: psutil.Process, first: str) -> bool:
    """Stop a worker while it waits for tasks, and close its connections; False if it never did."""
    for _ in range(_TRIES):
        main.suspend()
        ports = {each.laddr.port for each in main.net_connections("tcp")}
        clients = [
            client
            for client in redis.client_list()
            if int(client["addr"].rpartition(":")[2]) in ports
        ]
        waiting = [client["id"] for client in clients if "b" in client["flags"]]
        hearing = [client["id"] for client in clients if "P" in client["flags"]]
        if waiting and hearing:
            both = hearing + waiting if first == "remote control" else waiting + hearing
            for client in both:
                redis.client_kill_filter(_id=client)
            return True
        main.resume()
        time.sleep(_RUN_S)
    return False


CLAIMS: Final = (
    Claim(
        "outage-survived",
        "A worker whose Redis goes away lives on and comes back, if the first connection that "
        "tells it so is the one that it waits for tasks on.",
        MEASURED,
        "it lives, and runs a task when Redis is there again",
        _AT_MOST_S,
        partial(_goes_away, first="queue"),
        ("prefork:2", "threads:2"),
    ),
    Claim(
        "outage-fatal",
        "It ends, if the first is that of its remote control and it holds a message: kombu closes "
        "the other twice, and the second time there is nothing left to give the message back with.",
        f"{MEASURED}, as in kombu #582",
        "it ends by itself, with a code that is not 0",
        _AT_MOST_S,
        partial(_goes_away, first="remote control"),
        ("prefork:2", "threads:2"),
    ),
)
