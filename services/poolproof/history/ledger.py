"""The ledger: one row a task, made from the history."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from poolproof.history.batch import AT_ONCE, Batch, Piece, first_ns, last_ns
from poolproof.history.clocks import Clocks
from poolproof.history.columns import COMMON, RARE, Columns
from poolproof.history.file import RECORD_DTYPE, Gap, Sequences, records
from poolproof.history.participants import NEVER, Participants, Source
from poolproof_workers.contract import Entry, Event
from poolproof_workers.errors import DiskError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


_EVENTS: Final = 1 << 16  # an event is a u16
_SETTLES: Final = (Event.SUCCEEDED, Event.FAILED, Event.REPORTED, Event.REVOKED)
_SETTLING: Final = np.zeros(_EVENTS, bool)
_SETTLING[list(_SETTLES)] = True
_ENDING: Final = np.zeros(_EVENTS, bool)
_ENDING[[Event.SUCCEEDED, Event.FAILED, Event.ABANDONED]] = True
_ENDS: Final = (Event.SUCCEEDED, Event.FAILED, Event.RETRIED, Event.ABANDONED)
#: By event: whether it begins or ends an attempt in a slot.
_IN_A_SLOT: Final = np.zeros(_EVENTS, bool)
_IN_A_SLOT[[Event.STARTED, *_ENDS]] = True
#: A task's mark: it may have an open attempt. A number beyond it is used within `_follow` only.
_OPEN: Final = 1
_WHOLE: Final = 2
#: What a broken run may make us keep.
_MAX_UNEXPECTED: Final = 100_000
_MAX_FAULTS: Final = 100_000
#: No batch has so many tasks, nor do so many come before it that nobody has said anything of.
_AHEAD: Final = 1 << 23
#: Ops that change what records mean: none may be counted before one that came first.
_BARRIERS: Final = {"run-begin", "enqueued"}


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


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a ledger; its columns are only made when they are asked for."""

    ledger: Ledger
    rows: slice | np.ndarray

    def __getitem__(self, column: str) -> np.ndarray:
        return self.ledger.columns.of(column, self.rows)

    def count(self, event: Event) -> np.ndarray:
        """Return how often `event` was recorded, by task."""
        return self[event.name]


class Ledger:
    """Takes entries in the order of the history; columns are arrays indexed by task number.

    `size` is the number of rows; a row whose `block` is -1 was never enqueued. Times are on the
    producer's clock, as well as `clocks` knew it when they were taken.
    """

    def __init__(self, clocks: Clocks | None = None) -> None:
        """`clocks`: what another ledger has learned of them from the same history."""
        self.clocks = clocks or Clocks()
        self.tag: int | None = None
        self.columns = Columns()
        self.sides: list[str] = []
        self.roster = Participants()
        self.losses: list[Loss] = []
        self.foreign = 0  #: records about tasks of other runs
        self.unexpected: Counter[int] = Counter()  #: number beyond the rows -> records
        self.enqueued_of_block: Counter[int] = Counter()
        self.settled_of_block: Counter[int] = Counter()
        self.open_blocks: set[int] = set()  #: not all that was enqueued of these has settled
        self.faults = 0
        self.fault_names: dict[int, str] = {}  #: number of a poison task -> its fault
        self.fault_records: list[FaultRecord] = []
        self._sequences = Sequences()
        self._pieces: list[Piece] = []
        self._waiting = 0  #: records of the pieces
        self._spans: list[tuple[int, int]] = []  #: lowest and highest number of each batch

    # --- reading ----------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Number of rows."""
        return self.columns.size

    def __getitem__(self, column: str) -> np.ndarray:
        """Return a column of `size` values."""
        return self.columns.of(column, slice(None))

    def part(self, rows: slice | np.ndarray) -> Part:
        """Return some rows: a stretch of numbers, or an array of them."""
        return Part(self, rows)

    def count(self, event: Event) -> np.ndarray:
        """Return how often `event` was recorded, by task."""
        return self[event.name]

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
        """Memory of the arrays, touched or not."""
        return self.columns.nbytes

    @property
    def dropped_late(self) -> bool:
        """Whether anything came, and was dropped, that had been noticed as missing."""
        return self._sequences.late

    def span(self) -> tuple[int, int] | None:
        """Return the lowest and the highest number in the records counted since the last call.

        None if there are none, or some that were taken are not counted yet.
        """
        if self._pieces or not self._spans:
            return None
        lows, highs = zip(*self._spans, strict=True)
        self._spans = []
        return min(lows), max(highs)

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

    def accepts(self, entry: Entry) -> bool:
        """Tell whether `take` can take an entry.

        Not a batch so far ahead that nobody can say where the tasks before it are from.
        """
        op = entry.op if entry.kind == "op" else {}
        return op.get("op") != "enqueued" or self._is_near(op)

    def _is_near(self, batch: dict[str, Any]) -> bool:
        end: int = batch["first"] + batch["count"]
        return end <= self.size + _AHEAD

    def take(self, entry: Entry) -> Entry | None:
        """Take the part of an entry that is new, and return it; None if nothing of it is."""
        fresh = self._take(entry)
        if fresh is not None and fresh.kind == "records":
            self._note_slots(fresh)
        self._count_waiting()
        return fresh

    def take_all(self, entries: Iterable[Entry], at_once: int = AT_ONCE) -> Iterator[Entry]:
        """Take entries as `take` does, and yield the ops that are new.

        Records are counted `at_once` at a time: only when this is exhausted is the ledger right.
        Which slots have finished a task, which only matters while a run goes on, is not noted.
        """
        for entry in entries:
            fresh = self._take(entry)
            if fresh is not None and fresh.kind == "op":
                yield fresh
            elif self._waiting >= at_once:
                self._count_waiting()
        self._count_waiting()

    def reserve(self, rows: int) -> None:
        """Make room for `rows` tasks, so that taking them need not grow the columns."""
        self.columns.reserve(rows)

    def _take(self, entry: Entry) -> Entry | None:
        fresh, gap = self._sequences.fresh(entry)
        if fresh is None:
            return None
        if fresh.kind == "records":
            self._take_records(fresh, gap, self.clocks.shift_of(fresh.worker))
        else:
            op = fresh.op
            self.clocks.take(fresh.worker, op)
            t_ns = op["t_ns"] + self.clocks.shift_of(fresh.worker)
            self._note_loss(gap, fresh.worker, 0, t_ns)
            self._take_op(op, t_ns)
        return fresh

    def _note_loss(self, gap: Gap | None, worker: str, after_ns: int, before_ns: int) -> None:
        if gap is not None:
            self.losses.append(Loss(gap, worker, after_ns, before_ns))

    # --- ops --------------------------------------------------------------------------------------

    def _take_op(self, op: dict[str, Any], t_ns: int) -> None:
        name = op["op"]
        if name in _BARRIERS:
            self._count_waiting()
        self.roster.take(op, t_ns)
        if name == "run-begin":
            self.tag = op["tag"]
        elif name == "block-begin":
            self.reserve(min(op["first"] + op["count"], self.size + _AHEAD))
        elif name == "enqueued":
            self._enqueue(op, t_ns)
        elif name == "fault" and op.get("applied"):
            self.faults += 1
        elif name == "closed":
            self._note_unsaid(op.get("sources") or {}, t_ns)

    def _note_unsaid(self, sources: dict[str, int], t_ns: int) -> None:
        """Note the ops that the collector had when it closed the books, and that are gone now."""
        for name, last in sources.items():
            taken = self._sequences.highest.get(name, 0)
            if taken < last:
                gap = Gap(name, taken + 1, last)
                self._note_loss(gap, name.rpartition("#")[0], 0, t_ns)

    def _enqueue(self, op: dict[str, Any], t_ns: int) -> None:
        first, count = op["first"], op["count"]
        if not self._is_near(op):
            raise DiskError(f"A history cannot say where tasks {self.size} to {first} are from.")
        self.columns.extend(first + count)
        rows = slice(first, first + count)
        self.columns["block"][rows] = op["block"]
        self.columns["side"][rows] = self._side(op["side"])
        begin_ns = op["begin_ns"] + t_ns - op["t_ns"]
        self.columns.sent.add(first, count, t_ns, begin_ns, op["interval_ns"])
        for text, fault in (op.get("faults") or {}).items():
            number = int(text)
            if first <= number < first + count:
                self.columns["poison"][number] = 1
                self.fault_names[number] = fault
        self.enqueued_of_block[op["block"]] += count
        self._note_open(op["block"])

    def _side(self, name: str) -> int:
        if name not in self.sides:
            self.sides.append(name)
        return self.sides.index(name)

    # --- records ----------------------------------------------------------------------------------

    def _take_records(self, entry: Entry, gap: Gap | None, shift: int) -> None:
        source = self.roster.source(entry.source, entry.worker)
        if gap is not None:
            self._note_loss(gap, entry.worker, source.last_ns, first_ns(entry) + shift)
        count = entry.count
        source.taken = entry.sequence + count - 1
        source.last_ns = last_ns(entry) + shift
        source.shift_ns = shift
        self._pieces.append(Piece(source, shift, entry.data))
        self._waiting += count

    def _count_waiting(self) -> None:
        if not self._pieces:
            return
        batch, raw = Batch.of(self._pieces, self.tag, self.size)
        self._pieces, self._waiting = [], 0
        self._spans.append((int(raw["number"].min()), int(raw["number"].max())))
        if len(batch) < len(raw):
            self._note_strangers(raw)
        if len(batch):
            self._count(batch)

    def _note_strangers(self, raw: np.ndarray) -> None:
        ours = raw["tag"] == (-1 if self.tag is None else self.tag)
        self.foreign += int(np.count_nonzero(~ours))
        for number in raw["number"][ours & (raw["number"] >= self.size)].tolist():
            if len(self.unexpected) < _MAX_UNEXPECTED or number in self.unexpected:
                self.unexpected[number] += 1

    def _count(self, batch: Batch) -> None:
        sources = list(self.roster.sources.values())
        received = batch.where(batch.event == Event.RECEIVED)
        in_slots = batch.where(_IN_A_SLOT[batch.event])
        started = in_slots.where(in_slots.event == Event.STARTED)
        ended = in_slots.where(_ENDING[in_slots.event])
        succeeded = ended.where(ended.event == Event.SUCCEEDED)
        for event, of in zip(COMMON, (received, started, succeeded), strict=True):
            np.add.at(self.columns[event.name], of.number, np.uint32(1))
        if len(received) + len(started) + len(succeeded) < len(batch):
            self._note_rare(batch, sources)
        if len(received):
            last = self._note_times(received, Event.RECEIVED, "first_received", "again_received")
            self.columns["last_receiver"][received.number[last]] = received.source[last]
        if len(started):
            last = self._note_times(started, Event.STARTED, "first_start", "again_start")
            self.columns["last_source"][started.number[last]] = started.source[last]
            self.columns["last_tid"][started.number[last]] = started.tid[last]
        np.maximum.at(self.columns["last_end"], ended.number, ended.t_ns)
        self.columns["result"][succeeded.number] = succeeded.detail
        self._note_settled(batch.number[_SETTLING[batch.event]])
        _follow(sources, self.columns, in_slots)

    def _note_rare(self, batch: Batch, sources: list[Source]) -> None:
        self._note_faults(batch.where(batch.event == Event.FAULT), sources)
        for event in RARE:
            number = batch.number[batch.event == event]
            if number.size:
                rows = self.columns.rows_of(number)
                np.add.at(self.columns.more[event.name], rows, np.uint32(1))

    def _note_slots(self, entry: Entry) -> None:
        batch = records(entry)
        mine = _ENDING[batch["event"]] & (batch["tag"] == (-1 if self.tag is None else self.tag))
        slots = np.unique(batch["tid"][mine & (batch["number"] < self.size)])
        self.roster.sources[entry.source].finished.update(slots.tolist())

    def _note_faults(self, batch: Batch, sources: list[Source]) -> None:
        self.columns["poison"][batch.number] = 1
        self.faults += len(batch)
        if len(self.fault_records) < _MAX_FAULTS:
            what = (batch.number, batch.t_ns, batch.detail, batch.source)
            for number, t_ns, detail, index in zip(*(c.tolist() for c in what), strict=True):
                self.fault_records.append(FaultRecord(number, t_ns, detail, sources[index]))

    def _note_times(self, batch: Batch, event: Event, first: str, again: str) -> np.ndarray:
        """Note the first and the last time of an event; return a mask of those that are the last.

        The last is only kept apart for a task that has several.
        """
        number, t_ns = batch.number, batch.t_ns
        several = self.count(event)[number] > 1
        if several.any():
            known = self.columns[first][number[several]]
            known[known == NEVER] = 0
            rows = self.columns.rows_of(number[several])
            np.maximum.at(self.columns.more[again], rows, np.maximum(known, t_ns[several]))
        np.minimum.at(self.columns[first], number, t_ns)
        last = np.maximum(self.columns[first][number], self.columns.of(again, number))
        return np.asarray(last == t_ns)

    def _note_settled(self, number: np.ndarray) -> None:
        settled = self.columns["settled"]
        new = number[settled[number] == 0]
        settled[new] = 1
        several = np.sum([self.columns.of(event.name, new) for event in _SETTLES], axis=0) > 1
        if several.any():
            new = np.concatenate((new[~several], np.unique(new[several])))
        block = self.columns["block"][new]
        counts = np.bincount(block[block >= 0])
        for index in np.flatnonzero(counts).tolist():
            self.settled_of_block[index] += int(counts[index])
            self._note_open(index)

    def _note_open(self, block: int) -> None:
        is_open = self.settled_of_block[block] != self.enqueued_of_block[block]
        (self.open_blocks.add if is_open else self.open_blocks.discard)(block)


def empty_records(count: int) -> np.ndarray:
    """Return `count` zeroed records, for who makes histories (benchmarks, tests)."""
    return np.zeros(count, RECORD_DTYPE)


def _follow(sources: Sequence[Source], columns: Columns, records: Batch) -> None:
    """Bring `open` and `unended` of the sources up to date with records that were counted.

    All of them are of events that `_IN_A_SLOT` has.
    """
    rest = records.where(~_whole(columns, records))
    mark = columns["mark"]
    number, event, tid, t_ns, source = (
        column.tolist() for column in (rest.number, rest.event, rest.tid, rest.t_ns, rest.source)
    )
    for task, what, thread, when, index in zip(number, event, tid, t_ns, source, strict=True):
        attempts, key = sources[index].open, (task, thread)
        if what != Event.STARTED:
            attempts.pop(key, None)
            continue
        if key in attempts:
            sources[index].unended[task] += 1
        attempts[key] = when
        mark[task] = _OPEN


def _whole(columns: Columns, records: Batch) -> np.ndarray:
    """Return a mask of the records of attempts that began and ended within these, without doubt.

    They are nearly all there are, and need not be followed one by one: the only start that is known
    of the task, and its only end, in the same slot.
    """
    mark = columns["mark"]
    is_start = records.event == Event.STARTED
    ends = records.where(~is_start)
    ended = sum(columns.of(event.name, ends.number) for event in _ENDS)
    once = (columns[Event.STARTED.name][ends.number] == 1) & (ended == 1)
    here = (
        (columns["last_source"][ends.number] == ends.source)
        & (columns["last_tid"][ends.number] == ends.tid)
        & (columns["first_start"][ends.number] < ends.t_ns)
    )
    # One that began in an earlier batch is marked as open.
    whole = ends.number[once & here & (mark[ends.number] == 0)]
    mark[whole] = _WHOLE
    found = np.asarray(mark[records.number] == _WHOLE)
    mark[whole] = 0
    return found
