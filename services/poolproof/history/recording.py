"""One run being collected: its file, its ledger, and the collector's own ops in it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from poolproof.history.file import FILE_NAME, FORMAT, HistoryWriter
from poolproof.history.ledger import Ledger
from poolproof_workers.contract import Entry
from poolproof_workers.errors import DiskError
from poolproof_workers.supervisor.clock import boot_id

if TYPE_CHECKING:
    from pathlib import Path


class Recording:
    """Takes the entries of one run. What `save` has returned is on disk."""

    def __init__(self, folder: Path) -> None:
        """Open the history in `folder`, made if it is not there, and go on where it ends.

        Raises DiskError.
        """
        self.folder = folder
        self.run = folder.name
        self.ledger = Ledger()
        self.last_id = "0-0"
        self.ending: str | None = None  #: the reason that `run-end` gave
        self.closed = False
        self.rows_of_block: dict[int, tuple[int, int]] = {}  #: block -> first number, last + 1
        #: (block, tasks enqueued of it) -> what `progress` found that they took
        self.spans_ns: dict[tuple[int, int], int] = {}
        self.looks: dict[str, str] = {}  #: side whose broker keys are to be read -> reason
        self._pending: list[tuple[str, Entry]] = []
        self._changed: dict[str, int] = {}
        self._faults = 0
        self._boot = boot_id()
        self._source = f"collector#{os.getpid()}-{time.monotonic_ns()}"
        self._sequence = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DiskError(f"Cannot make {folder}: {error.strerror}.") from error
        self._writer = HistoryWriter(folder / FILE_NAME)
        self._resume()

    def _resume(self) -> None:
        for identifier, entry in self._writer.resume():
            self.last_id = identifier
            if self.ledger.take(entry):
                self._note(entry)
        if not self.ledger.sequences:
            self.add("format", version=FORMAT)

    def take(self, identifier: str, entry: Entry) -> None:
        """Take an entry of the stream; note one that the ledger does not accept as foreign."""
        self.last_id = identifier
        if not self.ledger.accepts(entry):
            self.add("foreign", entry=identifier)
            return
        if entry.kind == "op" and entry.sequence > 1 and entry.source not in self.ledger.sequences:
            # A source of ops begins anew with each run: this one was shipped for the run before,
            # just as this run began.
            return
        fresh = self.ledger.take(entry)
        if fresh is not None:
            self._pending.append((identifier, fresh))
            self._note(fresh)

    def add(self, op: str, **fields: Any) -> None:
        """Write an op of the collector's own."""
        self._sequence += 1
        body = {"op": op, "t_ns": time.monotonic_ns(), "boot": self._boot, **fields}
        self.take(self.last_id, Entry.of_op("collector", self._source, self._sequence, body))

    def save(self) -> dict[str, int]:
        """Write to disk what was taken; return source -> sequence of what is new there."""
        if self._pending:
            self._writer.append(self._pending)
            self._pending = []
        saved, self._changed = self._changed, {}
        return saved

    def close(self) -> None:
        """Let go of the file."""
        self._writer.close()

    def _note(self, entry: Entry) -> None:
        self._changed[entry.source] = self.ledger.sequences[entry.source]
        if entry.kind == "op":
            self._note_op(entry.worker, entry.op)
        if self.ledger.faults > self._faults:
            self._faults = self.ledger.faults
            self._look(entry.worker, "fault")

    def _note_op(self, worker: str, op: dict[str, Any]) -> None:
        match op["op"]:
            case "enqueued":
                self._note_rows(op["block"], op["first"], op["first"] + op["count"])
            case "run-end":
                self.ending = op["reason"]
            case "closed":
                self.closed = True
            case "worker-exit":
                self._look(worker, "worker-exit")

    def _note_rows(self, block: int, first: int, end: int) -> None:
        known = self.rows_of_block.get(block, (first, end))
        self.rows_of_block[block] = (min(known[0], first), max(known[1], end))

    def _look(self, worker: str, reason: str) -> None:
        known = self.ledger.roster.workers.get(worker)
        if known and known.side:
            self.looks[known.side] = reason
