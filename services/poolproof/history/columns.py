"""The columns of the ledger: one row a task, and one more for the few that need it."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final

import numpy as np

from poolproof.history.participants import NEVER
from poolproof_workers.contract import Event

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Counted events: all but FAULT. What nearly every task has is kept for every task.
COMMON: Final = (Event.RECEIVED, Event.STARTED, Event.SUCCEEDED)
RARE: Final = (Event.FAILED, Event.RETRIED, Event.ABANDONED, Event.REVOKED, Event.REPORTED)

#: Column -> (type, what an untouched row holds). 69 bytes a task.
_KINDS: Final[dict[str, tuple[type, int]]] = {
    "first_received": (np.int64, NEVER),
    "first_start": (np.int64, NEVER),
    "last_end": (np.int64, 0),  # of the last success, failure or abandonment
    "result": (np.int64, 0),  # detail of the last success
    "last_source": (np.int32, -1),  # of the last start
    "last_tid": (np.uint32, 0),
    "last_receiver": (np.int32, -1),
    "block": (np.int32, -1),  # -1: never enqueued
    "side": (np.int16, -1),
    "poison": (np.uint8, 0),
    "settled": (np.uint8, 0),
    "mark": (np.uint8, 0),  # of `slots`
    "more": (np.uint32, 0),  # its row in `More`; 0 without one
    **{event.name: (np.uint32, 0) for event in COMMON},
}
#: Columns that only few tasks need: the last times of several, and the rare counts.
_FEW: Final[dict[str, type]] = {
    "again_received": np.int64,
    "again_start": np.int64,
    **{event.name: np.uint32 for event in RARE},
}
#: Column that is computed -> the two that it comes from.
_LAST: Final = {
    "last_received": ("first_received", "again_received"),
    "last_start": ("first_start", "again_start"),
}
#: Rows that a pass over the whole ledger has in hand at once: they fit a processor's cache.
_STRETCH: Final = 1 << 16


class Columns:
    """Arrays by task number, which grow."""

    def __init__(self) -> None:
        self.size = 0
        self.sent = EnqueueTimes()
        self.more = More()
        self._capacity = 0
        self._arrays: dict[str, np.ndarray] = {
            name: np.empty(0, kind) for name, (kind, _) in _KINDS.items()
        }

    @property
    def nbytes(self) -> int:
        """Memory that the arrays may come to take."""
        return self.more.nbytes + sum(array.nbytes for array in self._arrays.values())

    def __getitem__(self, name: str) -> np.ndarray:
        """Return a column of `size` values that is kept for every task, to be written to."""
        return self._arrays[name][: self.size]

    def of(self, name: str, rows: slice | np.ndarray) -> np.ndarray:
        """Return some rows of any column."""
        if name in _LAST:
            first, again = (self.of(part, rows) for part in _LAST[name])
            return np.where(first == NEVER, 0, np.maximum(first, again))
        if name in {"enqueued_ns", "intended_ns"}:
            return self.sent.times(name, rows, self.size)
        if name in _FEW:
            return np.asarray(self.more[name][self["more"][rows]])
        return np.asarray(self[name][rows])

    def rows_of(self, number: np.ndarray) -> np.ndarray:
        """Return the rows of some tasks in `more`, made for those that have none."""
        column = self["more"]
        new = np.unique(number[column[number] == 0])
        if new.size:
            column[new] = self.more.add(len(new))
        return np.asarray(column[number])

    def reserve(self, rows: int) -> None:
        """Make room for `rows` tasks, so that taking them need not grow the arrays."""
        if rows <= self._capacity:
            return
        self._capacity = max(rows, 4 * self._capacity)
        for name, (kind, untouched) in _KINDS.items():
            make = np.empty if untouched else np.zeros
            grown: np.ndarray = make(self._capacity, kind)
            grown[: self.size] = self[name]
            self._arrays[name] = grown

    def extend(self, rows: int) -> None:
        """Have at least `rows` rows."""
        self.reserve(rows)
        for name, (_, untouched) in _KINDS.items():
            if untouched:
                self._arrays[name][self.size : rows] = untouched
        self.size = max(self.size, rows)

    def stretches(self) -> Iterator[slice]:
        """Yield all rows, a stretch at a time."""
        for first in range(0, self.size, _STRETCH):
            yield slice(first, min(first + _STRETCH, self.size))


class More:
    """What only few tasks need, a row each. Row 0 is all others': it holds nothing."""

    def __init__(self) -> None:
        self._size = 1
        self._arrays: dict[str, np.ndarray] = {n: np.zeros(1, kind) for n, kind in _FEW.items()}

    @property
    def nbytes(self) -> int:
        """Memory of the arrays."""
        return sum(array.nbytes for array in self._arrays.values())

    def __getitem__(self, name: str) -> np.ndarray:
        """Return a column, to be written to by row."""
        return self._arrays[name]

    def add(self, count: int) -> np.ndarray:
        """Make rows, and return them."""
        first, self._size = self._size, self._size + count
        for name, array in self._arrays.items():
            if len(array) < self._size:
                grown = np.zeros(2 * self._size, array.dtype)
                grown[:first] = array[:first]
                self._arrays[name] = grown
        return np.arange(first, self._size)


class EnqueueTimes:
    """When tasks were enqueued, and when they were meant to be: a few numbers for each stretch."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, int, int, int, int]] = []
        self._is_sorted = True

    def add(self, first: int, count: int, t_ns: int, begin_ns: int, interval_ns: int) -> None:
        """Tasks first, first+1, ... were enqueued at `t_ns`; the first was due at `begin_ns`."""
        self._rows.append((first, first + count, t_ns, begin_ns, interval_ns))
        self._is_sorted = False

    def times(self, name: str, rows: slice | np.ndarray, size: int) -> np.ndarray:
        """Return the times of some tasks; 0 for one that never was enqueued."""
        if isinstance(rows, slice):
            first, end, _ = rows.indices(size)
            return self._stretch(name, first, end)
        first, last = (int(edge(rows)) for edge in (np.min, np.max)) if len(rows) else (0, -1)
        return np.asarray(self._stretch(name, first, last + 1)[rows - first])

    def _stretch(self, name: str, first: int, end: int) -> np.ndarray:
        found = np.zeros(end - first, np.int64)
        stretches = self._sorted()
        at = max(0, bisect_right(stretches, (first, NEVER)) - 1)
        while at < len(stretches) and stretches[at][0] < end:
            begin, until, t_ns, begin_ns, interval_ns = stretches[at]
            low, high = max(begin, first), min(until, end)
            if low < high and name == "enqueued_ns":
                found[low - first : high - first] = t_ns
            elif low < high:
                turns = np.arange(low - begin, high - begin)
                found[low - first : high - first] = begin_ns + turns * interval_ns
            at += 1
        return found

    def _sorted(self) -> list[tuple[int, int, int, int, int]]:
        if not self._is_sorted:
            self._rows.sort()
            self._is_sorted = True
        return self._rows
