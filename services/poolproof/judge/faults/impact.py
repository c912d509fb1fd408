"""What one strike took along: whom it interrupted, what it left stranded, which slots went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from poolproof.history.participants import NEVER
from poolproof.judge.verdicts.dropped_prefetch import forgotten, held_by_another
from poolproof.judge.verdicts.uncertainty import reaches
from poolproof_workers.contract import Event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolproof.history.gaps import Hole
    from poolproof.history.participants import Source
    from poolproof.judge.faults.events import FaultEvent
    from poolproof.judge.faults.window import FaultWindow
    from poolproof.judge.run_data import Op

#: How an attempt of an innocent task ends that something else ended: by itself it only succeeds.
_NOT_FINISHED: Final = (0, Event.ABANDONED, Event.FAILED, Event.RETRIED)
#: Faults after which a worker may go on for as long as its tasks do, before it ends.
_SLOW: Final = {"term-worker", "term-group", "memory-error"}
_REACH_NS: Final = 10_000_000_000
_NOTICE_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class BlastRadius:
    """Numbers of innocent tasks, and what became of the worker."""

    running: set[int]
    interrupted: set[int]
    unknown: set[int]  #: what it did to them may be in a hole of the recordings
    stranded: set[int]
    given_back: set[int]  #: forgotten by a worker that lives, and given to one again at once
    taken_ns: list[int]  #: when the stranded ones were taken
    slots_gone: int
    exit: Op | None  #: of the main process

    def worker(self, strike: FaultEvent) -> str:
        """Return whose slots it took: of the worker that ended, if one did."""
        return str(self.exit["worker"]) if self.exit else strike.worker


class BlastRadii:
    """Tells the toll of each strike of a scene."""

    def __init__(self, scene: FaultWindow, holes: Sequence[Hole]) -> None:
        self._scene = scene
        self._holes = holes
        self._open = self._may_have_ended()

    def of(self, strike: FaultEvent) -> BlastRadius:
        """Return what a strike took along."""
        running, interrupted, unknown = self._running(strike)
        end = self._exit(strike)
        stranded: dict[int, int] = {}
        given_back: dict[int, int] = {}
        if end is not None:
            stranded = self._stranded(strike, end, running)
        elif strike.is_of_broker:
            stranded, given_back = forgotten(self._scene, strike)
        hidden = self._may_have_begun(stranded | given_back, strike, end)
        left = {number: t_ns for number, t_ns in stranded.items() if number not in hidden}
        return BlastRadius(
            running,
            interrupted,
            unknown | hidden,
            set(left),
            given_back.keys() - hidden,
            list(left.values()),
            self._slots_gone(strike, end),
            end,
        )

    def _may_have_ended(self) -> np.ndarray:
        """Return a mask of the attempts whose end may be in a hole of the recordings."""
        rows = self._scene.attempts
        found = np.zeros(len(rows.number), bool)
        for hole in self._holes:
            rings = [
                ring.index
                for ring in self._scene.ledger.roster.sources_of(hole.worker)
                if (ring.name == hole.source if hole.source else reaches(hole, ring))
            ]
            here = np.isin(rows.source, rings)
            found |= here & (rows.how == 0) & (rows.start_ns < hole.before_ns)
        return found

    def _may_have_begun(
        self, taken: dict[int, int], strike: FaultEvent, end: Op | None
    ) -> set[int]:
        """Return those of the tasks, taken then and not begun, whose start may be in a hole."""
        until_ns = end.t_ns if end else NEVER
        workers = {end["worker"]} if end else set(strike.workers)
        since_ns = [
            hole.before_ns
            for hole in self._holes
            if hole.worker in workers
            and hole.after_ns < until_ns
            and any(
                reaches(hole, ring)
                for ring in self._scene.ledger.roster.sources_of(hole.worker)
                if ring.since_ns <= until_ns
            )
        ]
        hidden_ns = max(since_ns, default=0)
        return {number for number, t_ns in taken.items() if t_ns < hidden_ns}

    def _running(self, strike: FaultEvent) -> tuple[set[int], set[int], set[int]]:
        """Return the innocent tasks that ran when it hit them, and those of them that were cut.

        Third those of which neither is known.

        That is the fault's instant; for a process that takes its time to die, the one of its death:
        what began between the two is counted, what ended between them is not.
        """
        rows = self._scene.attempts
        reach_ns = self._reaches_ns(strike)[rows.source]
        died = self._scene.deaths[rows.source]
        here = self._scene.of_worker(rows.source, *strike.workers)
        innocent = here & (self._scene.ledger["poison"][rows.number] == 0)
        ended = np.minimum(rows.end_ns, died)
        alive = innocent & (rows.start_ns <= strike.t_ns) & (ended > strike.t_ns)
        cut = alive & np.isin(rows.how, _NOT_FINISHED) & (ended < reach_ns)
        dies = died < reach_ns
        late = innocent & (rows.start_ns > strike.t_ns) & dies & (rows.how == 0)
        if late.any():
            cut |= late
            alive = cut | (alive & ~dies)
        known = [rows.number[mask & ~self._open] for mask in (alive, cut)]
        running, interrupted, unknown = (
            set(numbers.tolist()) for numbers in (*known, rows.number[alive & self._open])
        )
        return running, interrupted, unknown

    def _exit(self, strike: FaultEvent) -> Op | None:
        return next(
            (
                op
                for op in self._scene.evidence.named("worker-exit")
                if op["worker"] in strike.workers
                and strike.t_ns <= op.t_ns < self._reach_ns(strike, op["worker"])
                and not op["asked"]
            ),
            None,
        )

    def _reaches_ns(self, strike: FaultEvent) -> np.ndarray:
        """Return `_reach_ns` of the worker of each ring; 0 where the fault does not reach it."""
        of = {worker: self._reach_ns(strike, worker) for worker in strike.workers}
        return np.array([of.get(ring.worker, 0) for ring in self._scene.sources], np.int64)

    def _reach_ns(self, strike: FaultEvent, worker: str) -> int:
        """Return until when a death in a worker is the fault's doing: later ones have another."""
        limit_ns = NEVER if strike.fault in _SLOW else strike.t_ns + _REACH_NS
        back_ns = self._scene.slot_back(strike, worker)
        # A death may be noticed a little after the new process has begun a task.
        recovered_ns = NEVER if back_ns is None else back_ns + _NOTICE_NS
        return min(strike.until_ns, limit_ns, recovered_ns, self._asked_ns(strike, worker))

    def _asked_ns(self, strike: FaultEvent, worker: str) -> int:
        """Return when a worker was told to stop after a strike: what dies then, dies of that."""
        told = (
            op.t_ns - round((op.get("stop_s") or 0.0) * 1e9)
            for op in self._scene.evidence.named("worker-exit")
            if op["worker"] == worker and op["asked"]
        )
        return min((at for at in told if at > strike.t_ns), default=NEVER)

    def _stranded(self, strike: FaultEvent, end: Op, running: set[int]) -> dict[int, int]:
        """Return prefetched innocents that the death left in `unacked` -> when each was taken."""
        side = self._scene.worker(strike).side
        readings = [op for op in self._scene.evidence.named("broker") if op["side"] == side]
        after = next((op for op in readings if op.t_ns >= end.t_ns), None)
        begun_ns = self._ended_before(end)
        found: dict[int, int] = {}
        for number, taken_s in after["unacked"] if after else ():
            taken_ns = self._scene.evidence.clocks.from_unix(taken_s) or 0
            of_this_life = begun_ns < taken_ns <= end.t_ns
            if number >= self._scene.ledger.size or not of_this_life or number in running:
                continue
            innocent = not self._scene.ledger["poison"][number]
            # Of what had ended before the fault the scene has no attempts.
            if not innocent or self._scene.ledger["first_start"][number] <= end.t_ns:
                continue
            if not held_by_another(self._scene, strike, number, taken_ns, end.t_ns):
                found[number] = taken_ns
        return found

    def _ended_before(self, end: Op) -> int:
        """Return when the life before the one that ended was over; -1 if it was the first."""
        exits = self._scene.evidence.named("worker-exit")
        before = [op.t_ns for op in exits if op["worker"] == end["worker"] and op.t_ns < end.t_ns]
        return max(before, default=-1)

    def _slots_gone(self, strike: FaultEvent, end: Op | None) -> int:
        if end is not None:
            return self._scene.ledger.roster.worker(end["worker"]).concurrency
        deaths_ns = self._scene.deaths.tolist()
        reach_ns = self._reach_ns(strike, strike.worker)
        return sum(
            strike.t_ns <= deaths_ns[source.index] < reach_ns for source in self._reached(strike)
        )

    def _reached(self, strike: FaultEvent) -> list[Source]:
        """Return the rings of the processes that it may end: a task ends none but its own."""
        mine = [each for each in self._scene.sources if each.worker == strike.worker]
        return [each for each in mine if strike.ring in {"", each.name}]
