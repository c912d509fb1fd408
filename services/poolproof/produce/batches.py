"""Batches: a load on its way into a queue, each transaction with the op that says so."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final

from poolproof.produce import wire
from poolproof_workers.contract import Entry
from poolproof_workers.supervisor.clock import boot_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.connection import AbstractConnection

    from poolproof.produce.load import Load
    from poolproof_workers.contract import Keys

#: Messages in one transaction: about half a megabyte, or fewer if they are large.
BATCH: Final = 500
_BATCH_BYTES: Final = 8_000_000
#: Shortest pause of an open loop: what falls due in it is sent together.
TICK_S: Final = 0.002


class Ops:
    """A source of ops; `owed` is one that has a number and is not known to be in the history."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._source = f"{name}#{os.getpid()}-{time.monotonic_ns()}"
        self._boot = boot_id()
        self._sequence = 0
        self.owed: Entry | None = None

    def entry(self, op: str, fields: dict[str, Any]) -> Entry:
        """Make the entry of its next op, which is owed until somebody says otherwise."""
        self.owed = entry = self._entry(self._sequence + 1, op, fields)
        self._sequence = entry.sequence
        return entry

    def void(self, owed: Entry) -> Entry:
        """Make what stands in the place of an op that was never sent: without it, it were lost."""
        return self._entry(owed.sequence, "void", {})

    def _entry(self, sequence: int, op: str, fields: dict[str, Any]) -> Entry:
        content = {"op": op, "t_ns": time.monotonic_ns(), "boot": self._boot, **fields}
        return Entry.of_op(self._name, self._source, sequence, content)


class Batches:
    """Sends a load over one connection, a transaction a batch; `sent` tells how far it came."""

    def __init__(
        self,
        keys: Keys,
        ops: Ops | None,
        load: Load,
        sent: int = 0,
    ) -> None:
        self.sent = sent
        self._unsure: tuple[int, Entry] | None = None  # may be in Redis: up to where, and its op
        self._history = keys.history
        self._queue = keys.queue(load.side)
        self._ops = ops
        self._load = load
        self._batch = max(1, min(BATCH, _BATCH_BYTES // load.message_bytes))

    def send_all(
        self,
        connection: AbstractConnection,
        has: Callable[[Entry], bool],
        began_ns: int,
        rate_per_s: float | None,
        stop: int | None = None,
    ) -> int:
        """Send everything; return by how much the latest task of an open loop was late.

        With `stop`, only up to that offset, and at once. If the connection is lost, call it again
        with another one; `has` then tells what is in the history.
        """
        self._connection = connection
        if self._unsure and has(self._unsure[1]):
            self._is_sent(self._unsure[0])
        return self._flood(stop) if rate_per_s is None else self._pace(began_ns, rate_per_s)

    def _flood(self, stop: int | None) -> int:
        count = len(self._load.numbers) if stop is None else stop
        while self.sent < count:
            self._send(min(self.sent + self._batch, count), time.monotonic_ns(), 0)
        return 0

    def _pace(self, began_ns: int, rate_per_s: float) -> int:
        count, interval_ns, late_ns = len(self._load.numbers), 1e9 / rate_per_s, 0
        while self.sent < count:
            next_ns = began_ns + round(self.sent * interval_ns)
            if (pause_ns := next_ns - time.monotonic_ns()) > 0:
                time.sleep(max(pause_ns / 1e9, TICK_S))
            now_ns = time.monotonic_ns()
            late_ns = max(late_ns, now_ns - next_ns)
            due = int((now_ns - began_ns) / interval_ns) + 1
            self._send(min(due, self.sent + self._batch, count), next_ns, round(interval_ns))
        return late_ns

    def _send(self, stop: int, begin_ns: int, interval_ns: int) -> None:
        load, start = self._load, self.sent
        if self._ops is None:
            push = wire.lpush(self._queue, load.words(start, stop), stop - start)
            wire.transact(self._connection, push)
        else:
            if self._unsure is not None:
                stop = self._unsure[0]
            # Before the op is numbered: that takes a while, in which Ctrl-C may be pressed.
            push = wire.lpush(self._queue, load.words(start, stop), stop - start)
            if self._unsure is None:
                fields = load.fields(start, stop, begin_ns, interval_ns)
                self._unsure = stop, self._ops.entry("enqueued", fields)
            op = wire.xadd(self._history, self._unsure[1].fields())
            wire.transact(self._connection, push, op)
        self._is_sent(stop)

    def _is_sent(self, stop: int) -> None:
        self.sent, self._unsure = stop, None
        if self._ops is not None:
            self._ops.owed = None
