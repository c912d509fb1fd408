"""A run that never ends, written as a collector writes it: what a live page is measured with."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from poolproof.history.file import FILE_NAME, FORMAT, HistoryWriter
from poolproof.history.ledger import empty_records
from poolproof_workers.contract import Entry, Event

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

SIDES: Final = ("prefork:4", "threads:4")
_TAG: Final = 0x57EA
_RUN: Final = f"20000101-000000-{_TAG:08x}"
_SLOTS: Final = 4
_BLOCK: Final = 20_000
#: A supervisor ships ten times a second; the two are not in step.
_SHIP_S: Final = 0.1
_BUSY: Final = 0.9  #: part of the time in which a slot runs a task


@dataclass(slots=True)
class _Worker:
    """One side's worker: what it has written, by ring."""

    side: str
    index: int
    written: dict[str, int] = field(default_factory=dict)
    done: int = 0

    @property
    def name(self) -> str:
        return f"{self.side.replace(':', '-')}@stream"

    def numbers(self, some: int) -> np.ndarray:
        """Return the numbers of its next tasks: the sides take blocks in turn."""
        nth = np.arange(self.done, self.done + some)
        return (nth // _BLOCK * len(SIDES) + self.index) * _BLOCK + nth % _BLOCK

    def tid(self, slot: int) -> int:
        """Return the thread of a slot; 0 is the main one."""
        return (self.index + 1) * 100 + slot

    def pid(self, slot: int) -> int:
        return self.tid(slot) if self.side.startswith("prefork") else self.tid(0)


class Stream:
    """Writes `per_s` tasks a second for each of two sides into a run's folder, until it is left.

    A thread of this process: ten times a second it appends what a supervisor would have shipped,
    with the times at which it would have happened. `events` are those that a page draws.
    """

    def __init__(self, runs: Path, per_s: int) -> None:
        folder = runs / _RUN
        folder.mkdir(parents=True)
        self._writer = HistoryWriter(folder / FILE_NAME)
        self._per_s = per_s
        self._workers = [_Worker(side, index) for index, side in enumerate(SIDES)]
        self._identifiers = (f"1-{number}" for number in count(1))
        self._sequences = {"collector": 0, "producer": 0} | {w.name: 0 for w in self._workers}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self._events: list[tuple[np.ndarray, np.ndarray]] = []

    @property
    def tasks(self) -> int:
        """Tasks that have ended so far."""
        return sum(worker.done for worker in self._workers)

    def events(self) -> dict[int, np.ndarray]:
        """Return the starts and ends since the last call: thread -> their times in ns, sorted."""
        taken, self._events = self._events, []
        tids = np.concatenate([tids for tids, _ in taken])
        times = np.concatenate([times for _, times in taken])
        return {int(tid): np.sort(times[tids == tid]) for tid in np.unique(tids)}

    def __enter__(self) -> Self:
        self._append(self._head())
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        self._writer.close()

    # --- writing ----------------------------------------------------------------------------------

    def _write(self) -> None:
        began = time.monotonic()
        shipped_ns = dict.fromkeys(range(len(SIDES)), time.monotonic_ns())
        for tick in count(1):
            worker = self._workers[tick % len(SIDES)]
            if self._over.wait(max(0.0, began + tick * _SHIP_S / len(SIDES) - time.monotonic())):
                return
            begin_ns, now_ns = shipped_ns[worker.index], time.monotonic_ns()
            rounds = round((now_ns - begin_ns) / 1e9 * self._per_s) // _SLOTS
            if rounds:
                self._append(self._shipment(worker, rounds * _SLOTS, begin_ns, now_ns))
                shipped_ns[worker.index] = now_ns

    def _append(self, entries: Iterator[Entry]) -> None:
        self._writer.append([(next(self._identifiers), entry) for entry in entries])

    def _head(self) -> Iterator[Entry]:
        yield self._op("collector", "format", version=FORMAT)
        yield self._op("producer", "run-begin", run=_RUN, tag=_TAG)
        for worker in self._workers:
            about = {"worker": worker.name, "pool": worker.side, "concurrency": _SLOTS}
            yield self._op(worker.name, "hello", side=worker.side, **about)

    def _shipment(self, worker: _Worker, some: int, begin_ns: int, end_ns: int) -> Iterator[Entry]:
        """Yield what happened on a side: its tasks are sent, fetched and run in these moments."""
        numbers = worker.numbers(some)
        for part in np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1):
            block = int(part[0]) // _BLOCK
            place = {"block": block, "side": worker.side, "first": int(part[0]), "count": len(part)}
            if part[0] % _BLOCK == 0:
                whole = place | {"count": _BLOCK}
                work = {"workload": "square", "warmup": False, "measured": False}
                yield self._op("producer", "block-begin", **work, **whole)
            yield self._op("producer", "enqueued", begin_ns=begin_ns, interval_ns=0, **place)
        for pid, ring in _rings(worker, numbers, begin_ns, end_ns).items():
            yield self._records(worker, pid, ring)
        sampled = {"worker": worker.name, "processes": 1, "cpu_s": 0.0, "pss_bytes": 150_000_000}
        yield self._op(worker.name, "sample", **sampled)
        worker.done += some

    def _records(self, worker: _Worker, pid: int, ring: np.ndarray) -> Entry:
        name = f"{worker.name}/{pid}-1"
        first = worker.written.get(name, 0) + 1
        worker.written[name] = first + len(ring) - 1
        ring["sequence"] = np.arange(first, first + len(ring))
        drawn = ring[ring["event"] != Event.RECEIVED]
        if len(drawn):
            self._events.append((drawn["tid"], drawn["t_ns"]))
        return Entry("records", worker.name, name, first, ring.tobytes())

    def _op(self, source: str, name: str, **fields: Any) -> Entry:
        self._sequences[source] += 1
        body = {"op": name, "t_ns": time.monotonic_ns(), "boot": "stream", **fields}
        return Entry.of_op(source, f"{source}#1-1", self._sequences[source], body)


def _rings(
    worker: _Worker, numbers: np.ndarray, begin_ns: int, end_ns: int
) -> dict[int, np.ndarray]:
    """Return the records of each process: every slot runs its share of the tasks, one by one."""
    each = len(numbers) // _SLOTS
    every_ns = (end_ns - begin_ns) // each
    starts = begin_ns + every_ns * (np.arange(len(numbers)) // _SLOTS)
    slots = 1 + np.arange(len(numbers)) % _SLOTS
    events = (
        (Event.RECEIVED, starts, np.zeros_like(slots)),
        (Event.STARTED, starts + 1, slots),
        (Event.SUCCEEDED, starts + round(every_ns * _BUSY), slots),
    )
    records = empty_records(len(events) * len(numbers))
    for part, (event, times, where) in zip(np.split(records, len(events)), events, strict=True):
        part["number"], part["t_ns"], part["event"], part["tag"] = numbers, times, event, _TAG
        part["tid"] = [worker.tid(slot) for slot in where.tolist()]
        part["pid"] = [worker.pid(slot) for slot in where.tolist()]
    records = records[np.argsort(records["t_ns"], kind="stable")]
    return {int(pid): records[records["pid"] == pid] for pid in np.unique(records["pid"])}
