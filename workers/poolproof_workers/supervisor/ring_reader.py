"""Reads the flight recorder's file: a ring that another process writes, or wrote until it died."""

from __future__ import annotations

import os
import platform
import time
from typing import TYPE_CHECKING, Final, Self

from poolproof_workers.contract import (
    LAYOUT,
    RECORD,
    RING_EVENT_BITS,
    RING_HEADER,
    RING_HEADER_BYTES,
    RING_MAGIC,
    RING_RECORD,
    RING_RECORD_BYTES,
)
from poolproof_workers.errors import DiskError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_WORDS: Final = RING_RECORD_BYTES // 8
_COMMIT: Final = _WORDS - 1  # index of sequence and event among a record's 64-bit words
_EVENT: Final = (1 << RING_EVENT_BITS) - 1
#: A reserved slot may stay empty for good (an exception came between), or until its thread runs
#: again. After so long it counts as lost.
HOLE_S: Final = 5.0
_LOOK_AHEAD: Final = 16
_BLOCK: Final = 256
#: Where stores of one processor may be seen by another in a different order, records are copied
#: this long after their sequences were seen.
_SETTLE_S: Final = 0.0 if platform.machine() in {"x86_64", "AMD64", "i686"} else 0.001


class RingReader:
    """Reads another process's ring while it is written, or after its death.

    It copies by `pread`, not `mmap`: a page that the reader mapped too would count only half in
    the PSS of the process under measurement.
    """

    def __init__(self, path: Path, hole_s: float = HOLE_S) -> None:
        """Open a ring. Raises DiskError if it is none, OSError if it cannot be opened."""
        self.path = path
        self._hole_s = hole_s
        self.name = path.stem  #: PID-NANOSECONDS
        self._hole = (0, 0)
        self._file = os.open(path, os.O_RDONLY)
        try:
            self.capacity, self.pid, self.opened_ns = self._header()
        except DiskError:
            self.close()
            raise
        self._guard = self.capacity // 16

    def _header(self) -> tuple[int, int, int]:
        header = os.pread(self._file, RING_HEADER_BYTES, 0)
        if len(header) != RING_HEADER_BYTES or not header.startswith(RING_MAGIC):
            raise DiskError(f"{self.path} is not a ring of poolproof: delete it.")
        _, layout, record_bytes, capacity, pid, opened_ns = RING_HEADER.unpack(header)
        if (layout, record_bytes) != (LAYOUT, RING_RECORD_BYTES):
            raise DiskError(f"{self.path} is of layout {layout}, not {LAYOUT}: delete it.")
        whole_bytes = RING_HEADER_BYTES + capacity * RING_RECORD_BYTES
        if capacity <= _LOOK_AHEAD or os.fstat(self._file).st_size != whole_bytes:
            raise DiskError(f"{self.path} is not whole: delete it.")
        return capacity, pid, opened_ns

    def close(self) -> None:
        """Let go of the file. The reader cannot be used any more."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def written(self) -> int:
        """The highest sequence in the ring; 0 if there is none. Looks at all of it."""
        return max(self._commits(1, self.capacity)) >> RING_EVENT_BITS

    def read(self, start: int, limit: int, *, gone: bool = False) -> tuple[int, bytes]:
        """Return (sequence of the first record, `RECORD`s back to back) from `start` on.

        At most `limit` records, whole ones only, without a gap. A first sequence above `start`
        means that the records between are lost: overwritten, or never written. `gone` says that
        the writing process no longer exists. Where a task's id is not a UUID the record is of task
        0 of run 0, which is nobody's.
        """
        first, found = self._read(start, limit, gone=gone)
        return first, b"".join(self._records(found))

    def skip(self, start: int, limit: int, *, gone: bool = False) -> int:
        """Return where to read on after what `read` would return; `start` if that is nothing."""
        first, found = self._read(start, limit, gone=gone)
        return first + len(found) // RING_RECORD_BYTES if found else start

    def _records(self, found: bytes) -> Iterator[bytes]:
        for task, slot, t_ns, detail, commit in RING_RECORD.iter_unpack(found):
            try:
                run, number = int(task[:8], 16), int(task[24:], 16)
            except ValueError:
                run = number = 0
            if run < 0 or number < 0:
                run = number = 0
            event, sequence = commit & _EVENT, commit >> RING_EVENT_BITS
            yield RECORD.pack(number, t_ns, detail, run, self.pid, slot, event, 0, sequence)

    def _read(self, start: int, limit: int, *, gone: bool) -> tuple[int, bytes]:
        # What a dead process was overwriting when it died is all that may be torn in its ring.
        guard = _LOOK_AHEAD if gone else self._guard
        while True:
            count = self._committed(start, min(limit, self.capacity - guard))
            if not count:
                first = self._next_after_hole(start, guard, gone=gone)
                if first == start:
                    return start, b""
                start = first
                continue
            if _SETTLE_S:
                time.sleep(_SETTLE_S)
            records = self._copy(start, count)
            if not self._writer_near(start, guard):
                return start, records
            start = self._oldest_safe(guard)

    def _committed(self, start: int, limit: int) -> int:
        # Sequences first, records after: a record copied before its sequence was seen may be torn.
        count = 0
        while count < limit:
            block = min(_BLOCK if count else _LOOK_AHEAD, limit - count)
            first = start + count
            found = self._sequences(first, block)
            if found != list(range(first, first + block)):
                return count + _prefix(found, first)
            count += block
        return count

    def _next_after_hole(self, start: int, guard: int, *, gone: bool) -> int:
        """Return the next sequence that can be read, or `start` if it is worth waiting for."""
        ahead = self._sequences(start, self.capacity if gone else _LOOK_AHEAD)
        if ahead[0] > start:
            return self._oldest_safe(guard)
        later = [sequence for i, sequence in enumerate(ahead) if sequence == start + i]
        if not later:
            return start
        now_ns = time.monotonic_ns()
        if self._hole[0] != start:
            self._hole = (start, now_ns)
        return later[0] if gone or now_ns - self._hole[1] > self._hole_s * 1e9 else start

    def _writer_near(self, start: int, guard: int) -> bool:
        # The slots just before `start` belong to the writer's next round. If it is among them,
        # another thread of it may already be overwriting what was copied.
        first = start - guard + self.capacity
        behind = self._commits(first, guard)
        sample = {*range(0, guard, max(1, guard // 16)), guard - 1}
        return any(behind[i] >> RING_EVENT_BITS >= first + i for i in sample)

    def _oldest_safe(self, guard: int) -> int:
        return max(1, self.written - self.capacity + 2 * guard)

    def _sequences(self, first: int, count: int) -> list[int]:
        return [commit >> RING_EVENT_BITS for commit in self._commits(first, count)]

    def _commits(self, first: int, count: int) -> list[int]:
        words = memoryview(self._copy(first, count)).cast("Q")
        return words[_COMMIT::_WORDS].tolist()

    def _copy(self, first: int, count: int) -> bytes:
        index = (first - 1) % self.capacity
        until_end = self.capacity - index
        if count <= until_end:
            return self._pread(index, count)
        return self._pread(index, until_end) + self._pread(0, count - until_end)

    def _pread(self, index: int, count: int) -> bytes:
        at = RING_HEADER_BYTES + index * RING_RECORD_BYTES
        return os.pread(self._file, count * RING_RECORD_BYTES, at)


def _prefix(found: list[int], first: int) -> int:
    """Return how many of `found` are the sequences first, first + 1, ... from its beginning."""
    for count, sequence in enumerate(found):
        if sequence != first + count:
            return count
    return len(found)
