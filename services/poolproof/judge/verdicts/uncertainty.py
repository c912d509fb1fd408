"""Which tasks a hole in the recordings may be about.

A hole is a time between which a process of a worker may have done things that were not recorded.
It leaves no doubt about a task

- of another side, or one that was enqueued after it;
- whose every known delivery ended, or that was only received after the hole, unless its message
  had an occasion to be delivered once more: a message returns to the queue when a main process
  leaves in order, when a lost slot's task is put back (`late-reject`, `late-retry`), or when the
  visibility timeout has passed since it was taken;
- that is in the queue and was never received, unless it had such an occasion;
- whose last delivery is in `unacked`, to be acknowledged early, if what its worker did since is all
  there: else a partition may have kept its acknowledgement, and the task ran;
- if only a child's ring has the hole (so that all deliveries are known), whose begun attempts are
  all in other rings.

A message that Celery gives back because its connection to the broker broke is not seen. After a
fault of ours that breaks connections, any may have come back; but with a hole and a connection that
broke by itself at the same time, a task that was delivered twice may pass as once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from poolproof.history.participants import NEVER
from poolproof.judge.faults.defaults import VISIBILITY_TIMEOUT_S
from poolproof_workers.contract import Event
from poolproof_workers.faults.catalogue import FAULTS
from poolproof_workers.pools import POOLS

if TYPE_CHECKING:
    from poolproof.history.gaps import Hole
    from poolproof.history.ledger import Ledger, Part
    from poolproof.history.participants import Participants, Source, Worker
    from poolproof.judge.run_data import RunData
    from poolproof.judge.verdicts.final_state import FinalState

#: A task's message is acknowledged this soon after its end, or never.
_ACK_NS: Final = 1_000_000_000
_PUT_BACK: Final = {"late-reject", "late-retry"}
#: A worker waits on its connections without a limit: one that only becomes slow breaks none.
_ONLY_SLOW: Final = {
    fault.name for fault in FAULTS if fault.trouble and fault.trouble.kind in {"pause", "slow"}
}


@dataclass(frozen=True, slots=True)
class Returns:
    """When messages of a side may have come back to its queue."""

    orderly_ns: np.ndarray  #: sorted times at which some came back at once
    exits_ns: np.ndarray  #: sorted times at which a main process ended, in whatever way
    unseen: tuple[tuple[int, int], ...]  #: (from, to) of ends of which neither is known
    timeout_ns: int  #: after this any that was taken comes back
    is_early: bool  #: all its workers acknowledge a task before they begin it

    def at_once(self, after: np.ndarray, until: np.ndarray) -> np.ndarray:
        """Tell for each pair of times whether one came back at once between the two."""
        return np.asarray(_any_between(self.orderly_ns, after, until) | self._unseen(after, until))

    def left_behind(self, after: np.ndarray, until: np.ndarray) -> np.ndarray:
        """Tell for each pair of times whether a main process ended between the two."""
        return np.asarray(_any_between(self.exits_ns, after, until) | self._unseen(after, until))

    def _unseen(self, after: np.ndarray, until: np.ndarray) -> np.ndarray:
        found = np.zeros(len(after), bool)
        for begin, end in self.unseen:
            found |= (after < until) & (after < end) & (begin < until)
        return found


def _any_between(times: np.ndarray, after: np.ndarray, until: np.ndarray) -> np.ndarray:
    found = np.searchsorted(times, until, "right") > np.searchsorted(times, after, "right")
    return np.asarray(found)


def returns(evidence: RunData) -> dict[str, Returns]:
    """Return side -> when its messages may have returned to the queue."""
    roster = evidence.ledger.roster
    orderly: dict[str, list[int]] = {}
    exits: dict[str, list[int]] = {}
    for op in evidence.named("worker-exit", "process-gone"):
        worker = roster.worker(op["worker"])
        if op.name == "worker-exit":
            if op["signal"] is op["code"] is None:
                continue
            exits.setdefault(worker.side, []).append(op.t_ns)
            if op["asked"] or op["signal"] is None:
                orderly.setdefault(worker.side, []).append(op.t_ns)
        elif worker.policies & _PUT_BACK:
            orderly.setdefault(worker.side, []).append(op.t_ns)
    return {
        side: Returns(
            np.array(orderly.get(side, []), np.int64),
            np.array(exits.get(side, []), np.int64),
            (
                *_unseen(roster, side),
                *_broken(evidence, side),
            ),
            _timeout_ns([w for w in roster.workers.values() if w.side == side]),
            all(w.acks_early for w in roster.workers.values() if w.side == side),
        )
        for side in {worker.side for worker in roster.workers.values()}
    }


def _unseen(roster: Participants, side: str) -> list[tuple[int, int]]:
    """Return between which two times a life of a side's worker ended, in whatever way."""
    lives = [life for each in roster.workers.values() if each.side == side for life in each.unseen]
    return [(life.after_ns, life.before_ns) for life in lives]


def _broken(evidence: RunData, side: str) -> list[tuple[int, int]]:
    """Return since when workers of a side may have lost their connections, and given back."""
    roster = evidence.ledger.roster
    return [
        (op.t_ns, NEVER)
        for op in evidence.named("fault")
        if op["fault"] not in _ONLY_SLOW
        and any(roster.worker(name).side == side for name in op.get("workers") or ())
    ]


def _timeout_ns(workers: list[Worker]) -> int:
    known = [w.visibility_timeout_s for w in workers if w.visibility_timeout_s is not None]
    return round(min(known, default=VISIBILITY_TIMEOUT_S) * 1e9)


def doubtful(ledger: Ledger, ending: FinalState, occasions: dict[str, Returns]) -> np.ndarray:
    """Return for each task whether a hole leaves its fate open."""
    found = np.zeros(ledger.size, bool)
    all_before_ns = 0
    of_side: dict[str, list[Hole]] = {}
    for hole in ending.holes:
        worker = ledger.roster.workers.get(hole.worker)
        if hole.worker == "collector":
            continue  # it only reads the broker: what it did not write is not known anyway
        if worker is None or not worker.side:
            # Ops of the producer, or of a worker that never said what it is.
            all_before_ns = max(all_before_ns, hole.before_ns)
        else:
            of_side.setdefault(worker.side, []).append(hole)
    if not (all_before_ns or of_side):
        return found
    holes = {
        side: _Holes.of(of_its, ledger.roster)
        for side, of_its in of_side.items()
        if side in ledger.sides
    }
    in_doubt = {side: _open_in(ledger, its) for side, its in holes.items()}
    for rows in ledger.columns.stretches():
        part = ledger.part(rows)
        tasks = _Tasks(part, ending.part(rows))
        touched = part["enqueued_ns"] < all_before_ns
        for side, its in holes.items():
            mine = part["side"] == ledger.sides.index(side)
            touched |= mine & tasks.touched(its, occasions[side], in_doubt[side][rows])
        found[rows] = touched & (part["block"] >= 0)
    return found


def _open_in(ledger: Ledger, holes: _Holes) -> np.ndarray:
    """Return a mask of the tasks with an attempt whose end, or report, may be in a hole."""
    found = np.zeros(ledger.size, bool)
    sources = list(ledger.roster.sources.values())
    for index, before_ns in holes.open_before.items():
        begun = [n for (n, _), begun_ns in sources[index].open.items() if begun_ns < before_ns]
        found[begun + list(sources[index].unended)] = True
    return found


@dataclass(frozen=True, slots=True)
class _Holes:
    """All holes of a side, as one: what one hides may explain what is seen beside another."""

    after_ns: int
    before_ns: int
    only_children: bool  #: what the main processes received is all there
    open_before: dict[int, int]  #: index of a ring -> open attempts begun before this are in doubt
    dark: np.ndarray  #: by index of a ring: (from, to) of the holes in its life of its worker

    @classmethod
    def of(cls, holes: list[Hole], roster: Participants) -> _Holes:
        only_children = True
        open_before: dict[int, int] = {}
        dark = np.full((len(roster.sources), 2), (NEVER, 0))
        for hole in holes:
            holed, worker = roster.sources.get(hole.source), roster.worker(hole.worker)
            is_child = holed is not None and _only_child(holed, worker)
            only_children &= is_child
            for source in roster.sources_of(hole.worker):
                if not reaches(hole, source):
                    continue
                after, before = dark[source.index]
                dark[source.index] = min(after, hole.after_ns), max(before, hole.before_ns)
                # The main process would have reported the loss of any of its children.
                if source is holed or holed is None or (source.gone and not is_child):
                    known = open_before.get(source.index, 0)
                    open_before[source.index] = max(known, hole.before_ns)
        return cls(
            min(hole.after_ns for hole in holes),
            max(hole.before_ns for hole in holes),
            only_children,
            open_before,
            dark,
        )

    def hides_after(self, ring: np.ndarray, t_ns: np.ndarray, within_ns: int = NEVER) -> np.ndarray:
        """Tell whether what a worker did soon after a time may be in a hole; no ring is -1."""
        known = ring >= 0
        found = np.zeros(len(ring), bool)
        after, before = self.dark[ring[known]].T
        found[known] = (before > t_ns[known]) & (after - within_ns < t_ns[known])
        return found


class _Tasks:
    """The columns that tell whether a hole touches a task."""

    def __init__(self, ledger: Part, ending: FinalState) -> None:
        self._ledger = ledger
        self._ending = ending
        received, starts, succeeded, failed, abandoned = (
            ledger.count(event).astype(np.int64)
            for event in (
                Event.RECEIVED,
                Event.STARTED,
                Event.SUCCEEDED,
                Event.FAILED,
                Event.ABANDONED,
            )
        )
        ended = succeeded + failed
        self._received = received
        self._begun = np.maximum(starts, ended + abandoned)
        self._deliveries = self._known_deliveries()
        self._has_ended = ended == self._deliveries
        self._attempts = ended + ending.running + ending.cut
        self._first = np.minimum(ledger["first_received"], ledger["first_start"])
        self._taken = np.where(
            received == self._deliveries, ledger["last_received"], ledger["enqueued_ns"]
        )
        self._is_untouched = ending.queued & (self._deliveries == 0)
        since = ledger["last_received"] - ending.taken_ns
        # Its last known receipt is of the copy that is in `unacked` still: it has not moved since.
        self._is_unmoved = ending.unacked & (since >= 0) & (since < _ACK_NS)

    def _known_deliveries(self) -> np.ndarray:
        """Return how many deliveries of each task there must have been, by what is recorded."""
        ledger = self._ledger
        last_begun = np.maximum(ledger["last_start"], ledger["last_end"])
        one_waits = ledger["last_received"] > last_begun
        one_unseen = ledger["first_start"] < ledger["first_received"]
        return np.asarray(np.maximum(self._received + one_unseen, self._begun + one_waits))

    def touched(self, holes: _Holes, occasions: Returns, in_doubt: np.ndarray) -> np.ndarray:
        """Return a mask of the tasks of a side that its holes may be about."""
        inside = self._ledger["enqueued_ns"] < holes.before_ns
        safe = self._safe_before(holes, occasions) & self._safe_after(holes, occasions, in_doubt)
        if holes.only_children:
            safe |= self._elsewhere(in_doubt)
        return np.asarray(inside & ~safe)

    def _safe_before(self, holes: _Holes, occasions: Returns) -> np.ndarray:
        """No delivery in a hole can have preceded the first one that is known."""
        earliest = np.maximum(self._ledger["enqueued_ns"], holes.after_ns)
        # One that still waits in the queue would have come back before the end.
        until = np.where(self._is_untouched, self._ending.closed_ns, self._first)
        known = until != NEVER
        came_back = occasions.at_once(earliest, until)
        timed_out = until - earliest >= occasions.timeout_ns
        return np.asarray(known & ~came_back & ~timed_out)

    def _safe_after(self, holes: _Holes, occasions: Returns, in_doubt: np.ndarray) -> np.ndarray:
        """Neither did one in a hole follow, nor is anything of a known one in a hole."""
        waits = self._waits(holes) & occasions.is_early
        is_whole = self._attempts + waits >= self._deliveries
        released = self._released(waits, holes, occasions)
        timed_out = released - self._taken >= occasions.timeout_ns
        left = occasions.left_behind(self._taken, released)
        over = is_whole & ~in_doubt & ~timed_out & ~left
        later = self._first >= holes.before_ns
        return np.asarray(over | later | self._is_untouched)

    def _waits(self, holes: _Holes) -> np.ndarray:
        """With early acknowledgement: what is in `unacked` still, and has not begun.

        If it had, that would be recorded, or its acknowledgement had come. Behind a partition it
        never comes, and the task runs: then a hole in its worker's records hides that.
        """
        ledger = self._ledger
        hidden = holes.hides_after(ledger["last_receiver"], ledger["last_received"])
        return np.asarray(self._is_unmoved & ~hidden)

    def _released(self, waits: np.ndarray, holes: _Holes, occasions: Returns) -> np.ndarray:
        """Return until when the last known delivery's message may have been in `unacked`."""
        ledger, closed_ns = self._ledger, self._ending.closed_ns
        is_over, over_ns = self._has_ended, ledger["last_end"]
        if occasions.is_early:
            is_begun = (ledger["last_start"] > 0) & (self._begun == self._deliveries)
            over_ns = np.where(is_begun, ledger["last_start"], over_ns)
            is_over = is_over | is_begun
        is_over = is_over & ~holes.hides_after(ledger["last_source"], over_ns, _ACK_NS)
        released = np.where(is_over, over_ns + _ACK_NS, closed_ns)
        return np.asarray(np.where(waits, self._taken, released))

    def _elsewhere(self, in_doubt: np.ndarray) -> np.ndarray:
        """All deliveries are known, and no attempt can have been in a ring with a hole."""
        all_begun = (self._received == self._begun) & (self._begun == self._deliveries)
        taken_unseen = (self._received == 0) & self._ending.unacked
        return np.asarray(all_begun & ~in_doubt & ~taken_unseen)


def reaches(hole: Hole, source: Source) -> bool:
    """Tell whether a hole may be about the life of a worker that a ring is of.

    Not if that life was over before, nor if all that its processes recorded is there.
    """
    is_read = source.accounted and source.written is not None and source.taken >= source.written
    is_over = source.gone_ns <= hole.after_ns
    return not (is_over or (is_read and source.last_ns <= hole.after_ns))


def _only_child(source: Source, worker: Worker) -> bool:
    """Tell whether a ring is a pool child's: what the main process receives is in another."""
    pool = POOLS.get(worker.pool.partition(":")[0])
    return pool is not None and pool.may_have_children and source.pid not in worker.mains
