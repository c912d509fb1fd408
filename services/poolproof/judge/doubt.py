"""Which tasks a hole in the recordings may be about.

A hole is a time between which a process of a worker may have done things that were not recorded.
It leaves no doubt about a task

- of another side, or one that was enqueued after it;
- whose every known delivery ended, or that was only received after the hole, unless its message
  had an occasion to be delivered once more: a message returns to the queue when a main process
  leaves in order, when a lost slot's task is put back (`late-reject`, `late-retry`), or when the
  visibility timeout has passed since it was taken;
- that is in the queue and was never received, unless it had such an occasion;
- if only a child's ring has the hole (so that all deliveries are known), whose begun attempts are
  all in other rings.

A message that Celery gives back because its connection to the broker broke is not seen: with a hole
and a broken connection at the same time, a task that was delivered twice may pass as once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from poolproof.collect.roster import NEVER
from poolproof_workers.contract import Event
from poolproof_workers.pools import POOLS

if TYPE_CHECKING:
    from poolproof.collect.completeness import Hole
    from poolproof.collect.ledger import Ledger
    from poolproof.collect.roster import Source, Worker
    from poolproof.judge.ending import Ending
    from poolproof.judge.evidence import Evidence

#: Celery's own, where a worker did not say.
_DEFAULT_VISIBILITY_S: Final = 3600.0
#: A task's message is acknowledged this soon after its end, or never.
_ACK_NS: Final = 1_000_000_000
_PUT_BACK: Final = {"late-reject", "late-retry"}


@dataclass(frozen=True, slots=True)
class Returns:
    """When messages of a side may have come back to its queue."""

    orderly_ns: np.ndarray  #: sorted times at which some came back at once
    exits_ns: np.ndarray  #: sorted times at which a main process ended, in whatever way
    timeout_ns: int  #: after this any that was taken comes back
    is_early: bool  #: all its workers acknowledge a task before they begin it

    def at_once(self, after: np.ndarray, until: np.ndarray) -> np.ndarray:
        """Tell for each pair of times whether one came back at once between the two."""
        return _any_between(self.orderly_ns, after, until)

    def left_behind(self, after: np.ndarray, until: np.ndarray) -> np.ndarray:
        """Tell for each pair of times whether a main process ended between the two."""
        return _any_between(self.exits_ns, after, until)


def _any_between(times: np.ndarray, after: np.ndarray, until: np.ndarray) -> np.ndarray:
    found = np.searchsorted(times, until, "right") > np.searchsorted(times, after, "right")
    return np.asarray(found)


def returns(evidence: Evidence) -> dict[str, Returns]:
    """Return side -> when its messages may have returned to the queue."""
    roster = evidence.ledger.roster
    orderly: dict[str, list[int]] = {}
    exits: dict[str, list[int]] = {}
    for op in evidence.named("worker-exit", "process-gone"):
        worker = roster.worker(op["worker"])
        if op.name == "worker-exit":
            exits.setdefault(worker.side, []).append(op.t_ns)
            if op["asked"] or op["signal"] is None:
                orderly.setdefault(worker.side, []).append(op.t_ns)
        elif worker.policies & _PUT_BACK:
            orderly.setdefault(worker.side, []).append(op.t_ns)
    return {
        side: Returns(
            np.array(orderly.get(side, []), np.int64),
            np.array(exits.get(side, []), np.int64),
            _timeout_ns([w for w in roster.workers.values() if w.side == side]),
            all(w.policies == {"early"} for w in roster.workers.values() if w.side == side),
        )
        for side in {worker.side for worker in roster.workers.values()}
    }


def _timeout_ns(workers: list[Worker]) -> int:
    known = [w.visibility_timeout_s for w in workers if w.visibility_timeout_s is not None]
    return round(min(known, default=_DEFAULT_VISIBILITY_S) * 1e9)


def doubtful(ledger: Ledger, ending: Ending, occasions: dict[str, Returns]) -> np.ndarray:
    """Return for each task whether a hole leaves its fate open."""
    found = np.zeros(ledger.size, bool)
    tasks = _Tasks(ledger, ending)
    for hole in ending.holes:
        worker = ledger.roster.workers.get(hole.worker)
        if hole.worker == "collector":
            continue  # it only reads the broker: what it did not write is not known anyway
        if worker is None or not worker.side:
            # Ops of the producer, or of a worker that never said what it is.
            found |= ledger["enqueued_ns"] < hole.before_ns
        elif worker.side in ledger.sides:
            found |= tasks.touched(hole, worker, occasions[worker.side])
    return found & (ledger["block"] >= 0)


class _Tasks:
    """The columns that tell whether a hole touches a task."""

    def __init__(self, ledger: Ledger, ending: Ending) -> None:
        self._ledger = ledger
        self._ending = ending
        received, starts, succeeded, failed = (
            ledger.count(event).astype(np.int64)
            for event in (Event.RECEIVED, Event.STARTED, Event.SUCCEEDED, Event.FAILED)
        )
        ended = succeeded + failed
        self._received = received
        self._begun = np.maximum(starts, ended)
        # A delivery may be known by its end alone, when a hole took what came before.
        self._deliveries = np.maximum(received, self._begun)
        self._has_ended = (ended > 0) & (ended == self._deliveries)
        self._attempts = ended + ending.running + ending.cut
        self._first = np.minimum(ledger["first_received"], ledger["first_start"])
        self._taken = np.where(
            received == self._deliveries, ledger["last_received"], ledger["enqueued_ns"]
        )
        self._is_untouched = ending.queued & (self._deliveries == 0)
        since = ledger["last_received"] - ending.taken_ns
        # Its last known receipt is of the copy that is in `unacked` still: it has not moved since.
        self._is_unmoved = ending.unacked & (since >= 0) & (since < _ACK_NS)

    def touched(self, hole: Hole, worker: Worker, occasions: Returns) -> np.ndarray:
        """Return a mask of the tasks that a hole of a worker may be about."""
        ledger = self._ledger
        mine = ledger["side"] == ledger.sides.index(worker.side)
        inside = mine & (ledger["enqueued_ns"] < hole.before_ns)
        safe = self._safe_before(hole, occasions) & self._safe_after(hole, worker, occasions)
        source = ledger.roster.sources.get(hole.source)
        if source is not None and _only_child(source, worker):
            safe |= self._elsewhere(hole, worker)
        return np.asarray(inside & ~safe)

    def _safe_before(self, hole: Hole, occasions: Returns) -> np.ndarray:
        """No delivery in the hole can have preceded the first one that is known."""
        earliest = np.maximum(self._ledger["enqueued_ns"], hole.after_ns)
        # One that still waits in the queue would have come back before the end.
        until = np.where(self._is_untouched, self._ending.closed_ns, self._first)
        known = until != NEVER
        came_back = occasions.at_once(earliest, until)
        timed_out = until - earliest >= occasions.timeout_ns
        return np.asarray(known & ~came_back & ~timed_out)

    def _safe_after(self, hole: Hole, worker: Worker, occasions: Returns) -> np.ndarray:
        """Neither did one in the hole follow, nor is anything of a known one in the hole."""
        # With early acknowledgement, what is in `unacked` has not begun.
        waits = self._is_unmoved & occasions.is_early
        is_whole = (self._attempts + waits >= self._deliveries) & (self._deliveries > 0)
        released = self._released(waits, occasions)
        timed_out = released - self._taken >= occasions.timeout_ns
        left = occasions.left_behind(self._taken, released)
        over = is_whole & ~self._open_in(hole, worker) & ~timed_out & ~left
        later = self._first >= hole.before_ns
        return np.asarray(over | (later & (self._deliveries > 0)) | self._is_untouched)

    def _released(self, waits: np.ndarray, occasions: Returns) -> np.ndarray:
        """Return until when the last known delivery's message may have been in `unacked`."""
        ledger = self._ledger
        ended = np.where(self._has_ended, ledger["last_end"] + _ACK_NS, self._ending.closed_ns)
        if occasions.is_early:
            is_begun = (ledger["last_start"] > 0) & (self._begun == self._deliveries)
            ended = np.where(is_begun, ledger["last_start"] + _ACK_NS, ended)
        return np.asarray(np.where(waits, self._taken, ended))

    def _elsewhere(self, hole: Hole, worker: Worker) -> np.ndarray:
        """All deliveries are known, and no attempt can have been in the ring with the hole."""
        all_begun = self._received == self._begun
        taken_unseen = (self._received == 0) & self._ending.unacked
        return np.asarray(all_begun & ~self._open_in(hole, worker) & ~taken_unseen)

    def _open_in(self, hole: Hole, worker: Worker) -> np.ndarray:
        """Return a mask of the tasks with an attempt whose end, or report, may be in the hole."""
        found = np.zeros(self._ledger.size, bool)
        roster = self._ledger.roster
        holed = roster.sources.get(hole.source)
        may_report = holed is None or not _only_child(holed, worker)
        for source in roster.sources_of(hole.worker):
            if source is holed or holed is None or (may_report and source.gone):
                begun = [n for (n, _), begun_ns in source.open.items() if begun_ns < hole.before_ns]
                found[begun + list(source.unended)] = True
        return found


def _only_child(source: Source, worker: Worker) -> bool:
    """Tell whether a ring is a pool child's: what the main process receives is in another."""
    pool = POOLS.get(worker.pool.partition(":")[0])
    return pool is not None and pool.slots == "process" and source.pid not in worker.mains
