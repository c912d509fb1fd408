"""The flight recorder's file: a ring of records that outlives the process which writes it."""

from __future__ import annotations

import itertools
import mmap
import os
import threading
import time
from typing import TYPE_CHECKING, Final

from poolproof_workers.contract import (
    LAYOUT,
    RING_CAPACITY,
    RING_EVENT_BITS,
    RING_HEADER,
    RING_HEADER_BYTES,
    RING_MAGIC,
    RING_RECORD,
    RING_RECORD_BYTES,
    RING_SUFFIX,
    task_id,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_ONE: Final = 1 << RING_EVENT_BITS
#: sequence << event's bits, shifted right by this: sequence * bytes of a record.
_TO_BYTES: Final = RING_EVENT_BITS - 6
assert RING_HEADER_BYTES == RING_RECORD_BYTES == 1 << 6  # noqa: S101


class Ring:
    """Writes one process's records, from any of its threads. One per process.

    A write is a copy into memory that the kernel owns (`mmap` of a file, best in a tmpfs), so it
    survives any death of the process. It never waits: a reader that falls behind by more than the
    capacity loses the oldest records, and sees that it did.
    """

    def __init__(
        self,
        path: Path,
        memory: mmap.mmap,
        capacity: int,
        slot: Callable[[], int] | None = None,
    ) -> None:
        self.path = path
        #: record(task id, event, detail)
        self.record = _recorder(memory, capacity, slot)

    def write(self, run: int, number: int, event: int, detail: int) -> None:
        """Record what happened to task `number` of the run with the tag `run`."""
        self.record(task_id(run, number), event, detail)

    @classmethod
    def create(
        cls,
        folder: Path,
        capacity: int = RING_CAPACITY,
        slot: Callable[[], int] | None = None,
    ) -> Ring:
        """Make a new ring of this process, named PID-NANOSECONDS, in `folder`.

        `slot` returns what a record has as its slot; without it that is the native thread id.
        Raises OSError, also if there is no room: the space is taken now, since a write into a
        mapped page that cannot be had would be SIGBUS.
        """
        pid, opened_ns = os.getpid(), time.monotonic_ns()
        path = folder / f"{pid}-{opened_ns}{RING_SUFFIX}"
        header = RING_HEADER.pack(RING_MAGIC, LAYOUT, RING_RECORD_BYTES, capacity, pid, opened_ns)
        draft = path.with_suffix(".part")
        try:
            memory = _allocate(draft, RING_HEADER_BYTES + capacity * RING_RECORD_BYTES)
            memory[:RING_HEADER_BYTES] = header
            # Readers look for the suffix: they never see a ring without its header.
            draft.rename(path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        return cls(path, memory, capacity, slot)


def _allocate(path: Path, size: int) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        _reserve(descriptor, size)
        return mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)


def _reserve(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    left = memoryview(bytes(size))  # macOS
    while left:
        left = left[os.write(descriptor, left) :]


def _recorder(
    memory: mmap.mmap, capacity: int, slot_of: Callable[[], int] | None
) -> Callable[[str, int, int], None]:
    """Return `record` of a ring.

    It is the measured process's hot path, and in a worker every cache is cold: what counts is how
    many lines of memory it touches. So it is one flat function, and what it needs lies in one tuple
    of defaults, not in a cell each.
    """

    def record(  # noqa: PLR0913, PLR0917
        task: str,
        event: int,
        detail: int,
        memory: mmap.mmap = memory,
        pack_into: Callable[..., None] = RING_RECORD.pack_into,
        # One C call, so under the GIL no two threads ever get the same place.
        reserve: Callable[[], int] = itertools.count(_ONE, _ONE).__next__,  # noqa: B008
        now_ns: Callable[[], int] = time.monotonic_ns,
        step: int = RING_RECORD_BYTES,
        to_bytes: int = _TO_BYTES,
        size: int = capacity * RING_RECORD_BYTES,
        # Python keeps the one, the kernel must be asked for the other.
        thread: Callable[[], int] = threading.get_ident,
        opener: int = threading.get_ident() if slot_of is None else -1,
        native_id: Callable[[], int] = slot_of or threading.get_native_id,
        opener_native_id: int = threading.get_native_id(),
    ) -> None:
        word = reserve()
        pack_into(
            memory,
            # (sequence - 1) % capacity records after the header, which is as long as one.
            step + ((word >> to_bytes) - step) % size,
            task.encode(),
            opener_native_id if thread() == opener else native_id(),
            now_ns(),
            detail,
            word + event,
        )

    return record
