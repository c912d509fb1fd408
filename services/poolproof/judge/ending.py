"""The state of things when the books were closed, as columns beside the ledger's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from poolproof.collect.completeness import Hole, holes
from poolproof_workers.contract import Event

if TYPE_CHECKING:
    from collections.abc import Iterable

    from poolproof.collect.ledger import Ledger
    from poolproof.collect.roster import Source, Worker
    from poolproof.judge.evidence import Clocks, Evidence, Op

#: Celery writes RECEIVED right after it wrote `unacked`; both clocks are of one host.
_RECEIPT_LAG_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Ending:
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
    broker_known: np.ndarray  #: the broker was read when nothing moved any more
    closed_ns: int  #: when the books were closed
    holes: tuple[Hole, ...]


def ending(evidence: Evidence) -> Ending:
    """Return the state of things at the end of the run."""
    ledger = evidence.ledger
    running, cut = _attempts(ledger)
    state = _Broker(ledger, evidence.clocks)
    for op in _last_of_each_side(evidence):
        state.take(op)
    active, reserved = _beliefs(evidence)
    return Ending(
        running=running,
        cut=cut,
        queued=state.queued,
        unacked=state.unacked,
        held=state.held,
        holder_known=state.holder_known,
        taken_ns=state.taken_ns,
        active=active,
        reserved=reserved,
        broker_known=state.known,
        closed_ns=evidence.ops[-1].t_ns if evidence.ops else 0,
        holes=tuple(holes(ledger)),
    )


def lives(ledger: Ledger, source: Source) -> bool:
    """Tell whether the process of a ring was seen alive when the books were closed."""
    worker = ledger.roster.workers.get(source.worker)
    answered = worker.flushed if worker else None
    return answered is not None and not source.gone and source.pid in answered["alive"]


def _attempts(ledger: Ledger) -> tuple[np.ndarray, np.ndarray]:
    running = np.zeros(ledger.size, np.int64)
    open_ = np.zeros(ledger.size, np.int64)
    for source in ledger.roster.sources.values():
        numbers = np.array([number for number, _ in source.open], np.int64)
        np.add.at(open_, numbers, 1)
        if lives(ledger, source):
            np.add.at(running, numbers, 1)
        for number, count in source.unended.items():
            open_[number] += count
    return running, open_ - running + ledger.count(Event.ABANDONED)


def _last_of_each_side(evidence: Evidence) -> Iterable[Op]:
    """Return each side's reading of the broker at the end."""
    return {op["side"]: op for op in evidence.named("broker") if op["reason"] == "end"}.values()


class _Broker:
    def __init__(self, ledger: Ledger, clocks: Clocks) -> None:
        self._ledger = ledger
        self._clocks = clocks
        self._sources = list(ledger.roster.sources.values())
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
        workers = [w for w in self._ledger.roster.workers.values() if w.side == side]
        for number, taken_s in op["unacked"]:
            if number < self._ledger.size:
                self._take_unacked(number, taken_s, workers)

    def _take_unacked(self, number: int, taken_s: float, workers: list[Worker]) -> None:
        taken_ns = self._clocks.from_unix(taken_s) or 0
        if self.unacked[number] and taken_ns < self.taken_ns[number]:
            return
        self.unacked[number] = True
        self.taken_ns[number] = taken_ns
        held = self._held(number, taken_ns, workers)
        self.held[number] = bool(held)
        self.holder_known[number] = held is not None

    def _held(self, number: int, taken_ns: int, workers: list[Worker]) -> bool | None:
        """Tell whether the main process that took a copy lives; None if it cannot be told."""
        receiver = int(self._ledger["last_receiver"][number])
        received_ns = int(self._ledger["last_received"][number])
        if receiver >= 0 and (not taken_ns or received_ns + _RECEIPT_LAG_NS >= taken_ns):
            return lives(self._ledger, self._sources[receiver])
        # Taken, but no process has recorded that it received it: nobody but a main process of
        # then can have it.
        living = [w for w in workers if w.flushed and w.flushed["pid"] and w.up_ns <= taken_ns]
        if not living:
            return False
        return True if len(workers) == 1 else None


def _beliefs(evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
    size = evidence.ledger.size
    active, reserved = np.zeros(size, bool), np.zeros(size, bool)
    for op in evidence.named("celery"):
        if op["answered"]:
            active[_inside(op["active"], size)] = True
            reserved[_inside(op["reserved"], size)] = True
    return active, reserved


def _inside(numbers: list[Any], size: int) -> list[int]:
    return [number for number in numbers if number < size]
