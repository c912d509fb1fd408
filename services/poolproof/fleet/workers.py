"""Workers: those of this machine, which we start and keep, and all that registered in a Redis."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final, Self

from poolproof_workers.errors import (
    DISK,
    OK,
    REDIS,
    USAGE,
    WORKER,
    DiskError,
    PoolproofError,
    RedisUnreachable,
    UsageError,
    WorkerError,
)
from poolproof_workers.leash import leashed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from redis import Redis

    from poolproof_workers.contract import Keys
    from poolproof_workers.settings import Settings

#: A supervisor that was killed is started again so many times.
_RESTARTS: Final = 3
#: A supervisor stops Celery coldly 3 s after the grace, and ships for 3 s more.
_BEYOND_GRACE_S: Final = 8.0
_TAIL_BYTES: Final = 8_192
_ERRORS: Final[Mapping[int, type[PoolproofError]]] = {
    USAGE: UsageError,
    REDIS: RedisUnreachable,
    WORKER: WorkerError,
    DISK: DiskError,
}


@dataclass(slots=True)
class _Supervised:
    """One supervisor's process, and the file that takes what it and its Celery print."""

    settings: Settings
    log: IO[bytes]
    process: subprocess.Popen[bytes]
    restarts: int = 0
    over: bool = field(default=False)

    def last_line(self) -> str:
        self.log.flush()
        size = os.fstat(self.log.fileno()).st_size
        tail = os.pread(self.log.fileno(), _TAIL_BYTES, max(0, size - _TAIL_BYTES))
        lines = tail.decode(errors="replace").strip().splitlines()
        return lines[-1].removeprefix("poolproof: ") if lines else "it said nothing."


class LocalFleet:
    """Supervisors of this machine, one a worker. Use it from the main thread only.

    None of them, and no Celery process, outlives us. What they print goes to `logs`/NAME.log, or
    to nowhere. A context manager: starts all, and stops all.
    """

    def __init__(
        self, workers: Sequence[Settings], *, grace_s: float = 10.0, logs: Path | None = None
    ) -> None:
        self._workers = tuple(workers)
        self._grace_s = grace_s
        self._logs = logs
        self._supervised: list[_Supervised] = []

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the workers, which they register by."""
        return tuple(settings.name for settings in self._workers)

    @property
    def pids(self) -> dict[str, int]:
        """Worker -> pid of its supervisor."""
        return {each.settings.name: each.process.pid for each in self._supervised}

    def start(self) -> None:
        """Start all supervisors; does not wait until their workers are ready (see `registered`)."""
        for settings in self._workers:
            log = self._open_log(settings)
            self._supervised.append(_Supervised(settings, log, self._launch(settings, log)))

    def check(self) -> None:
        """Start again what was killed. Call it often.

        Raises the error that made a supervisor give up, or WorkerError for one that dies again
        and again.
        """
        for each in self._supervised:
            if not each.over and (code := each.process.poll()) is not None:
                self._take_care(each, code)

    def stop(self) -> None:
        """Stop all: running tasks have the grace to end. A second call does nothing."""
        for each in self._supervised:
            each.over = True
            each.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + self._grace_s + _BEYOND_GRACE_S
        for each in self._supervised:
            try:
                each.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                each.process.kill()
                each.process.wait()
            each.log.close()
        self._supervised.clear()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _take_care(self, each: _Supervised, code: int) -> None:
        if code == OK:  # it was ordered to stop
            each.over = True
        elif code in _ERRORS:
            raise _ERRORS[code](each.last_line())
        elif each.restarts >= _RESTARTS:
            raise WorkerError(
                f"The supervisor of {each.settings.name} ended with {code}, for the"
                f" {each.restarts + 1}th time: {each.last_line()}"
            )
        else:
            each.restarts += 1
            each.process = self._launch(each.settings, each.log)

    def _open_log(self, settings: Settings) -> IO[bytes]:
        if self._logs is None:
            return tempfile.TemporaryFile()
        return (self._logs / f"{settings.name}.log").open("ab+")

    def _launch(self, settings: Settings, log: IO[bytes]) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "poolproof", "worker", "--grace-s", str(self._grace_s)]
        return subprocess.Popen(
            leashed(command),
            env=os.environ | settings.to_env(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Ctrl-C is for us: we stop them in order.
            start_new_session=True,
        )


def registered(redis: Redis, keys: Keys) -> dict[str, dict[str, Any]]:
    """Return name -> registration of all workers that are alive, anywhere.

    A registration outlives its supervisor by a few seconds at most. Raises redis.RedisError.
    """
    names = list(redis.scan_iter(keys.worker("*"), count=1000))
    texts = [text for text in redis.mget(names) if text is not None] if names else []
    registrations = [json.loads(text) for text in texts]
    return {registration["name"]: registration for registration in registrations}
