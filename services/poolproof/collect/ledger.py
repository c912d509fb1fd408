"""The ledger: one row a task, made from the history."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from poolproof.collect.history import RECORD_DTYPE, Gap, Sequences, records
from poolproof.collect.roster import NEVER, Roster, Source
from poolproof.collect.slots import follow
from poolproof_workers.contract import Entry, Event

if TYPE_CHECKING:
    from collections.abc import Mapping

EVENTS: Final = 8  #: counted events: all but FAULT

#: Column -> (type, what an untouched row holds). 114 bytes a task with the counts.
_COLUMNS: Final[dict[str, tuple[type, int]]] = {
    "first_received": (np.int64, NEVER),
    "last_received": (np.int64, 0),
    "first_start": (np.int64, NEVER),
    "last_start": (np.int64, 0),
    "last_end": (np.int64, 0),  # of the last success, failure or abandonment
    "enqueued_ns": (np.int64, 0),
    "intended_ns": (np.int64, 0),
    "result": (np.int64, 0),  # detail of the last success
    "last_source": (np.int32, -1),  # of the last start
    "last_tid": (np.uint32, 0),
    "last_receiver": (np.int32, -1),
    "block": (np.int16, -1),  # -1: never enqueued
    "side": (np.int16, -1),
    "poison": (np.uint8, 0),
    "settled": (np.uint8, 0),
}
_SETTLING: Final = np.zeros(256, bool)
_SETTLING[[Event.SUCCEEDED, Event.FAILED, Event.REPORTED, Event.REVOKED]] = True
_ENDING: Final = np.zeros(256, bool)
_ENDING[[Event.SUCCEEDED, Event.FAILED, Event.ABANDONED]] = True
#: What a broken run may make us keep.
_MAX_UNEXPECTED: Final = 100_000
_MAX_FAULTS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Loss:
    """Entries of a source that never came, and the times of its records before and after them."""

    gap: Gap
    worker: str
    after_ns: int  #: 0: from the source's beginning
    before_ns: int


@dataclass(frozen=True, slots=True)
class FaultRecord:
    """A task was about to do its fault."""

    number: int
    t_ns: int
    detail: int  #: see `contract.fault_detail`
    source: Source


class Ledger:
    """Takes entries in the order of the history; columns are arrays indexed by task number.

    `counts` has a row of eight a task, indexed by `Event - 1`. `size` is the number of rows; a row
    whose `block` is -1 was never enqueued. Times are the entry's clock plus its worker's shift.
    """

    def __init__(self, shifts: Mapping[str, int] | None = None) -> None:
        """`shifts`: worker -> nanoseconds to add to its times."""
        self.tag: int | None = None
        self.size = 0
        self.sides: list[str] = []
        self.roster = Roster()
        self.losses: list[Loss] = []
        self.foreign = 0  #: records about tasks of other runs
        self.unexpected: Counter[int] = Counter()  #: number beyond the rows -> records
        self.enqueued_of_block: Counter[int] = Counter()
        self.settled_of_block: Counter[int] = Counter()
        self.faults = 0
        self.fault_names: dict[int, str] = {}  #: number of a poison task -> its fault
        self.fault_records: list[FaultRecord] = []
        self._sequences = Sequences()
        self._shifts = dict(shifts or {})
        self._capacity = 0
        self._counts = np.zeros((0, EVENTS), np.uint32)
        self._columns: dict[str, np.ndarray] = {
            name: np.zeros(0, kind) for name, (kind, _) in _COLUMNS.items()
        }

    # --- reading ----------------------------------------------------------------------------------

    def __getitem__(self, column: str) -> np.ndarray:
        """Return a column of `size` values."""
        return self._columns[column][: self.size]

    def count(self, event: Event) -> np.ndarray:
        """Return how often `event` was recorded, by task."""
        return self._counts[: self.size, event - 1]

    @property
    def enqueued(self) -> int:
        """Number of tasks that were enqueued."""
        return self.enqueued_of_block.total()

    @property
    def settled(self) -> int:
        """Number of enqueued tasks with a success, a failure, a report or a revocation."""
        return self.settled_of_block.total()

    @property
    def bytes_held(self) -> int:
        """Memory of the arrays."""
        return self._counts.nbytes + sum(column.nbytes for column in self._columns.values())

    @property
    def sequences(self) -> Mapping[str, int]:
        """Source -> highest sequence taken."""
        return self._sequences.highest

    def real_losses(self) -> list[Loss]:
        """Return the losses without those of what a ring held before the run."""
        return [loss for loss in self.losses if not self._before_run(loss)]

    def _before_run(self, loss: Loss) -> bool:
        worker = self.roster.workers.get(loss.worker)
        before = worker.rings_before.get(loss.gap.source, 0) if worker else 0
        return loss.gap.first == 1 and loss.gap.last <= before

    # --- taking -----------------------------------------------------------------------------------

    def take(self, entry: Entry) -> Entry | None:
        """Take the part of an entry that is new, and return it; None if nothing of it is."""
        fresh, gap = self._sequences.fresh(entry)
        if fresh is None:
            return None
        if fresh.kind == "records":
            self._take_records(fresh, gap)
        else:
            op = fresh.op
            t_ns = op["t_ns"] + self._shifts.get(fresh.worker, 0)
            self._note_loss(gap, fresh.worker, 0, t_ns)
            self._take_op(op, t_ns)
        return fresh

    def _note_loss(self, gap: Gap | None, worker: str, after_ns: int, before_ns: int) -> None:
        if gap is not None:
            self.losses.append(Loss(gap, worker, after_ns, before_ns))

    def _take_op(self, op: dict[str, Any], t_ns: int) -> None:
        self.roster.take(op, t_ns)
        name = op["op"]
        if name == "run-begin":
            self.tag = op["tag"]
        elif name == "block-begin":
            self.reserve(op["first"] + op["count"])
        elif name == "enqueued":
            self._enqueue(op, t_ns)
        elif name == "fault" and op.get("applied"):
            self.faults += 1

    def _enqueue(self, op: dict[str, Any], t_ns: int) -> None:
        first, count = op["first"], op["count"]
        self.reserve(first + count)
        self.size = max(self.size, first + count)
        rows = slice(first, first + count)
        self["block"][rows] = op["block"]
        self["side"][rows] = self._side(op["side"])
        self["enqueued_ns"][rows] = t_ns
        begin_ns = op["begin_ns"] + t_ns - op["t_ns"]
        self["intended_ns"][rows] = begin_ns + op["interval_ns"] * np.arange(count)
        for number, fault in (op.get("faults") or {}).items():
            self["poison"][int(number)] = 1
            self.fault_names[int(number)] = fault
        self.enqueued_of_block[op["block"]] += count

    def _side(self, name: str) -> int:
        if name not in self.sides:
            self.sides.append(name)
        return self.sides.index(name)

    def reserve(self, rows: int) -> None:
        """Make room for `rows` tasks, so that taking them need not grow the columns."""
        if rows <= self._capacity:
            return
        self._capacity = max(rows, self._capacity + self._capacity // 4)
        self._counts = _grown(self._counts, self._capacity, 0)
        for name, (_, untouched) in _COLUMNS.items():
            self._columns[name] = _grown(self._columns[name], self._capacity, untouched)

    def _take_records(self, entry: Entry, gap: Gap | None) -> None:
        source = self.roster.source(entry.source, entry.worker)
        batch = records(entry)
        shift = self._shifts.get(entry.worker, 0)
        self._note_loss(gap, entry.worker, source.last_ns, int(batch["t_ns"][0]) + shift)
        source.taken = entry.sequence + entry.count - 1
        source.last_ns = int(batch["t_ns"][-1]) + shift
        known = self._known(batch)
        if known.size:
            self._count(known, source, shift)

    def _known(self, batch: np.ndarray) -> np.ndarray:
        ours = batch["tag"] == (-1 if self.tag is None else self.tag)
        inside = ours & (batch["number"] < self.size)
        if inside.all():
            return batch
        self.foreign += int(np.count_nonzero(~ours))
        for number in batch["number"][ours & ~inside].tolist():
            if len(self.unexpected) < _MAX_UNEXPECTED or number in self.unexpected:
                self.unexpected[number] += 1
        kept: np.ndarray = batch[inside]
        return kept

    def _count(self, batch: np.ndarray, source: Source, shift: int) -> None:
        event = batch["event"].astype(np.int64)
        number = batch["number"].astype(np.int64)
        t_ns = batch["t_ns"] + shift
        self._note_faults(number, event == Event.FAULT, t_ns, batch["detail"], source)
        counted = (event >= 1) & (event <= EVENTS)
        if not counted.all():
            batch, event, number, t_ns = (each[counted] for each in (batch, event, number, t_ns))
        np.add.at(self._counts.reshape(-1), number * EVENTS + event - 1, np.uint32(1))
        self._note_received(number, event == Event.RECEIVED, t_ns, source)
        self._note_starts(number, event == Event.STARTED, t_ns, batch["tid"], source)
        self._note_ends(number, event, t_ns, batch, source)
        self._note_settled(number[_SETTLING[event]])
        follow(source, number, event, batch["tid"], t_ns)

    def _note_faults(
        self,
        number: np.ndarray,
        which: np.ndarray,
        t_ns: np.ndarray,
        detail: np.ndarray,
        source: Source,
    ) -> None:
        if not which.any():
            return
        self["poison"][number[which]] = 1
        self.faults += int(np.count_nonzero(which))
        if len(self.fault_records) < _MAX_FAULTS:
            what = zip(
                number[which].tolist(), t_ns[which].tolist(), detail[which].tolist(), strict=True
            )
            self.fault_records += [FaultRecord(*each, source) for each in what]

    def _note_received(
        self, number: np.ndarray, which: np.ndarray, t_ns: np.ndarray, source: Source
    ) -> None:
        number, t_ns = number[which], t_ns[which]
        if not number.size:
            return
        np.minimum.at(self["first_received"], number, t_ns)
        np.maximum.at(self["last_received"], number, t_ns)
        last = number[self["last_received"][number] == t_ns]
        self["last_receiver"][last] = source.index

    def _note_starts(
        self,
        number: np.ndarray,
        which: np.ndarray,
        t_ns: np.ndarray,
        tid: np.ndarray,
        source: Source,
    ) -> None:
        number, t_ns = number[which], t_ns[which]
        if not number.size:
            return
        np.minimum.at(self["first_start"], number, t_ns)
        np.maximum.at(self["last_start"], number, t_ns)
        is_last = self["last_start"][number] == t_ns
        last = number[is_last]
        self["last_source"][last] = source.index
        self["last_tid"][last] = tid[which][is_last]

    def _note_ends(
        self,
        number: np.ndarray,
        event: np.ndarray,
        t_ns: np.ndarray,
        batch: np.ndarray,
        source: Source,
    ) -> None:
        ends = _ENDING[event]
        if not ends.any():
            return
        np.maximum.at(self["last_end"], number[ends], t_ns[ends])
        good = event == Event.SUCCEEDED
        self["result"][number[good]] = batch["detail"][good]
        source.finished.update(np.unique(batch["tid"][ends]).tolist())

    def _note_settled(self, number: np.ndarray) -> None:
        settled = self["settled"]
        new = number[settled[number] == 0]
        if not new.size:
            return
        new = np.unique(new)
        settled[new] = 1
        blocks, counts = np.unique(self["block"][new], return_counts=True)
        for block, count in zip(blocks.tolist(), counts.tolist(), strict=True):
            if block >= 0:
                self.settled_of_block[block] += count


def _grown(column: np.ndarray, rows: int, untouched: int) -> np.ndarray:
    shape = (rows, *column.shape[1:])
    # Zeroed memory costs nothing until it is touched.
    grown = np.full(shape, untouched, column.dtype) if untouched else np.zeros(shape, column.dtype)
    grown[: len(column)] = column
    return grown


def empty_records(count: int) -> np.ndarray:
    """Return `count` zeroed records, for who makes histories (benchmarks, tests)."""
    return np.zeros(count, RECORD_DTYPE)
