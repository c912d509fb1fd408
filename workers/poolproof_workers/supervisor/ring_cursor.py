"""A ring that is being shipped: how far it was read, sent and saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from poolproof_workers.contract import (
    RECORD,
    RING_HEADER_BYTES,
    RING_RECORD_BYTES,
    Entry,
    Event,
)
from poolproof_workers.supervisor.ring_reader import RingReader

if TYPE_CHECKING:
    from pathlib import Path

#: Records an entry of the stream holds at most: 192 KiB.
BATCH: Final = 4_096
_PAGE_BYTES: Final = 4_096


class RingCursor:
    """One ring on its way into the history.

    `base` is the last sequence before the run, `sent` the last in the stream as far as we know,
    `saved` the last that the collector has on disk, `seen` the last that was read at all.
    """

    def __init__(self, path: Path, worker: str) -> None:
        self._reader = RingReader(path)
        self._path = path
        self._worker = worker
        self.name = f"{worker}/{self._reader.name}"
        self.pid = self._reader.pid
        self.opened_ns = self._reader.opened_ns
        self.gone = False  #: its process has ended
        self.base = self.sent = self.saved = self.seen = 0
        self._floor = 0
        self._final: int | None = None

    def batches(self) -> list[Entry]:
        """Read what was not sent yet. Call `mark_sent` when it is in the stream."""
        entries = []
        start = self.sent + 1
        while entry := self._read(start):
            entries.append(entry)
            start = entry.sequence + entry.count
            if entry.count < BATCH // 2:  # all that there is: the writer goes on meanwhile
                break
        self.seen = max(self.seen, start - 1)
        return entries

    def look(self) -> None:
        """Only see how far the ring is written."""
        start = self.seen + 1
        while (after := self._reader.skip(start, BATCH, gone=self.gone)) > start:
            start = after
        self.seen = start - 1

    def mark_sent(self, entries: list[Entry]) -> None:
        """Remember that these are in the stream."""
        if entries:
            self.sent = entries[-1].sequence + entries[-1].count - 1

    def mark_old(self, seen: int) -> None:
        """Remember that all up to `seen` was written before any run that begins from now on."""
        self._floor = max(self._floor, seen)

    def begin_run(self) -> None:
        """Leave all that is older than the run behind."""
        self.base = self.sent = self.saved = self._floor

    def resume_run(self, base: int) -> None:
        """Go on in a run in which an earlier supervisor shipped the ring."""
        self.base = base
        self.sent = max(base, self.saved)

    def rewind(self, saved: int) -> None:
        """Begin to send again what the collector has not saved."""
        self.saved = max(self.saved, saved)
        self.sent = max(self.base, saved)

    def finished(self) -> bool:
        """Tell whether its process is gone and all that it wrote was read and saved."""
        if not self.gone:
            return False
        if self._final is None:
            self.look()
            self._final = self.seen
        return max(self.saved, self.base) >= self._final

    def runs_task(self) -> bool:
        """Tell whether the last that the process wrote is the start of a task."""
        self.look()
        _, records = self._reader.read(self.seen, 1)
        if not self.seen or not records:
            return False
        return RECORD.unpack(records)[6] in {Event.STARTED, Event.FAULT}

    @property
    def touched_bytes(self) -> int:
        """Memory of the ring that its process has touched: whole pages."""
        used = RING_HEADER_BYTES + min(self.seen, self._reader.capacity) * RING_RECORD_BYTES
        return -(-used // _PAGE_BYTES) * _PAGE_BYTES

    def skip_lost(self) -> None:
        """Set the base so that what was overwritten before we came is not called a gap."""
        first = self._read(1)
        self.mark_old(first.sequence - 1 if first else 0)

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()

    def delete(self) -> None:
        """Let go of the file and remove it."""
        self.close()
        self._path.unlink(missing_ok=True)

    def _read(self, start: int) -> Entry | None:
        first, records = self._reader.read(start, BATCH, gone=self.gone)
        return Entry("records", self._worker, self.name, first, records) if records else None
