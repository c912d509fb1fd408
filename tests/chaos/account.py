"""What may be said of each task by the oracle's log and by looks into Redis: no code of the judge.

Only its words are used: `Verdict`.
"""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Final, Self

import psutil

from poolproof.judge.verdicts.verdicts import Verdict

from . import oracle

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from redis import Redis

_ID: Final = re.compile(rb"([0-9a-f]{8})-0000-8000-8000-([0-9a-f]{12})")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the oracle's log."""

    edge: str  #: before the recorder, or after
    what: str
    number: int
    pid: int
    tid: int
    t_ns: int

    @classmethod
    def read(cls, text: bytes) -> Self:
        edge, what, task, pid, tid, t_ns = text.decode().split()
        return cls(edge, what, int(task[24:], 16), int(pid), int(tid), int(t_ns))


@dataclass(frozen=True)
class Look:
    """What Redis held at one time, how long the log was, and which of its processes lived."""

    t_ns: int
    queued: Counter[int]
    unacked: Counter[int]
    log: tuple[Line, ...]
    living: frozenset[int]

    @classmethod
    def take(cls, redis: Redis, own: Redis, side: str, tag: int) -> Look:
        """Look: the run's keys in `redis` at one moment, the log in the oracle's `own`."""
        queue = [key for key in redis.scan_iter("*") if key.endswith(f":celery:{side}".encode())]
        unacked = [key for key in redis.scan_iter("*") if key.endswith(f":unacked:{side}".encode())]
        pipe = redis.pipeline(transaction=True)
        for key in queue:
            pipe.lrange(key, 0, -1)
        for key in unacked:
            pipe.hvals(key)
        found = pipe.execute()
        log = tuple(Line.read(text) for text in own.lrange(oracle.LOG, 0, -1))
        return cls(
            time.monotonic_ns(),
            _numbers(found[: len(queue)], tag),
            _numbers(found[len(queue) :], tag),
            log,
            frozenset(pid for pid in {line.pid for line in log} if lives(pid)),
        )


def _numbers(found: Iterable[Iterable[bytes]], tag: int) -> Counter[int]:
    ids = [_ID.search(message) for messages in found for message in messages]
    return Counter(int(each[2], 16) for each in ids if each and int(each[1], 16) == tag)


def lives(pid: int) -> bool:
    """Tell whether a process exists and is more than a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@dataclass
class _Life:
    """What the log says of one task so far: counts as [certain, possible]."""

    counts: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    open: Counter[tuple[int, int]] = field(default_factory=Counter)
    receiver: int = 0
    waits: bool = False  #: received, and not begun since

    def add(self, line: Line) -> None:
        what = line.what
        if what.startswith("ended:"):
            state = what.removeprefix("ended:")
            what = {"SUCCESS": "succeeded", "FAILURE": "gave-up"}.get(state, "left")
        if line.edge == "after":
            self.counts[what][0] += 1
            return
        self.counts[what][1] += 1
        match line.what:
            case "received":
                self.receiver, self.waits = line.pid, True
            case "begun":
                self.open[line.pid, line.tid] += 1
                self.waits = False
            case _ if line.what.startswith("ended:"):
                self.open[line.pid, line.tid] -= 1

    def reported(self) -> set[bool]:
        """Tell whether a main process may have said that the task failed or was revoked."""
        return {
            sum(self.counts[what][edge] for what in ("failed", "revoked")) > 0 for edge in (0, 1)
        }

    def range(self, what: str) -> range:
        certain, possible = self.counts[what]
        return range(certain, possible + 1)


@dataclass(frozen=True, slots=True)
class Truth:
    """The oracle's word on one task."""

    allowed: frozenset[Verdict]
    moved: bool  #: while the books were closed
    what: str  #: for a person


def truths(before: Look, after: Look, numbers: Iterable[int]) -> dict[int, Truth]:
    """Return what may be said of each task, by the looks before and after the closing."""
    lines: Mapping[int, list[Line]] = defaultdict(list)
    for line in after.log:
        lines[line.number].append(line)
    old = Counter(line.number for line in before.log)
    return {number: _truth(number, lines[number], old[number], before, after) for number in numbers}


def _truth(number: int, lines: list[Line], old: int, before: Look, after: Look) -> Truth:
    life = _Life()
    for line in lines[:old]:
        life.add(line)
    places = [(look.queued[number], look.unacked[number]) for look in (before, after)]
    died = {pid for pid, _ in life.open} | {life.receiver}
    moved = len(lines) > old or places[0] != places[1] or bool(died & before.living - after.living)
    allowed = _allowed(life, places[1], after.living)
    if moved:
        # It may have been judged as it was at any moment in between, in which a process may have
        # come and gone.
        between = before.living | {new.pid for new in lines[old:]}
        for line in [*lines[old:], None]:
            for place, living in product(places, (before.living, between, after.living)):
                allowed |= _allowed(life, place, living)
            if line:
                life.add(line)
    queued, unacked = places[1]
    counts = ", ".join(f"{what} {low}-{high}" for what, (low, high) in life.counts.items())
    what = f"{counts}; queued {queued}, unacked {unacked}{', moved' if moved else ''}"
    return Truth(frozenset(allowed), moved, what)


def _allowed(life: _Life, place: tuple[int, int], living: frozenset[int]) -> set[Verdict]:
    if any(count > 0 and pid in living for (pid, _), count in life.open.items()):
        unfinished = {Verdict.RUNNING}
    else:
        unfinished = _unfinished(life, place, held=life.receiver in living)
    ranges = (life.range(what) for what in ("begun", "succeeded", "gave-up"))
    return {
        verdict
        for begun, good, bad in product(*ranges)
        for verdict in _verdicts(begun, good, bad, unfinished)
    }


def _verdicts(begun: int, good: int, bad: int, unfinished: set[Verdict]) -> set[Verdict]:
    """Return what may be said of a task that so often begun, succeeded and failed."""
    if good >= 2 or (good and bad):
        return {Verdict.REPEATED}
    if Verdict.RUNNING in unfinished:
        return unfinished
    if good:
        return {Verdict.RECOVERED if begun > 1 else Verdict.COMPLETED}
    return {Verdict.FAILED} if bad else unfinished


def _unfinished(life: _Life, place: tuple[int, int], *, held: bool) -> set[Verdict]:
    """Return what may be said of a task that did not end and does not run.

    `place` is how many copies of it are in the queue and in `unacked`; `held` tells whether the
    main process that received it last still lives.
    """
    queued, unacked = place
    reported = life.reported()
    if queued:
        return {Verdict.QUEUED}
    if unacked and not held:
        return {Verdict.STRANDED}
    if unacked and life.waits:
        return {Verdict.QUEUED}
    if reported == {True}:
        return {Verdict.FAILED}
    if unacked:
        found = (
            {Verdict.PHANTOM} if max(life.range("left")) else {Verdict.PHANTOM, Verdict.STRANDED}
        )
    else:
        # A main process that lives may believe that it runs: only Celery itself can tell.
        found = {Verdict.LOST, Verdict.PHANTOM} if held and not life.waits else {Verdict.LOST}
    return found | ({Verdict.FAILED} if True in reported else set())
