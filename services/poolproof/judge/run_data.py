"""All that a run's folder says: its ops in order, its clocks on one, and its ledger."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from poolproof.history.clocks import Clocks
from poolproof.history.file import FILE_NAME, Damage, Sequences, read_from
from poolproof.history.ledger import Ledger
from poolproof_workers.errors import DiskError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from poolproof.history.file import Note
    from poolproof_workers.contract import Entry


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


#: The time of an op, to bisect by: ops are in its order.
time_of: Final = attrgetter("t_ns")


@dataclass(frozen=True, slots=True)
class RunData:
    """What there is to judge by."""

    folder: Path
    ops: list[Op]  #: by time
    named_at: dict[str, list[int]]  #: name -> its places in `ops`
    ledger: Ledger
    places: list[Place] = field(default_factory=list)  #: of all records
    damage: list[Damage] = field(default_factory=list)  #: of the history

    @property
    def clocks(self) -> Clocks:
        """How its clocks stand to each other."""
        return self.ledger.clocks

    def named(self, *names: str) -> list[Op]:
        """Return the ops of these names, by time."""
        places = [self.named_at.get(name, []) for name in names]
        return [self.ops[at] for at in sorted(chain.from_iterable(places))]

    def last(self, name: str) -> Op | None:
        """Return the last op of a name."""
        places = self.named_at.get(name)
        return self.ops[places[-1]] if places else None

    def entries(self, wanted: np.ndarray) -> Iterator[Entry]:
        """Read the history again: the new part of each entry of records.

        Of those that are about no task whose number is in `wanted`, which is sorted, some, but not
        all, are left out.
        """
        sequences = Sequences()
        for begin, end in self._stretches(wanted):
            for _, entry, at in read_from(self.folder / FILE_NAME, begin, lambda _: None):
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


def gather(folder: Path) -> RunData:
    """Read the run in `folder`. Raises DiskError if there is none."""
    path = folder / FILE_NAME
    if not path.is_file():
        raise DiskError(f"{folder} is not a run: it has no {FILE_NAME}.")
    damage: list[Damage] = []
    ledger, written, places = _take(path, Clocks(), damage.append)
    if any(ledger.clocks.shift(boot) for boot in ledger.clocks.offsets):
        # Only now is it known by how much; on one host nothing has to be shifted.
        ledger, written, places = _take(path, ledger.clocks, lambda _: None)
    ops = sorted((_op(op, ledger.clocks) for op in written), key=time_of)
    return RunData(folder, ops, _named_at(ops), ledger, places, damage)


def _take(
    path: Path, clocks: Clocks, note: Note
) -> tuple[Ledger, list[dict[str, Any]], list[Place]]:
    """Return the ledger, the ops, and the places of the records in the history."""
    ledger = Ledger(clocks)
    places: list[Place] = []
    begin = end = 0

    def locate() -> None:
        nonlocal begin
        if span := ledger.span():
            places.append(Place(begin, end, *span))
            begin = end

    def entries() -> Iterator[Entry]:
        nonlocal end
        for _, entry, at in read_from(path, note=note):
            yield entry
            end = at
            locate()

    ops = [entry.op for entry in ledger.take_all(entries())]
    locate()
    return ledger, ops, places


def _op(op: dict[str, Any], clocks: Clocks) -> Op:
    return Op(op["op"], op["t_ns"] + (clocks.shift(op["boot"]) or 0), op)


def _named_at(ops: list[Op]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for at, op in enumerate(ops):
        found.setdefault(op.name, []).append(at)
    return found
