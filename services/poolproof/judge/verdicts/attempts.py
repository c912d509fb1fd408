"""The attempts of tasks in slots, with their beginnings and ends, as columns."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from poolproof.history.batch import AT_ONCE, Batch, Piece
from poolproof.history.participants import NEVER
from poolproof_workers.contract import Event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolproof.history.ledger import Ledger
    from poolproof.judge.run_data import RunData

_SLOT: Final = np.array(
    [Event.STARTED, Event.SUCCEEDED, Event.FAILED, Event.RETRIED, Event.ABANDONED]
)


@dataclass(frozen=True, slots=True)
class Seen:
    """Records about some tasks, in columns; a ring's own are in their order."""

    number: np.ndarray
    event: np.ndarray
    t_ns: np.ndarray
    tid: np.ndarray
    source: np.ndarray  #: index of the ring
    detail: np.ndarray

    def of(self, *events: Event) -> np.ndarray:
        """Return a mask of these events."""
        return np.isin(self.event, events)


@dataclass(frozen=True, slots=True)
class Attempts:
    """One row an attempt. `end_ns` is NEVER, and `how` 0, for one whose end was not recorded."""

    number: np.ndarray
    source: np.ndarray
    tid: np.ndarray  #: native thread id: with the ring, the slot
    start_ns: np.ndarray
    end_ns: np.ndarray
    how: np.ndarray  #: the event that ended it


def look_at(evidence: RunData, wanted: np.ndarray) -> Seen:
    """Read the history again for the tasks that `wanted`, a mask by number, asks for."""
    ledger = evidence.ledger
    found: list[Batch] = []
    for pieces in _bunches(evidence, np.flatnonzero(wanted)):
        batch, _ = Batch.of(pieces, ledger.tag, ledger.size)
        found.append(batch.where(wanted[batch.number]))
    names = ("number", "event", "t_ns", "tid", "source", "detail")
    columns = ([getattr(batch, name) for batch in found] for name in names)
    nothing = np.zeros(0, np.int64)
    return Seen(*(np.concatenate([nothing, *each]).astype(np.int64) for each in columns))


def _bunches(evidence: RunData, numbers: np.ndarray) -> Iterator[list[Piece]]:
    """Yield the records of the run in their order, many at a time; not all those about others."""
    pieces: list[Piece] = []
    waiting = 0
    for entry in evidence.entries(numbers):
        source = evidence.ledger.roster.sources[entry.source]
        pieces.append(Piece(source, source.shift_ns, entry.data))
        waiting += entry.count
        if waiting >= AT_ONCE:
            yield pieces
            pieces, waiting = [], 0
    yield pieces


def attempts(seen: Seen) -> Attempts:
    """Pair each start with the next event of the same task in the same slot."""
    slot = np.flatnonzero(np.isin(seen.event, _SLOT))
    order = slot[np.lexsort((slot, seen.number[slot], seen.tid[slot], seen.source[slot]))]
    number, event, t_ns, tid, source = (
        column[order] for column in (seen.number, seen.event, seen.t_ns, seen.tid, seen.source)
    )
    starts = np.flatnonzero(event == Event.STARTED)
    after = np.minimum(starts + 1, max(0, len(order) - 1))
    has_end = (
        (after > starts)
        & (event[after] != Event.STARTED)
        & (number[after] == number[starts])
        & (tid[after] == tid[starts])
        & (source[after] == source[starts])
    )
    return Attempts(
        number[starts],
        source[starts],
        tid[starts],
        t_ns[starts],
        np.where(has_end, t_ns[after], NEVER),
        np.where(has_end, event[after], 0),
    )


def deaths(evidence: RunData) -> np.ndarray:
    """Return by index of the ring when its process ended; NEVER for one that was not seen to."""
    ledger: Ledger = evidence.ledger
    found = np.full(len(ledger.roster.sources), NEVER)
    exits: dict[str, list[int]] = {}
    for op in evidence.named("worker-exit"):
        exits.setdefault(op["worker"], []).append(op.t_ns)
    for worker, ends in exits.items():
        for source in ledger.roster.sources_of(worker):
            found[source.index] = _first_after(ends, source.since_ns)
    for op in evidence.named("process-gone"):
        index = ledger.roster.sources[op["ring"]].index
        found[index] = min(found[index], op.t_ns)
    return found


def _first_after(times: list[int], t_ns: int) -> int:
    at = bisect_right(times, t_ns)
    return times[at] if at < len(times) else NEVER
