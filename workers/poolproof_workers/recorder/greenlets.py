"""Places in a pool of greenlets: what stands in a record where other pools have a thread's id."""

from __future__ import annotations

import heapq
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class GreenletSlots:
    """Gives each greenlet that runs a task the lowest number from 1 that is free, until its end.

    A pool makes a new greenlet for every task, so the greenlet itself says nothing of how many
    run at the same time. Nothing here lets another greenlet run.
    """

    __slots__ = ("_current", "_depths", "_free", "_most", "_taken")

    def __init__(self, current: Callable[[], Any] | None = None) -> None:
        """`current` returns the greenlet that runs. Raises ImportError without greenlets."""
        self._current = current or import_module("greenlet").getcurrent
        self._taken: dict[Any, int] = {}
        self._depths: dict[Any, int] = {}  # of greenlets in which a task runs another one eagerly
        self._free: list[int] = []
        self._most = 0

    def enter(self) -> None:
        """The current greenlet begins a task."""
        greenlet = self._current()
        if greenlet in self._taken:
            self._depths[greenlet] = self._depths.get(greenlet, 0) + 1
        elif self._free:
            self._taken[greenlet] = heapq.heappop(self._free)
        else:
            self._most += 1
            self._taken[greenlet] = self._most

    def leave(self) -> None:
        """The current greenlet has ended what it began."""
        greenlet = self._current()
        depth = self._depths.pop(greenlet, 0)
        if depth > 1:
            self._depths[greenlet] = depth - 1
        elif depth == 0 and (place := self._taken.pop(greenlet, 0)):
            heapq.heappush(self._free, place)

    def here(self) -> int:
        """Return the current greenlet's place; 0 if it runs no task."""
        return self._taken.get(self._current(), 0)
