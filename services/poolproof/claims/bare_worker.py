"""A Celery worker without poolproof in it or beside it, with a result backend to ask."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psutil
from celery import Celery

from poolproof.infra.connection import connect
from poolproof.infra.redis_server import RedisServer
from poolproof_workers.errors import WorkerError
from poolproof_workers.included.application import COUNTED, NAP, RUNS, SETTINGS, SPIN
from poolproof_workers.pools import PoolSpec
from poolproof_workers.supervisor.leash import leashed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_READY_S: Final = 30.0
_POLL_S: Final = 0.02
_APPLICATION: Final = "poolproof_workers.included.application"


@dataclass(frozen=True, slots=True)
class Bare:
    """A running worker, on a Redis of its own."""

    app: Any
    process: subprocess.Popen[bytes]
    url: str  #: of its Redis
    queue: str

    def nap(self, seconds: float, **options: Any) -> Any:
        """Send one task that sleeps; return Celery's handle on its result, which is a pid."""
        return self.app.send_task(NAP, [seconds], queue=self.queue, **options)

    def spin(self, seconds: float, **options: Any) -> Any:
        """Send one task that computes; return Celery's handle on its result."""
        return self.app.send_task(SPIN, [seconds], queue=self.queue, **options)

    def count(self, seconds: float) -> None:
        """Send one task that says that it begins, and sleeps."""
        self.app.send_task(COUNTED, [seconds], queue=self.queue)

    def runs(self) -> int:
        """Return how often such tasks began, on all workers of this Redis."""
        with connect(self.url) as redis:
            return int(redis.get(RUNS) or 0)

    def children(self) -> list[psutil.Process]:
        """Return all processes below the main one."""
        found: list[psutil.Process] = psutil.Process(self.process.pid).children(recursive=True)
        return found


@contextmanager
def bare_worker(
    pool: str,
    *options: str,
    url: str | None = None,
    queue: str = "celery",
    settings: Mapping[str, Any] | None = None,
) -> Iterator[Bare]:
    """Start a worker with further options of `celery worker`; it is ready, and killed at the end.

    It has a Redis of its own, or the one at `url`, and Celery's `settings`. Raises WorkerError if
    it does not get ready.
    """
    spec = PoolSpec.parse(pool)
    words = ["worker", "-l", "ERROR", "--pool", spec.pool.celery]
    words += ["--concurrency", str(spec.concurrency), *options, "-Q", queue, "-n", f"{queue}@%h"]
    with ExitStack() as stack:
        url = url or stack.enter_context(RedisServer.start()).url
        app = Celery("claims", broker=url, backend=url, set_as_current=False)
        stack.callback(app.close)
        process = stack.enter_context(
            bare_celery(words, url, {SETTINGS: json.dumps(settings or {})})
        )
        worker = Bare(app, process, url, queue)
        ready = worker.nap(0)
        if not holds(ready.ready, _READY_S):
            raise WorkerError(f"A bare worker with {pool} did not get ready.")
        yield worker


@contextmanager
def bare_celery(
    words: Sequence[str], url: str, env: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command of Celery's on the bare application and the Redis at `url`; it is killed."""
    urls = {"CELERY_BROKER_URL": url, "CELERY_RESULT_BACKEND": url}
    process = subprocess.Popen(
        leashed([sys.executable, "-m", "celery", "-A", _APPLICATION, *words]),
        env={**os.environ, **urls, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
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
