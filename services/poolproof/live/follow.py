"""Reads a history while a collector still writes it, or again at the speed of a clock."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from poolproof.history.clocks import Clocks
from poolproof.history.file import FILE_NAME, Damage, Sequences, records, tail
from poolproof_workers.supervisor.clock import boot_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from poolproof.history.file import Note
    from poolproof_workers.contract import Entry

#: Records and ops taken at once, in some 60 ms: what a page that starts late has to catch up with
#: does not keep it from drawing.
_AT_ONCE: Final = 20_000


class Reel(Protocol):
    """Where the entries of a run come from, and what time it is there."""

    damage: list[Damage]  #: of its history, as far as it is read

    @property
    def now_ns(self) -> int:
        """The present, on the monotonic clock of the run's host."""

    def take(self) -> list[Entry]:
        """Return the entries that have come since, oldest first, none twice."""


class OneClock:
    """Puts entries on the clock of one boot, as well as those before them tell how."""

    def __init__(self, boot: str = "") -> None:
        """`boot`: whose clock; empty: the producer's."""
        self._clocks = Clocks()
        self._boot = boot

    def put(self, entry: Entry) -> Entry:
        """Return an entry with its times on that clock."""
        if entry.kind == "op":
            return self._put_op(entry, entry.op)
        boot = self._clocks.boots.get(entry.worker, "")
        shift = self._clocks.shift(boot, self._boot)
        if not shift:
            return entry
        moved = records(entry).copy()
        moved["t_ns"] += shift
        return replace(entry, data=moved.tobytes())

    def _put_op(self, entry: Entry, op: dict[str, Any]) -> Entry:
        self._clocks.take(entry.worker, op)
        onto = self._boot or self._clocks.reference
        shift = self._clocks.shift(op["boot"], onto)
        # Whoever reads takes the clock of whoever began the run for the one that all is on.
        if op["boot"] == onto or (shift is None and op["op"] != "run-begin"):
            return entry
        moved = op | {"t_ns": op["t_ns"] + (shift or 0), "boot": onto}
        if op["op"] == "clock":
            moved["offset_ns"] -= shift
        return replace(entry, data=json.dumps(moved).encode())


class Following:
    """A run in progress: the file grows, and all that is in it is put on our clock."""

    def __init__(self, folder: Path, boot: str | None = None) -> None:
        """`boot`: whose clock `now_ns` is, if it is not ours."""
        self.damage: list[Damage] = []
        self._clock = OneClock(boot_id() if boot is None else boot)
        self._frames = tail(folder / FILE_NAME, self.damage.append)
        self._sequences = Sequences()

    @property
    def now_ns(self) -> int:
        """The present."""
        return time.monotonic_ns()

    def take(self) -> list[Entry]:
        """Return what the collector has written since."""
        found, taken = [], 0
        while taken < _AT_ONCE and (entry := next(self._frames)) is not None:
            taken += entry.count
            fresh, _gap = self._sequences.fresh(entry)
            if fresh is not None:
                found.append(self._clock.put(fresh))
        return found


class Replay:
    """A saved run, played again: its clock begins at its first entry and runs at `speed`."""

    def __init__(self, folder: Path, speed: float = 1.0) -> None:
        self.damage: list[Damage] = []
        self._entries = _in_time(folder, self.damage.append)
        self._next: tuple[int, Entry] | None = next(self._entries, None)
        self._speed = speed
        self._from_ns = self._next[0] if self._next else 0
        self._began_ns = time.monotonic_ns()

    @property
    def speed(self) -> float:
        """Seconds of the run a second."""
        return self._speed

    @speed.setter
    def speed(self, speed: float) -> None:
        self._from_ns, self._began_ns = self.now_ns, time.monotonic_ns()
        self._speed = speed

    @property
    def over(self) -> bool:
        """Whether all of it has been played."""
        return self._next is None

    @property
    def now_ns(self) -> int:
        """The present of the run."""
        return self._from_ns + round((time.monotonic_ns() - self._began_ns) * self._speed)

    def take(self) -> list[Entry]:
        """Return what happened since in the run."""
        found: list[Entry] = []
        now_ns, taken = self.now_ns, 0
        while self._next and self._next[0] <= now_ns and taken < _AT_ONCE:
            taken += self._next[1].count
            found.append(self._next[1])
            self._next = next(self._entries, None)
        return found


def _in_time(folder: Path, note: Note) -> Iterator[tuple[int, Entry]]:
    """Yield (when it came, entry): never earlier than the one before, as they stand in the file."""
    latest, sequences, clock = 0, Sequences(), OneClock()
    for entry in tail(folder / FILE_NAME, note):
        if entry is None:
            return
        fresh, _gap = sequences.fresh(entry)
        if fresh is not None:
            moved = clock.put(fresh)
            latest = max(latest, _time_ns(moved))
            if latest:
                yield latest, moved


def _time_ns(entry: Entry) -> int:
    if entry.kind == "op":
        return int(entry.op["t_ns"]) if entry.op["op"] != "format" else 0
    return int(records(entry)["t_ns"].max())
