"""One side of a run as a page shows it: the states of its tasks, its lanes, and what befell it."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from poolproof.live.lanes import Lanes
from poolproof.live.series import Series

_EVENTS: Final = 200


class State(IntEnum):
    """Where a task is, as far as the history says: every enqueued task is in exactly one."""

    QUEUED = 1
    PREFETCHED = 2
    RUNNING = 3
    COMPLETED = 4
    REPEATED = 5
    FAILED = 6
    CUT = 7  #: interrupted; whether a copy is left is not known yet
    STRANDED = 8  #: its worker is gone, its copy lies in `unacked`
    LOST = 9  #: interrupted, and when the broker was read after that no copy was left

    @property
    def words(self) -> str:
        """What people call it."""
        return _WORDS.get(self, self.name.lower())


_WORDS: Final = {
    State.QUEUED: "in the queue",
    State.PREFETCHED: "in the worker",
    State.CUT: "interrupted",
}


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that befell a side."""

    t_ns: int
    kind: str  #: "fault", "exit" (of the worker), "child" (of its pool), "up" or "ready"
    what: str  #: a fault, a signal or exit code, a pid, a worker
    cut: tuple[int, ...] = ()  #: innocent tasks that it interrupted


@dataclass(slots=True)
class Side:
    """One side of the run."""

    label: str
    pool: str = ""
    concurrency: int = 0
    counts: Counter[State] = field(default_factory=Counter)
    lanes: Lanes = field(default_factory=Lanes)
    series: Series = field(default_factory=Series)
    happened: deque[Happening] = field(default_factory=lambda: deque(maxlen=_EVENTS))
    due_ns: dict[int, int] = field(default_factory=dict)  #: stranded task -> due, monotonic
    holders: dict[int, str] = field(default_factory=dict)  #: prefetched task -> its worker
    left: set[int] = field(default_factory=set)  #: those of them whose worker has ended
    attempts: Counter[int] = field(default_factory=Counter)  #: task -> attempts that are open
    poison: dict[int, str] = field(default_factory=dict)
    missing: list[int] = field(default_factory=list)  #: waited, and had no copy at the end
    poison_lost: int = 0  #: of those that are lost; the rest are innocent
    workload: str = ""

    @property
    def enqueued(self) -> int:
        """Tasks that this side was given: the sum of its books."""
        return sum(self.counts.values())
