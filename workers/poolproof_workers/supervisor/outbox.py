"""The ops of a supervisor on their way into the history, kept until they are saved."""

from __future__ import annotations

import os
import time
from collections import deque
from itertools import islice
from typing import Any

from poolproof_workers.contract import Entry
from poolproof_workers.supervisor.clock import boot_id


class Outbox:
    """A source of ops. It begins anew with each run, so that its first op always has sequence 1."""

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._boot = boot_id()
        self._waiting: deque[Entry] = deque()
        self._last = 0
        self.sent = 0
        self.source = self._name()

    def begin_run(self) -> None:
        """Drop what belongs to an earlier run and become a new source."""
        self._waiting.clear()
        self._last = self.sent = 0
        self.source = self._name()

    def add(self, op: str, *, t_ns: int | None = None, **fields: Any) -> None:
        """Write an op down; it happened now if `t_ns` is not given."""
        self._last += 1
        when = time.monotonic_ns() if t_ns is None else t_ns
        body = {"op": op, "t_ns": when, "boot": self._boot, "worker": self._worker} | fields
        self._waiting.append(Entry.of_op(self._worker, self.source, self._last, body))

    def unsent(self) -> list[Entry]:
        """Return what is not in the stream yet."""
        count = self._last - self.sent
        return [*islice(self._waiting, len(self._waiting) - count, None)] if count else []

    def mark_sent(self, entries: list[Entry]) -> None:
        """Remember that these are in the stream."""
        if entries:
            self.sent = entries[-1].sequence

    def mark_saved(self, saved: int) -> None:
        """Forget what the collector has on disk."""
        while self._waiting and self._waiting[0].sequence <= saved:
            self._waiting.popleft()

    def rewind(self, saved: int) -> None:
        """Begin to send again what is not saved."""
        self.mark_saved(saved)
        self.sent = max(saved, self._last - len(self._waiting))

    def _name(self) -> str:
        return f"{self._worker}#{os.getpid()}-{time.monotonic_ns()}"
