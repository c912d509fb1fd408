"""All that a run's folder says: its ops in order, its clocks on one, and its ledger."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from poolproof.collect.history import FILE_NAME, Sequences, read
from poolproof.collect.ledger import Ledger
from poolproof_workers.errors import DiskError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from poolproof_workers.contract import Entry


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

    def named(self, *names: str) -> list[Op]:
        """Return the ops of these names, by time."""
        return [op for op in self.ops if op.name in names]

    def last(self, name: str) -> Op | None:
        """Return the last op of a name."""
        return next((op for op in reversed(self.ops) if op.name == name), None)

    def entries(self) -> Iterator[Entry]:
        """Read the history again: the new part of each entry of records."""
        sequences = Sequences()
        for _, entry in read(self.folder / FILE_NAME):
            if entry.kind == "records":
                fresh, _ = sequences.fresh(entry)
                if fresh is not None:
                    yield fresh


def gather(folder: Path) -> Evidence:
    """Read the run in `folder`. Raises DiskError if there is none."""
    path = folder / FILE_NAME
    if not path.is_file():
        raise DiskError(f"{folder} is not a run: it has no {FILE_NAME}.")
    clocks = _clocks(path)
    shifts = {worker: clocks.shift(boot) or 0 for worker, boot in clocks.boots.items()}
    ledger = Ledger(shifts)
    ops = []
    for _, entry in read(path):
        fresh = ledger.take(entry)
        if fresh is not None and fresh.kind == "op":
            op = fresh.op
            ops.append(Op(op["op"], op["t_ns"] + shifts.get(fresh.worker, 0), op))
    return Evidence(folder, sorted(ops, key=lambda op: op.t_ns), clocks, ledger, shifts)


def _clocks(path: Path) -> Clocks:
    reference = ""
    offsets: dict[str, tuple[int, int]] = {}
    boots: dict[str, str] = {}
    for _, entry in read(path):
        if entry.kind != "op":
            continue
        op = entry.op
        boot = boots[entry.worker] = op["boot"]
        if op["op"] == "run-begin":
            reference = boot
        elif op["op"] == "clock":
            found = (op["error_ns"], op["offset_ns"])
            offsets[boot] = min(found, offsets.get(boot, found))
    return Clocks(reference, offsets, boots)
