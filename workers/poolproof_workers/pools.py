"""The pools: what Celery calls each, what each can do, and the command line that starts it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from poolproof_workers.errors import UsageError

if TYPE_CHECKING:
    from poolproof_workers.settings import Settings

MAX_CONCURRENCY: Final = 10_000

#: What runs one task at a time.
Slots = Literal["process", "thread", "main"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """One of Celery's ways to run tasks, and what Celery supports on it."""

    name: str
    celery: str  #: value of `celery worker --pool`
    slots: Slots
    max_concurrency: int = MAX_CONCURRENCY
    soft_time_limit: bool  #: can interrupt a task in Python
    hard_time_limit: bool  #: can end a task that does not listen
    terminates: bool  #: `revoke(terminate=True)` works
    reports_lost_slot: bool  #: survives a slot that dies, and fails its task with WorkerLostError
    recycles: bool  #: `--max-tasks-per-child` and `--max-memory-per-child` work


POOLS: Final = {
    pool.name: pool
    for pool in (
        Pool(
            name="prefork",
            celery="prefork",
            slots="process",
            soft_time_limit=True,
            hard_time_limit=True,
            terminates=True,
            reports_lost_slot=True,
            recycles=True,
        ),
        Pool(
            name="threads",
            celery="threads",
            slots="thread",
            soft_time_limit=False,
            hard_time_limit=False,
            terminates=False,
            reports_lost_slot=False,
            recycles=False,
        ),
        Pool(
            name="solo",
            celery="solo",
            slots="main",
            max_concurrency=1,
            soft_time_limit=False,
            hard_time_limit=False,
            terminates=False,
            reports_lost_slot=False,
            recycles=False,
        ),
    )
}


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """A pool with its concurrency, as people write it: `prefork:4`, `threads:16`, `solo`."""

    name: str
    concurrency: int

    @classmethod
    def parse(cls, text: str) -> PoolSpec:
        """Read a spec. Raises UsageError, which says what is allowed."""
        name, colon, number = text.partition(":")
        pool = POOLS.get(name)
        if pool is None:
            raise UsageError(f"There is no pool {name!r}. Use one of: {allowed()}.")
        if not colon and pool.max_concurrency == 1:
            number = "1"
        if not (number.isascii() and number.isdecimal()):
            raise UsageError(f"{text!r} lacks a whole number of slots. Write it as {_shape(pool)}.")
        if not 1 <= int(number) <= pool.max_concurrency:
            raise UsageError(
                f"{text!r}: {name} takes from 1 to {pool.max_concurrency} slots, not {number}."
            )
        return cls(name, int(number))

    @property
    def pool(self) -> Pool:
        """The pool's row in the table."""
        return POOLS[self.name]

    @property
    def text(self) -> str:
        """The spec as people write it."""
        return self.name if self.pool.max_concurrency == 1 else f"{self.name}:{self.concurrency}"

    def __str__(self) -> str:
        return self.text


def allowed() -> str:
    """Return the pools as a person would write them, for messages and help."""
    return ", ".join(_shape(pool) for pool in POOLS.values())


def _shape(pool: Pool) -> str:
    return pool.name if pool.max_concurrency == 1 else f"{pool.name}:N"


def command(settings: Settings, *, recorded: bool = True) -> list[str]:
    """Return the command line of the Celery worker that `settings` ask for.

    It reads the rest from the environment (`settings.to_env()`).
    """
    words = [sys.executable, "-m", "celery", "-A", "poolproof_workers.app", "worker"]
    words += ["--pool", settings.pool.pool.celery]
    words += ["--concurrency", str(settings.pool.concurrency)]
    words += ["--queues", settings.side, "--hostname", settings.name]
    words += ["--loglevel", "WARNING"]
    modules = [*(["poolproof_workers.recorder"] if recorded else []), *settings.include]
    words += ["--include", ",".join(modules)] if modules else []
    return [*words, "--task-events"] if settings.events else words
