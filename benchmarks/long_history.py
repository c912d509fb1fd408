"""A long history as real workers would have written it, with its accidents: what `scale` is fed."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from poolproof.history.file import FILE_NAME, FORMAT, HistoryWriter
from poolproof.history.ledger import empty_records
from poolproof_workers.contract import RECORD_BYTES, Entry, Event

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TAG: Final = 0x50A4
RUN: Final = f"20000101-000000-{TAG:08x}"
SIDES: Final = ("prefork:4", "threads:4")
SLOTS: Final = 4
#: What stands for the slot in a record of the main process itself.
MAIN: Final = -1
_SECOND: Final = 1_000_000_000
_BOOT: Final = "soak"
#: Redis's Unix time minus the monotonic clock.
_OFFSET_NS: Final = 1_700_000_000 * _SECOND
#: A worker does a thousand tasks a second, has 16 in hand, and ships ten times a second.
_EVERY_NS: Final = _SECOND // 1_000
_IN_HAND: Final = 16
_SHIP_NS: Final = _SECOND // 10
_TASK_NS: Final = SLOTS * _EVERY_NS - 100_000
_SENT_AT_ONCE: Final = 5_000
#: Of so many tasks one each fails, is retried, and is delivered once more.
_ODD: Final = 1_000
#: Of so many blocks in these the worker dies; and the one of which records are lost.
_STRUCK: Final = 40
_DEATHS: Final = {6, 7, 26, 27}
_LOST: Final = 30
#: Left at the end: taken by a worker that died, and in the queue.
_STRANDED: Final = 1_000
_QUEUED: Final = 5_000

#: What a record holds that differs between records.
_KIND: Final = np.dtype([("number", "i8"), ("event", "i8"), ("t_ns", "i8"), ("slot", "i8")])


class Soak:
    """Writes the history of `tasks` tasks into a run's folder; the same one every time.

    Blocks of `block` tasks on two workers in turn. In every second pair of blocks some tasks fail,
    are retried or run twice. Some entries come twice. In four of forty blocks the worker is killed
    with tasks in its hands, which its next life runs; in one block some records are lost. In the
    last a poison task kills the worker, and tasks are left stranded and in the queue.
    """

    def __init__(self, folder: Path, tasks: int, block: int = 50_000) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / FILE_NAME
        self._tasks = tasks
        self._block_size = block
        self._blocks = -(-tasks // block)
        self._random = np.random.default_rng(tasks)
        self._now = _SECOND
        self._sequences: dict[str, int] = {}
        self._workers = [SoakWorker(side) for side in SIDES]

    def write(self) -> int:
        """Write it; return the number of records."""
        count = 0
        with HistoryWriter(self._path) as writer:
            entries = ((f"1-{i}", entry) for i, entry in enumerate(self._entries()))
            batch: list[tuple[str, Entry]] = []
            for pair in entries:
                batch.append(pair)
                count += pair[1].count if pair[1].kind == "records" else 0
                if len(batch) == 1_000:
                    writer.append(batch)
                    batch = []
            writer.append(batch)
        return count

    # --- the course of it -------------------------------------------------------------------------

    def _entries(self) -> Iterator[Entry]:
        yield self._op("collector", "format", version=FORMAT)
        plan = {"name": "soak", "seed": self._tasks}
        facts = {"plan": plan, "machine": {}, "versions": {}, "namespace": "soak"}
        yield self._op("producer", "run-begin", run=RUN, tag=TAG, **facts)
        yield self._op("producer", "clock", offset_ns=_OFFSET_NS, error_ns=1_000)
        for worker in self._workers:
            worker.begin(self._now)
            yield self._op(worker.name, "hello", **self._greeting(worker))
        blocks = range(self._blocks)
        for block in blocks:
            worker = self._workers[block % len(self._workers)]
            yield from self._block(block, worker, is_last=block == blocks[-1])
        yield from self._end()

    def _greeting(self, worker: SoakWorker) -> dict[str, Any]:
        redelivery = {"visibility_timeout_s": 5.0, "sweep_s": 1.0, "restart_delay_s": 0.0}
        settings = {"POOLPROOF_POLICY": "early", "POOLPROOF_PREFETCH": "4"}
        pool = {"pool": worker.side, "concurrency": SLOTS, "settings": settings, "rings": {}}
        return {**worker.whole(), **pool, **redelivery}

    def _block(self, block: int, worker: SoakWorker, *, is_last: bool) -> Iterator[Entry]:
        first = block * self._block_size
        count = min(self._block_size, self._tasks - first)
        place = {"block": block, "side": worker.side, "first": first, "count": count}
        is_calm = block % _STRUCK not in _DEATHS and block != _LOST and not self._is_odd(first)
        measured = {"warmup": False, "measured": is_calm and not is_last}
        about = {"workload": "square", "parameters": {}, "events": False, **measured}
        yield self._op("producer", "block-begin", **place, **about)
        for begin in range(first, first + count, _SENT_AT_ONCE):
            some = min(_SENT_AT_ONCE, first + count - begin)
            sent = place | {"first": begin, "count": some}
            poison = first + count // 2
            is_poisoned = is_last and begin <= poison < begin + some
            faults = {str(poison): "segfault"} if is_poisoned else {}
            times = {"begin_ns": self._now, "interval_ns": 0, "faults": faults}
            yield self._op("producer", "enqueued", **sent, **times)
        if is_last:
            yield from self._last_block(worker, first, count)
        elif block % _STRUCK in _DEATHS:
            yield from self._killed_block(worker, first, count)
        else:
            pieces = list(self._ship(worker, self._work(first, count)))
            lost = len(pieces) // 2 if block == _LOST else len(pieces)
            yield from (entry for place, entry in enumerate(pieces) if place != lost)
        yield self._op("producer", "block-end", block=block, drained=True)

    def _killed_block(self, worker: SoakWorker, first: int, count: int) -> Iterator[Entry]:
        """The worker dies in the middle of a block; what it had in hand comes back to it."""
        middle = first + count // 2
        yield from self._ship(worker, self._until_death(first, middle))
        yield from self._die(worker)
        yield from self._live_again(worker)
        back = self._work(middle, min(_IN_HAND, first + count - middle))
        yield from self._ship(worker, back)
        rest = middle + _IN_HAND
        yield from self._ship(worker, self._work(rest, max(0, first + count - rest)))

    def _last_block(self, worker: SoakWorker, first: int, count: int) -> Iterator[Entry]:
        """A poison task kills the worker, and so does something else before the work is done."""
        poison = first + count // 2
        done = self._until_death(first, poison + 1)
        fault = np.array([(poison, Event.FAULT, self._now - 1, poison % SLOTS)], _KIND)
        yield from self._ship(worker, np.concatenate((done, fault)))
        yield from self._die(worker)
        yield from self._live_again(worker)
        rest = poison + 1 + _IN_HAND
        left = min(_STRANDED + _QUEUED, max(0, (first + count - rest) // 2))
        stranded = first + count - left
        yield from self._ship(worker, self._work(poison + 1, stranded - poison - 1))
        taken = np.arange(stranded, stranded + left // 6)
        hands = np.zeros(len(taken), _KIND)
        hands["number"], hands["event"], hands["slot"] = taken, Event.RECEIVED, MAIN
        hands["t_ns"] = self._now
        yield from self._ship(worker, hands)
        yield from self._die(worker)
        yield from self._live_again(worker)
        self._left = (taken.tolist(), [stranded + len(taken), first + count - 1])

    def _end(self) -> Iterator[Entry]:
        for worker in self._workers:
            alive = [pid for _, pid in worker.rings.values()]
            words = {"worker": worker.name, "token": "t", "alive": alive, "pid": alive[0]}
            yield self._op(worker.name, "flushed", rings=dict(worker.written), **words)
        stranded, queue = self._left
        for worker in self._workers:
            is_left = worker is self._workers[(self._blocks - 1) % len(self._workers)]
            taken_s = (self._now - 3 * _SECOND + _OFFSET_NS) / 1e9
            unacked = [[number, taken_s] for number in stranded] if is_left else []
            held = {"queue": [queue] if is_left else [], "unacked": unacked, "foreign": 0}
            timing = {"visibility_timeout_s": 5.0, "sweep_s": 1.0, "stable": True}
            yield self._op("collector", "broker", side=worker.side, reason="end", **held, **timing)
        yield self._op("producer", "run-end", reason="done")
        yield self._op("collector", "closed", complete=True, missing={})

    # --- what tasks do ----------------------------------------------------------------------------

    def _work(self, first: int, count: int) -> np.ndarray:
        """Return the records of tasks that run one after the other, with what went wrong."""
        number = first + np.arange(count)
        end = np.full(count, int(Event.SUCCEEDED))
        odd = number % _ODD if self._is_odd(first) else np.zeros(count)
        end[odd == 1], end[odd == 2] = Event.FAILED, Event.RETRIED
        base = self._lives(number, end, self._now)
        self._now += count * _EVERY_NS + _TASK_NS + _IN_HAND * _EVERY_NS
        again = number[(odd == 2) | (odd == 3)]
        more = self._lives(again, np.full(len(again), int(Event.SUCCEEDED)), self._now)
        self._now += len(again) * _EVERY_NS + _TASK_NS + _IN_HAND * _EVERY_NS
        return np.concatenate((base, more))

    def _is_odd(self, first: int) -> bool:
        """Tell whether some tasks of a block do not complete: it is not to be measured."""
        return first // self._block_size % 4 >= 2

    def _lives(self, number: np.ndarray, end: np.ndarray, begin_ns: int) -> np.ndarray:
        turn = np.arange(len(number))
        received = begin_ns + turn * _EVERY_NS
        started = received + _IN_HAND * _EVERY_NS
        parts = (
            (np.full(len(number), int(Event.RECEIVED)), received, np.full(len(number), MAIN)),
            (np.full(len(number), int(Event.STARTED)), started, turn % SLOTS),
            (end, started + _TASK_NS, turn % SLOTS),
        )
        found = np.zeros((3, len(number)), _KIND)
        for row, (event, t_ns, slot) in zip(found, parts, strict=True):
            row["number"], row["event"], row["t_ns"], row["slot"] = number, event, t_ns, slot
        return found.reshape(-1)

    def _until_death(self, first: int, poison: int) -> np.ndarray:
        """Return the records until the worker dies, with all its slots and its hands full."""
        whole = self._work(first, poison - first + _IN_HAND)
        death_ns = whole["t_ns"][(whole["number"] == poison) & (whole["event"] == Event.STARTED)]
        death = int(death_ns[0]) if len(death_ns) else self._now
        self._now = death + 1
        return np.asarray(whole[whole["t_ns"] <= death])

    # --- what supervisors write -------------------------------------------------------------------

    def _ship(self, worker: SoakWorker, work: np.ndarray) -> Iterator[Entry]:
        """Yield the entries of records as they come: each ring ten times a second."""
        pieces: list[tuple[int, Entry]] = []
        rings = np.array([worker.ring(slot) for slot in range(SLOTS)] + [MAIN])[work["slot"]]
        for ring in worker.rings:
            mine = work[rings == ring]
            mine = mine[np.argsort(mine["t_ns"], kind="stable")]
            if len(mine):
                pieces += self._ring_entries(worker, ring, mine)
        for index, (_, entry) in enumerate(sorted(pieces, key=lambda piece: piece[0])):
            yield entry
            if index % 100 == 50:
                yield entry  # sent again
        seconds = range(1 + int(len(work) * _EVERY_NS / 3 / _SECOND))
        memory = {"processes": 5, "pss_bytes": 150_000_000, "uss_bytes": None, "rss_bytes": 3e8}
        for _ in seconds:
            effort = {"cpu_s": self._now / 1e9, "ctx_voluntary": 1, "ctx_involuntary": 1}
            yield self._op(worker.name, "sample", worker=worker.name, **memory, **effort)

    def _ring_entries(
        self, worker: SoakWorker, ring: int, mine: np.ndarray
    ) -> Iterator[tuple[int, Entry]]:
        name, pid = worker.rings[ring]
        before = worker.written.get(name, 0)
        records = empty_records(len(mine))
        for column in ("number", "event", "t_ns"):
            records[column] = mine[column]
        good = mine["event"] == Event.SUCCEEDED
        records["detail"][good] = mine["number"][good] ** 2
        is_main = mine["slot"] == MAIN
        threads = pid * 10 + mine["slot"] if ring == MAIN else np.full(len(mine), pid)
        records["tag"], records["pid"] = TAG, pid
        records["tid"] = np.where(is_main, pid, threads)
        records["sequence"] = before + 1 + np.arange(len(mine))
        worker.written[name] = before + len(mine)
        data, ticks = records.tobytes(), mine["t_ns"] // _SHIP_NS
        edges = [0, *(np.flatnonzero(np.diff(ticks)) + 1).tolist(), len(mine)]
        for begin, end in pairwise(edges):
            piece = data[begin * RECORD_BYTES : end * RECORD_BYTES]
            yield (
                int(mine["t_ns"][begin]),
                Entry("records", worker.name, name, before + begin + 1, piece),
            )

    def _die(self, worker: SoakWorker) -> Iterator[Entry]:
        end: dict[str, Any] = {"code": None, "signal": 9, "asked": False, "stderr": []}
        yield self._op(worker.name, "worker-exit", **worker.whole(), **end)
        for name, pid in worker.rings.values():
            gone = {"worker": worker.name, "pid": pid, "ring": name}
            yield self._op(worker.name, "process-gone", written=worker.written.get(name, 0), **gone)

    def _live_again(self, worker: SoakWorker) -> Iterator[Entry]:
        self._now += 5 * _SECOND
        worker.begin(self._now)
        self._now += 1
        yield self._op(worker.name, "worker-restart", **worker.whole(), delay_s=0.0, by="soak")
        yield self._op(worker.name, "worker-up", **worker.whole(), command=[], settings={})
        yield self._op(worker.name, "worker-ready", **worker.whole())

    def _op(self, writer: str, op: str, /, **fields: Any) -> Entry:
        self._now += 1_000
        self._sequences[writer] = self._sequences.get(writer, 0) + 1
        body = {"op": op, "t_ns": self._now, "boot": _BOOT, **fields}
        return Entry.of_op(writer, f"{writer}#1-1", self._sequences[writer], body)


@dataclass(slots=True)
class SoakWorker:
    """One worker, alive: its rings and what was written to them."""

    side: str
    pids: int = 100
    life: int = 0
    rings: dict[int, tuple[str, int]] = field(default_factory=dict)  #: slot -> ring, pid
    written: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As a worker is called."""
        return f"{self.side.replace(':', '-')}@soak"

    def ring(self, slot: int) -> int:
        """Return the slot by which the ring that a slot writes to is called."""
        return slot if self.side.startswith("prefork") else MAIN

    def begin(self, t_ns: int) -> None:
        """Begin a life, with a new ring for each process."""
        self.life += 1
        self.rings = {
            slot: self._ring(t_ns) for slot in sorted({MAIN, *map(self.ring, range(SLOTS))})
        }

    def _ring(self, t_ns: int) -> tuple[str, int]:
        self.pids += 1
        return f"{self.name}/{self.pids}-{t_ns}", self.pids

    def whole(self) -> dict[str, Any]:
        """Return what an op says of it."""
        pid = self.rings[MAIN][1]
        return {"worker": self.name, "side": self.side, "life": self.life, "pid": pid}
