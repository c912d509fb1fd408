"""Plays a sequence on a worker, and looks at what is left before and after the books are closed."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import psutil

from poolproof.produce.plan import BlockSpec, Poison
from poolproof.runner.broker_faults import BrokerFaultInjection
from poolproof_workers.faults.catalogue import find

from .account import Look, lives
from .sequence import CELERY, COLLECTOR, ERASURES, RINGS_GONE, SUPERVISOR, TABLE, VISIBILITY_S

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from poolproof.produce.handle import BlockHandle
    from poolproof.runner.progress import Progress
    from poolproof.runner.session import Session
    from poolproof.runner.side import Side

    from .journal import Journal
    from .sequence import Sequence, Step

_WORKLOAD: Final = "sleep:80ms"
_POISON_AFTER_S: Final = 0.03
#: Beyond the time after which whatever was stranded has come back.
_STILL_S: Final = 3.0
_REST_S: Final = 25.0
_GONE_S: Final = 5.0
#: A poison that struck so often while nothing else ended will do so for ever.
_AGAIN: Final = 3


@dataclass(frozen=True, slots=True)
class Erasure:
    """Recordings that were deleted, and when."""

    t_ns: int
    rings: tuple[str, ...]


@dataclass
class Player:
    """Plays one sequence; afterwards `before` and `after` are looks, and `erasures` what is gone.

    It ends the run itself, since it must look right before and right after that.
    """

    sequence: Sequence
    journal: Journal
    redis: Redis
    oracle: Redis
    rings: Path
    before: Look | None = None
    after: Look | None = None
    erasures: list[Erasure] = field(default_factory=list)
    _ordeals: list[BrokerFaultInjection] = field(default_factory=list)

    def play(self, session: Session) -> None:
        """Do one step after the other, wait until all is quiet, and close the books."""
        (side,) = session.sides
        for trouble in self.sequence.troubles:
            assert session.broker is not None
            session.broker.prepare(trouble)
        sent = [self._step(session, side, step) for step in self.sequence.steps]
        while self._ordeals:
            self._wait(session, 0.1)
        rest = self._rest(session, side)
        for each in sent:
            drained = rest or session.progress().settled_in(each) >= each.count
            session.producer.end(each, drained=drained)
        self._close(session, side)

    def to_json(self) -> dict[str, Any]:
        """Return the sequence as the history keeps it."""
        return self.sequence.to_json()

    # --- steps ------------------------------------------------------------------------------------

    def _step(self, session: Session, side: Side, step: Step) -> BlockHandle:
        inside = [act for act in step.acts if act in TABLE and find(act)[1].do]
        poison = tuple(
            Poison(step.tasks // 2 + place, act, _POISON_AFTER_S)
            for place, act in enumerate(inside)
        )
        block = BlockSpec(side.label, _WORKLOAD, step.tasks, poison=poison)
        sent = session.producer.enqueue(block, session.workload(_WORKLOAD))
        self.journal.write(f"tasks {sent.first} to {sent.numbers.stop - 1} are sent")
        for each in poison:
            self.journal.write(f"task {sent.first + each.offset} is poisoned: {each.fault}")
        self._wait(session, step.wait_s)
        for each in poison:
            if find(each.fault)[1].revoked:
                self.journal.write(f"task {sent.first + each.offset} is revoked")
                session.producer.revoke(sent.first + each.offset)
        for act in step.acts:
            if act not in inside:
                self._do(session, side, act)
        return sent

    def _do(self, session: Session, side: Side, act: str) -> None:
        if act in TABLE and find(act)[1].trouble:
            self._trouble(session, side, act)
        elif act in TABLE:
            self.journal.write(f"order: {act}")
            session.order(side.workers[0], {"order": "fault", "fault": act})
        elif act in ERASURES:
            self._erase(side.workers[0], act)
        else:
            self._kill(act)

    def _trouble(self, session: Session, side: Side, fault: str) -> None:
        # Of the same kind one at a time: the end of the first would be the end of both.
        while any(ordeal.fault == fault for ordeal in self._ordeals):
            self._wait(session, 0.1)
        self.journal.write(f"trouble: {fault}")
        ordeal = BrokerFaultInjection.begin(session, side, find(fault)[1])
        if ordeal is None:
            self.journal.write(f"{fault} could not be done")
        else:
            self._ordeals.append(ordeal)

    def _wait(self, session: Session, seconds: float) -> None:
        """Start again what was killed, and end what is due, meanwhile."""
        deadline = time.monotonic() + seconds
        while True:
            for ordeal in [each for each in self._ordeals if each.is_over()]:
                ordeal.end()
                self._ordeals.remove(ordeal)
                self.journal.write(f"{ordeal.fault} is over")
            if time.monotonic() >= deadline:
                return
            session.holds(lambda _: False, min(0.1, deadline - time.monotonic()))

    def _kill(self, whom: str) -> None:
        process = processes().get(whom)
        if process is None:
            self.journal.write(f"SIGKILL of the {whom}: there is none now")
            return
        with suppress(psutil.NoSuchProcess):
            process.kill()
        self.journal.write(f"SIGKILL of the {whom}, {process.pid}")

    def _erase(self, worker: str, what: str) -> None:
        """Kill the supervisor, with all that it started, and delete what they had written down."""
        found = processes()
        if SUPERVISOR in found:
            tree = [found[SUPERVISOR], *found[SUPERVISOR].children(recursive=True)]
            found[SUPERVISOR].kill()
            deadline = time.monotonic() + _GONE_S
            while any(lives(each.pid) for each in tree) and time.monotonic() < deadline:
                time.sleep(0.01)
        (folder,) = self.rings.glob(f"*/{worker}")
        gone = [
            path
            for path in folder.iterdir()
            if what != RINGS_GONE or path.suffix in {".ring", ".ready"}
        ]
        for path in gone:
            path.unlink()
        names = tuple(path.stem for path in gone if path.suffix == ".ring")
        self.erasures.append(Erasure(time.monotonic_ns(), names))
        self.journal.write(f"SIGKILL of the supervisor, and deleted: {[p.name for p in gone]}")

    # --- the end ----------------------------------------------------------------------------------

    def _rest(self, session: Session, side: Side) -> bool:
        still_s = VISIBILITY_S + 1 + _STILL_S if self.sequence.may_hang else None
        loop = _Loop()
        rest = session.until_quiet(side, _REST_S, still_s, loop.goes_on)
        self.journal.write("all is quiet" if rest else "it does not come to rest")
        return rest

    def _close(self, session: Session, side: Side) -> None:
        self.before = self._look(session, side)
        self.journal.at_closing = self._kill_at_closing
        closed = session.end()
        self.after = self._look(session, side)
        self.journal.write("the books are closed" if closed else "the books were not closed")

    def _kill_at_closing(self) -> None:
        """Kill somebody when the run's end is in the history, and the collector at work on it."""
        if self.sequence.at_closing:
            time.sleep(self.sequence.closing_s)
            self._kill(self.sequence.at_closing)

    def _look(self, session: Session, side: Side) -> Look:
        return Look.take(self.redis, self.oracle, side.label, session.run.tag)


class _Loop:
    """Notices that nothing happens any more but that a poison strikes."""

    def __init__(self) -> None:
        self._ended = self._strikes = -1

    def goes_on(self, now: Progress) -> bool:
        if now.settled != self._ended:
            self._ended, self._strikes = now.settled, now.faults
        return now.faults >= self._strikes + _AGAIN


def processes() -> dict[str, psutil.Process]:
    """Return those of the collector, the supervisor and Celery's main process that there are."""
    found: dict[str, psutil.Process] = {}
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(os.getpid()).children():
            words = _words(child)
            if "collect" in words:
                found[COLLECTOR] = child
            elif "poolproof" in words and "worker" in words:
                found[SUPERVISOR] = child
    if SUPERVISOR in found:
        with suppress(psutil.NoSuchProcess):
            for child in found[SUPERVISOR].children():
                if "celery" in _words(child):
                    found[CELERY] = child
    return found


def _words(process: psutil.Process) -> list[str]:
    try:
        return [] if process.status() == psutil.STATUS_ZOMBIE else process.cmdline()
    except psutil.NoSuchProcess:
        return []
