"""All that a run's folder says: its ops in order, its clocks on one, and its ledger."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from poolproof.collect.history import FILE_NAME, Sequences, read_from
from poolproof.collect.ledger import Ledger
from poolproof_workers.errors import DiskError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from poolproof_workers.contract import Entry


#: An op as it was written, and by whom.
Written = tuple[str, dict[str, Any]]
Ops = list[Written]


class Place(NamedTuple):
    """A piece of the history, and which tasks its records are about."""

    begin: int  #: offset
    end: int
    low: int  #: the lowest task number
    high: int  #: the highest


@dataclass(frozen=True, slots=True)
class Op:
    """One op, at `t_ns` on the producer's monotonic clock."""

    name: str
    t_ns: int
    fields: dict[str, Any]

    def __getitem__(self, field: str) -> Any:
        return self.fields[field]

    def get(self, field: str, default: Any = None) -> Any:
        """Return a field that an op may lack."""
        return self.fields.get(field, default)


@dataclass(frozen=True, slots=True)
class Clocks:
    """How each host's monotonic clock is put on the producer's."""

    reference: str = ""  #: boot id of the producer's host
    offsets: dict[str, tuple[int, int]] = field(default_factory=dict)  #: boot -> (error, offset)
    boots: dict[str, str] = field(default_factory=dict)  #: worker -> boot

    def shift(self, boot: str) -> int | None:
        """Return what to add to times of `boot`; None if that is not known."""
        if boot == self.reference:
            return 0
        if boot not in self.offsets or self.reference not in self.offsets:
            return None
        return self.offsets[boot][1] - self.offsets[self.reference][1]

    def from_unix(self, seconds: float) -> int | None:
        """Return the time of a Unix time, None if no clock op tells."""
        known = self.offsets.get(self.reference)
        return None if known is None else round(seconds * 1e9) - known[1]

    def all_from_unix(self, seconds: np.ndarray) -> np.ndarray:
        """Return the times of Unix times; 0 if no clock op tells."""
        known = self.offsets.get(self.reference)
        return (
            np.zeros(len(seconds), np.int64)
            if known is None
            else (np.rint(seconds * 1e9).astype(np.int64) - known[1])
        )

    def unknown(self) -> list[str]:
        """Return the workers whose clock cannot be put on the producer's."""
        return [worker for worker, boot in self.boots.items() if self.shift(boot) is None]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What there is to judge by."""

    folder: Path
    ops: list[Op]  #: by time
    clocks: Clocks
    ledger: Ledger
    shifts: dict[str, int]  #: worker -> nanoseconds to add to its times
    places: list[Place] = field(default_factory=list)  #: of all records

    def named(self, *names: str) -> list[Op]:
        """Return the ops of these names, by time."""
        return [op for op in self.ops if op.name in names]

    def last(self, name: str) -> Op | None:
        """Return the last op of a name."""
        return next((op for op in reversed(self.ops) if op.name == name), None)

    def entries(self, wanted: np.ndarray) -> Iterator[Entry]:
        """Read the history again: the new part of each entry of records.

        Of those that are about no task whose number is in `wanted`, which is sorted, some, but not
        all, are left out.
        """
        sequences = Sequences()
        for begin, end in self._stretches(wanted):
            for _, entry, at in read_from(self.folder / FILE_NAME, begin):
                fresh, _ = sequences.fresh(entry) if entry.kind == "records" else (None, None)
                if fresh is not None:
                    yield fresh
                if at >= end:
                    break

    def _stretches(self, wanted: np.ndarray) -> Iterator[tuple[int, int]]:
        """Yield the offsets of where there may be records about tasks of these numbers."""
        begin = end = 0
        for place in self.places:
            # What came late was not taken: only who reads all that came before it can tell.
            if self.ledger.dropped_late or _any_between(wanted, place.low, place.high):
                if place.begin > end:
                    if begin < end:
                        yield begin, end
                    begin = place.begin
                end = place.end
        if begin < end:
            yield begin, end


def _any_between(values: np.ndarray, low: int, high: int) -> bool:
    return bool(np.searchsorted(values, low) < np.searchsorted(values, high, side="right"))


def gather(folder: Path) -> Evidence:
    """Read the run in `folder`. Raises DiskError if there is none."""
    path = folder / FILE_NAME
    if not path.is_file():
        raise DiskError(f"{folder} is not a run: it has no {FILE_NAME}.")
    ledger, entries, places = _take(path, {})
    clocks = _clocks(entries)
    shifts = {worker: clocks.shift(boot) or 0 for worker, boot in clocks.boots.items()}
    if any(shifts.values()):
        # Only now is it known by how much; on one host nothing has to be shifted.
        ledger, entries, places = _take(path, shifts)
    ops = [_op(entry, shifts) for entry in entries]
    return Evidence(folder, sorted(ops, key=lambda op: op.t_ns), clocks, ledger, shifts, places)


def _take(path: Path, shifts: dict[str, int]) -> tuple[Ledger, Ops, list[Place]]:
    """Return the ledger, the ops, and the places of the records in the history."""
    ledger = Ledger(shifts)
    places: list[Place] = []
    begin = end = 0

    def note() -> None:
        nonlocal begin
        if span := ledger.span():
            places.append(Place(begin, end, *span))
            begin = end

    def entries() -> Iterator[Entry]:
        nonlocal end
        for _, entry, at in read_from(path):
            yield entry
            end = at
            note()

    ops = [(entry.worker, entry.op) for entry in ledger.take_all(entries())]
    note()
    return ledger, ops, places


def _op(written: Written, shifts: dict[str, int]) -> Op:
    worker, op = written
    return Op(op["op"], op["t_ns"] + shifts.get(worker, 0), op)


def _clocks(ops: Ops) -> Clocks:
    reference = ""
    offsets: dict[str, tuple[int, int]] = {}
    boots: dict[str, str] = {}
    for worker, op in ops:
        boot = boots[worker] = op["boot"]
        if op["op"] == "run-begin":
            reference = boot
        elif op["op"] == "clock":
            found = (op["error_ns"], op["offset_ns"])
            offsets[boot] = min(found, offsets.get(boot, found))
    return Clocks(reference, offsets, boots)
