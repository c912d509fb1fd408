"""The pools: what Celery calls each, what each can do, and the command line that starts it."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from importlib import metadata
from typing import Final, Literal

from poolproof_workers.errors import UsageError

MAX_CONCURRENCY: Final = 10_000
_MOST_DIGITS: Final = 9

#: What runs one task at a time. What a pool that is not Celery's own has is seen when it runs.
Slots = Literal["process", "thread", "greenlet", "main", "custom"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """One of Celery's ways to run tasks, and what Celery supports on it."""

    name: str
    celery: str  #: value of `celery worker --pool`
    words: tuple[str, ...] = ()  #: further words of that command line
    slots: Slots
    max_concurrency: int = MAX_CONCURRENCY
    soft_time_limit: bool  #: can interrupt a task in Python
    hard_time_limit: bool  #: can end a task that does not listen
    terminates: bool  #: `revoke(terminate=True)` works
    reports_lost_slot: bool  #: survives a slot that dies, and fails its task with WorkerLostError
    recycles: bool  #: `--max-tasks-per-child` and `--max-memory-per-child` work
    needs: str = ""  #: a package that Celery itself does not bring
    since: tuple[int, int] = (0, 0)  #: first version of Celery that has it

    @property
    def is_custom(self) -> bool:
        """Whether a class that is not Celery's own implements it."""
        return self.slots == "custom"

    @property
    def may_have_children(self) -> bool:
        """Whether tasks run, or may run, in child processes."""
        return self.slots in {"process", "custom"}


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
            name="spawn",
            celery="prefork",
            words=("--pool-start-method", "spawn"),
            slots="process",
            soft_time_limit=True,
            hard_time_limit=True,
            terminates=True,
            reports_lost_slot=True,
            recycles=True,
            since=(5, 7),
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
        Pool(
            name="gevent",
            celery="gevent",
            slots="greenlet",
            soft_time_limit=False,
            hard_time_limit=True,  # once the task lets others run
            terminates=True,  # the same
            reports_lost_slot=False,
            recycles=False,
            needs="gevent",
        ),
        Pool(
            name="custom",
            celery="custom",
            slots="custom",
            # Nothing of this is promised by an unknown class.
            soft_time_limit=False,
            hard_time_limit=False,
            terminates=False,
            reports_lost_slot=False,
            recycles=False,
        ),
    )
}

_CLASS: Final = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*"


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """A pool with its concurrency, as people write it: `prefork:4`, `threads:16`, `solo`."""

    name: str
    concurrency: int
    implementation: str = (
        ""  #: `MODULE:CLASS` of a custom pool, as CELERY_CUSTOM_WORKER_POOL has it
    )

    @classmethod
    def parse(cls, text: str) -> PoolSpec:
        """Read a spec. Raises UsageError, which says what is allowed."""
        words, equals, implementation = text.partition("=")
        name, colon, number = words.partition(":")
        pool = POOLS.get(name)
        if pool is None:
            raise UsageError(f"There is no pool {name!r}. Use one of: {allowed()}.")
        if not colon and pool.max_concurrency == 1:
            number = "1"
        if not (number.isascii() and number.isdecimal() and len(number) <= _MOST_DIGITS):
            raise UsageError(f"{text!r} lacks a whole number of slots. Write it as {_shape(pool)}.")
        if not 1 <= int(number) <= pool.max_concurrency:
            raise UsageError(
                f"{text!r}: {name} takes from 1 to {pool.max_concurrency} slots, not {number}."
            )
        if bool(equals) != pool.is_custom or (
            pool.is_custom and not re.fullmatch(_CLASS, implementation, re.ASCII)
        ):
            raise UsageError(f"{text!r} is not a pool. Write it as {_shape(pool)}.")
        return cls(name, int(number), implementation)

    @property
    def pool(self) -> Pool:
        """The pool's row in the table."""
        return POOLS[self.name]

    @property
    def label(self) -> str:
        """The name of a side that has no other."""
        return self.name if self.pool.max_concurrency == 1 else f"{self.name}:{self.concurrency}"

    @property
    def text(self) -> str:
        """The spec as people write it."""
        return f"{self.label}={self.implementation}" if self.implementation else self.label

    @property
    def environ(self) -> dict[str, str]:
        """The variables that tell Celery of the pool what its command line cannot."""
        if not self.implementation:
            return {}
        return {"CELERY_CUSTOM_WORKER_POOL": self.implementation}

    def __str__(self) -> str:
        return self.text


def allowed() -> str:
    """Return the pools as a person would write them, for messages and help."""
    return ", ".join(_shape(pool) for pool in POOLS.values())


def _shape(pool: Pool) -> str:
    if pool.is_custom:
        return f"{pool.name}:N=MODULE:CLASS"
    return pool.name if pool.max_concurrency == 1 else f"{pool.name}:N"


def require(spec: PoolSpec) -> None:
    """Check that the software here has the pool. Raises UsageError, which says what is missing."""
    pool = spec.pool
    module = spec.implementation.partition(":")[0]
    if module and not _has_module(module):
        raise UsageError(f"There is no module {module} here for the pool {spec}: see PYTHONPATH.")
    if pool.needs and importlib.util.find_spec(pool.needs) is None:
        raise UsageError(
            f"The pool {pool.name} needs the package {pool.needs}, which is not installed here:"
            f" pip install {pool.needs}."
        )
    here = metadata.version("celery")
    if _version(here) < pool.since:
        since = ".".join(map(str, pool.since))
        raise UsageError(f"The pool {pool.name} needs Celery {since} or later; here is {here}.")


def _has_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # of a package that it would lie in
        return False


def _version(text: str) -> tuple[int, int]:
    major, minor, *_ = [*map(int, re.findall(r"\d+", text)), 0, 0]
    return major, minor
