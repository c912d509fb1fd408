"""The state of things when the books were closed, as columns beside the ledger's."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from poolproof.history.gaps import Hole, holes
from poolproof.history.participants import NEVER
from poolproof.judge.verdicts.unresponsive_workers import kept_in_silence
from poolproof_workers.contract import Event

if TYPE_CHECKING:
    from collections.abc import Iterable

    from poolproof.history.ledger import Ledger
    from poolproof.history.participants import Source, Worker
    from poolproof.judge.run_data import Op, RunData

#: Celery writes RECEIVED right after it wrote `unacked`; both clocks are of one host.
_RECEIPT_LAG_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class FinalState:
    """Arrays by task number, and the holes in the recordings."""

    running: np.ndarray  #: attempts that still run in a living process
    cut: np.ndarray  #: attempts that a slot began and neither ended nor still runs
    queued: np.ndarray  #: a copy is in the queue
    unacked: np.ndarray  #: a copy is in `unacked`
    held: np.ndarray  #: that copy is with a living main process
    holder_known: np.ndarray  #: False: it cannot be told whose that copy is
    taken_ns: np.ndarray  #: when that copy was last taken; 0 without one
    active: np.ndarray  #: a worker that answered believes that it runs
    reserved: np.ndarray  #: a worker that answered believes that it will run it
    maybe_kept: np.ndarray  #: a living worker that does not answer may have it in its memory
    kept: np.ndarray  #: and nobody else can
    broker_known: np.ndarray  #: the broker was read when nothing moved any more
    closed_ns: int  #: when the books were closed
    holes: tuple[Hole, ...]

    def part(self, rows: slice) -> Self:
        """Return the same of some tasks."""
        columns: dict[str, Any] = {
            each.name: column[rows]
            for each in fields(self)
            if isinstance(column := getattr(self, each.name), np.ndarray)
        }
        return replace(self, **columns)


def ending(evidence: RunData) -> FinalState:
    """Return the state of things at the end of the run."""
    ledger = evidence.ledger
    running, cut = _attempts(ledger)
    active, reserved = _beliefs(evidence)
    state = _Broker(evidence, listed=active | reserved)
    for op in _last_of_each_side(evidence):
        state.take(op)
    maybe_kept, kept = kept_in_silence(evidence)
    return FinalState(
        running=running,
        cut=cut,
        queued=state.queued,
        unacked=state.unacked,
        held=state.held,
        holder_known=state.holder_known,
        taken_ns=state.taken_ns,
        active=active,
        reserved=reserved,
        maybe_kept=maybe_kept,
        kept=kept,
        broker_known=state.known & (not _lost_reading(evidence)),
        closed_ns=evidence.ops[-1].t_ns if evidence.ops else 0,
        holes=tuple(all_holes(evidence)),
    )


def all_holes(evidence: RunData) -> list[Hole]:
    """Return the holes in the recordings, also those that only the collector saw at the end.

    A worker may have answered once, and not when it was asked again since something had moved.
    """
    found = holes(evidence.ledger)
    closed = evidence.last("closed")
    missing: dict[str, str] = closed["missing"] if closed else {}
    known = {hole.worker for hole in found}
    for worker, why in missing.items():
        if worker not in known:
            rings = evidence.ledger.roster.sources_of(worker)
            since = max((ring.last_ns for ring in rings), default=0)
            found.append(Hole(worker, "", since, NEVER, why))
    return found


def lives(ledger: Ledger, source: Source) -> bool:
    """Tell whether the process of a ring was seen alive when the books were closed."""
    worker = ledger.roster.workers.get(source.worker)
    answered = worker.flushed if worker else None
    return answered is not None and not source.gone and source.pid in answered["alive"]


def _attempts(ledger: Ledger) -> tuple[np.ndarray, np.ndarray]:
    # Only what is written to takes memory: nearly all stay 0.
    running, cut = np.zeros(ledger.size, np.int32), np.zeros(ledger.size, np.int32)
    for source in ledger.roster.sources.values():
        numbers = np.array([number for number, _ in source.open], np.int64)
        np.add.at(running if lives(ledger, source) else cut, numbers, 1)
        for number, count in source.unended.items():
            cut[number] += count
    abandoned = ledger.count(Event.ABANDONED)
    some = np.flatnonzero(abandoned)
    cut[some] += abandoned[some].astype(np.int32)
    return running, cut


def _last_of_each_side(evidence: RunData) -> Iterable[Op]:
    """Return each side's reading of the broker at the end."""
    return {op["side"]: op for op in evidence.named("broker") if op["reason"] == "end"}.values()


def _lost_reading(evidence: RunData) -> bool:
    """Tell whether something that the collector wrote is gone: it may be what it read."""
    return any(loss.worker == "collector" for loss in evidence.ledger.losses)


class _Broker:
    def __init__(self, evidence: RunData, listed: np.ndarray) -> None:
        ledger = self._ledger = evidence.ledger
        self._clocks = evidence.clocks
        sources = ledger.roster.sources.values()
        self._lives = np.array([lives(ledger, source) for source in sources], bool)
        broken, answered = _broken_ns(evidence), _answered(evidence)
        self._broken_ns = np.array([broken.get(source.worker, 0) for source in sources], np.int64)
        self._answered = np.array([source.worker in answered for source in sources], bool)
        self._listed = listed
        size = ledger.size
        self.queued, self.unacked, self.held, self.known = (np.zeros(size, bool) for _ in range(4))
        self.holder_known = np.ones(size, bool)
        self.taken_ns = np.zeros(size, np.int64)

    def take(self, op: Op) -> None:
        side = op["side"]
        if side in self._ledger.sides:
            self.known[self._ledger["side"] == self._ledger.sides.index(side)] = op.get(
                "stable", True
            )
        for first, last in op["queue"]:
            self.queued[first : last + 1] = True
        if op["unacked"]:
            workers = [w for w in self._ledger.roster.workers.values() if w.side == side]
            self._take_unacked(op["unacked"], workers)

    def _take_unacked(self, copies: list[tuple[int, float]], workers: list[Worker]) -> None:
        """Note the copies in `unacked`; of several of one task the one that was taken last."""
        number = np.array([each[0] for each in copies], np.int64)
        taken_ns = self._clocks.all_from_unix(np.array([each[1] for each in copies], float))
        mine = np.flatnonzero(number < self._ledger.size)
        mine = mine[np.argsort(taken_ns[mine])]
        number, taken_ns = number[mine], taken_ns[mine]
        # Where one number is written to several times, numpy keeps the last.
        self.unacked[number] = True
        self.taken_ns[number] = taken_ns
        self.held[number], self.holder_known[number] = self._held(number, taken_ns, workers)

    def _held(
        self, number: np.ndarray, taken_ns: np.ndarray, workers: list[Worker]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Tell whether the main process that took a copy lives, and whether that can be told."""
        rows = self._ledger.part(number)
        receiver = rows["last_receiver"]
        received = (receiver >= 0) & (rows["last_received"] + _RECEIPT_LAG_NS >= taken_ns)
        # Taken, but no process has recorded that it received it: nobody but a main process of
        # then can have it.
        somebody = np.zeros(len(number), bool)
        for worker in workers:
            if worker.flushed and worker.flushed["pid"]:
                somebody |= worker.up_ns <= taken_ns
        is_sure = received | ~somebody | (len(workers) == 1)
        by_receiver = np.zeros(len(number), bool)
        by_receiver[received] = self._lives[receiver[received]]
        # A worker that lost its connections since may know it no more: then Celery lists it not.
        forgot = by_receiver.copy()
        forgot[received] &= self._broken_ns[receiver[received]] > rows["last_received"][received]
        by_receiver &= ~forgot
        forgot[received] &= ~self._answered[receiver[received]]
        # It may have lost them by itself: then it was asked, and lists what it has not begun no
        # more. Nor does it list what moves just then from the one list to the other.
        unlisted = by_receiver & self._waits(rows) & ~self._listed[number]
        unlisted[received] &= self._answered[receiver[received]]
        by_receiver &= ~unlisted
        known = is_sure & ~forgot & ~unlisted
        return np.where(received, by_receiver, somebody & is_sure), known

    def _waits(self, rows: Any) -> np.ndarray:
        """Tell what was received and not begun since; a retry waits in neither list."""
        begun = np.maximum(rows["last_start"], rows["last_end"])
        return np.asarray((rows["last_received"] > begun) & (rows.count(Event.RETRIED) == 0))


def _broken_ns(evidence: RunData) -> dict[str, int]:
    """Return worker -> when a fault last befell its broker, or its way there."""
    done = [op for op in evidence.named("fault") if op["applied"]]
    return {worker: op.t_ns for op in done for worker in op.get("workers") or ()}


def _answered(evidence: RunData) -> set[str]:
    return {op["worker"] for op in evidence.named("celery") if op["answered"]}


def _beliefs(evidence: RunData) -> tuple[np.ndarray, np.ndarray]:
    size = evidence.ledger.size
    active, reserved = np.zeros(size, bool), np.zeros(size, bool)
    for op in evidence.named("celery"):
        if op["answered"]:
            active[_inside(op["active"], size)] = True
            reserved[_inside(op["reserved"], size)] = True
    return active, reserved


def _inside(numbers: list[Any], size: int) -> list[int]:
    return [number for number in numbers if number < size]
