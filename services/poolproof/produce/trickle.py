"""A block that is sent little by little."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from poolproof.produce.handle import BlockHandle

if TYPE_CHECKING:
    from collections.abc import Callable

    from poolproof.produce.load import Load


class Trickle:
    """A block in progress: its tasks are sent when somebody says so."""

    def __init__(self, load: Load, send: Callable[[Load, int, int], None]) -> None:
        self._load = load
        self._send = send
        self._began_ns = time.monotonic_ns()
        self._count = 0

    @property
    def left(self) -> int:
        """Tasks that it can still send."""
        return len(self._load.numbers) - self._count

    @property
    def sent(self) -> BlockHandle:
        """What it has sent so far."""
        first, now_ns = self._load.numbers.start, time.monotonic_ns()
        load = self._load
        return BlockHandle(load.block, load.side, first, self._count, self._began_ns, now_ns, 0)

    def send(self, count: int) -> None:
        """Send so many more tasks now, or all that are left."""
        stop = self._count + min(count, self.left)
        self._send(self._load, self._count, stop)
        self._count = stop
