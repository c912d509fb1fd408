"""A Celery worker without poolproof in it or beside it, with a result backend to ask."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psutil
from celery import Celery

from poolproof.experiments.facts.application import NAP
from poolproof.fleet.redis_server import RedisServer
from poolproof_workers.errors import WorkerError
from poolproof_workers.leash import leashed
from poolproof_workers.pools import PoolSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_READY_S: Final = 30.0
_POLL_S: Final = 0.02
_APPLICATION: Final = "poolproof.experiments.facts.application"


@dataclass(frozen=True, slots=True)
class Bare:
    """A running worker, on a Redis of its own."""

    app: Any
    process: subprocess.Popen[bytes]

    def nap(self, seconds: float, **options: Any) -> Any:
        """Send one task that sleeps; return Celery's handle on its result, which is a pid."""
        return self.app.send_task(NAP, [seconds], **options)

    def children(self) -> list[psutil.Process]:
        """Return all processes below the main one."""
        found: list[psutil.Process] = psutil.Process(self.process.pid).children(recursive=True)
        return found


@contextmanager
def bare_worker(pool: str, *options: str) -> Iterator[Bare]:
    """Start a worker with further options of `celery worker`; it is ready, and killed at the end.

    Raises WorkerError if it does not get ready.
    """
    spec = PoolSpec.parse(pool)
    words = [sys.executable, "-m", "celery", "-A", _APPLICATION, "worker", "-l", "ERROR"]
    words += ["--pool", spec.pool.celery, "--concurrency", str(spec.concurrency), *options]
    with RedisServer.start() as server:
        app = Celery("claims", broker=server.url, backend=server.url, set_as_current=False)
        urls = {"CELERY_BROKER_URL": server.url, "CELERY_RESULT_BACKEND": server.url}
        process = subprocess.Popen(
            leashed(words),
            env={**os.environ, **urls},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            worker = Bare(app, process)
            ready = worker.nap(0)
            if not holds(ready.ready, _READY_S):
                raise WorkerError(f"A bare worker with {pool} did not get ready.")
            yield worker
        finally:
            app.close()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def holds(true: Callable[[], bool], deadline_s: float) -> bool:
    """Wait until it is true; False if the deadline comes first."""
    deadline = time.monotonic() + deadline_s
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True
