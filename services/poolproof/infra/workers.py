"""Workers: those of this machine, which we start and keep, and all that registered in a Redis."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final, Self

from poolproof.infra.child import Child
from poolproof.infra.interruption import uninterrupted
from poolproof_workers.contract import parsed
from poolproof_workers.errors import WORKER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType, UnionType

    from redis import Redis

    from poolproof_workers.contract import Keys
    from poolproof_workers.settings import Settings

#: A supervisor stops Celery coldly 3 s after the grace, and ships for 3 s more.
_BEYOND_GRACE_S: Final = 8.0
#: What a registration must say for a run to be played on its worker.
_NEEDED: Final[dict[str, type | UnionType]] = {
    **dict.fromkeys(("name", "side", "pool"), str),
    "concurrency": int,
    "allow_faults": bool,
    "sweep_s": int | float,
}


class LocalFleet:
    """Supervisors of this machine, one a worker. Use it from the main thread only.

    None of them, and no Celery process, outlives us. What they printed is in `logs`/NAME.log once
    they are stopped; their temporary files go to `temporary`, since one that is killed leaves them.
    `pythons` has the interpreter of those workers that have one of their own.
    A context manager: starts all, and stops all.
    """

    def __init__(
        self,
        workers: Sequence[Settings],
        *,
        grace_s: float = 10.0,
        logs: Path | None = None,
        temporary: Path | None = None,
        pythons: Mapping[str, str] | None = None,
    ) -> None:
        self._workers = tuple(workers)
        self._grace_s = grace_s
        self._logs = logs
        self._pythons = dict(pythons or {})
        self._env = {"TMPDIR": str(temporary)} if temporary else {}
        self._supervisors: list[Child] = []

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the workers, which they register by."""
        return tuple(settings.name for settings in self._workers)

    @property
    def pids(self) -> dict[str, int]:
        """Worker -> pid of its supervisor."""
        return {child.name: child.pid for child in self._supervisors}

    def start(self) -> None:
        """Start all supervisors; does not wait until their workers are ready (see `registered`)."""
        words = ["worker", "--grace-s", str(self._grace_s)]
        for settings in self._workers:
            log = self._logs / f"{settings.name}.log" if self._logs else None
            env = settings.to_env() | self._env
            python = self._pythons.get(settings.name, sys.executable)
            # One that is not to be restarted gives up when its worker dies: that was to be.
            may_end = WORKER if settings.restart_delay_s is None else None
            with uninterrupted():
                child = Child(settings.name, words, env, log, python, may_end=may_end)
                self._supervisors.append(child)

    def check(self) -> None:
        """Start again what was killed. Call it often.

        Raises the error that made a supervisor give up, or WorkerError for one that dies again
        and again.
        """
        for child in self._supervisors:
            child.check()

    def stop(self) -> None:
        """Stop all: running tasks have the grace to end, then all is killed. Safe to call twice."""
        for child in self._supervisors:
            child.ask_to_stop()
        deadline = time.monotonic() + self._grace_s + _BEYOND_GRACE_S
        for child in self._supervisors:
            child.end(max(0.0, deadline - time.monotonic()))
        self._supervisors.clear()

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


def registered(redis: Redis, keys: Keys) -> dict[str, dict[str, Any]]:
    """Return name -> registration of all workers that are alive, anywhere.

    A registration outlives its supervisor by a few seconds at most; one that lacks what a run must
    know of its worker is none of ours. Raises redis.RedisError.
    """
    names = list(redis.scan_iter(keys.worker("*"), count=1000))
    texts = [text for text in redis.mget(names) if text is not None] if names else []
    registrations = [parsed(text) for text in texts]
    return {each["name"]: each for each in registrations if _is_ours(each)}


def _is_ours(registration: Mapping[str, Any]) -> bool:
    return all(isinstance(registration.get(name), kind) for name, kind in _NEEDED.items())
