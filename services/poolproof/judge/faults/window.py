"""The records around all strikes of a run, read once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from poolproof.judge.verdicts.attempts import Attempts, Seen, attempts, look_at

if TYPE_CHECKING:
    from collections.abc import Iterable

    from poolproof.history.participants import Worker
    from poolproof.judge.faults.events import FaultEvent
    from poolproof.judge.run_data import Op, RunData
    from poolproof_workers.contract import Event


class FaultWindow:
    """What was recorded of the tasks that were not over when a fault struck their side."""

    def __init__(self, evidence: RunData, found: Iterable[FaultEvent], deaths: np.ndarray) -> None:
        self.evidence = evidence
        self.ledger = evidence.ledger
        self.seen: Seen = look_at(evidence, self._concerned(found))
        self.attempts: Attempts = attempts(self.seen)
        self.deaths = deaths
        self.sources = list(self.ledger.roster.sources.values())
        self._by_number = np.argsort(self.seen.number, kind="stable")
        self._numbers = self.seen.number[self._by_number]

    def worker(self, strike: FaultEvent) -> Worker:
        """Return the worker that was struck."""
        return self.ledger.roster.worker(strike.worker)

    def about(self, number: int, *events: Event) -> np.ndarray:
        """Return the rows of `seen` that are about a task, in their order; only some events."""
        first, end = np.searchsorted(self._numbers, [number, number + 1])
        rows = self._by_number[first:end]
        return rows[np.isin(self.seen.event[rows], events)] if events else rows

    def of_worker(self, source: np.ndarray, *workers: str) -> np.ndarray:
        """Return a mask of the rows, given by their rings, that are a worker's, of some."""
        mine = np.array([each.worker in workers for each in self.sources], bool)
        return np.asarray(mine[source])

    def next(self, name: str, worker: str, after_ns: int) -> Op | None:
        """Return the first op of that name about a worker from a time on."""
        ops = (op for op in self.evidence.named(name) if op["worker"] == worker)
        return next((op for op in ops if op.t_ns >= after_ns), None)

    def slot_back(self, strike: FaultEvent, worker: str) -> int | None:
        """Return when a process of a worker that was not there before the fault began a task."""
        rows = self.attempts
        new = np.array(
            [source.worker == worker and source.since_ns > strike.t_ns for source in self.sources],
            bool,
        )
        starts = rows.start_ns[new[rows.source]]
        return int(starts.min()) if len(starts) else None

    def _concerned(self, found: Iterable[FaultEvent]) -> np.ndarray:
        """Return a mask of the tasks that were not yet ended at the first strike on their side."""
        ledger = self.ledger
        wanted = ledger["poison"] > 0
        first_ns: dict[str, int] = {}
        for strike in found:
            side = ledger.roster.worker(strike.worker).side
            first_ns[side] = min(strike.t_ns, first_ns.get(side, strike.t_ns))
        for index, side in enumerate(ledger.sides):
            if side in first_ns:
                ended = ledger["last_end"]
                wanted |= (ledger["side"] == index) & ((ended >= first_ns[side]) | (ended == 0))
        return np.asarray(wanted)
