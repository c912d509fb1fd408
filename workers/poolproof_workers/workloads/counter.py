"""A counter in a module: what a textbook warns of, counted exactly."""

from __future__ import annotations

import threading


class Tally:
    """A counter that tasks add to without a lock, and how much of it lasted.

    Each process that runs tasks has its own. `growth` is only asked when nobody adds: what is
    missing from it then was overwritten by somebody who had read the counter before.
    """

    def __init__(self) -> None:
        self.value = 0
        self._books = threading.Lock()
        self._inside = 0
        self._said = 0

    def begin(self) -> None:
        """Say that somebody adds."""
        with self._books:
            self._inside += 1

    def add(self, turns: int) -> None:
        """Add one, so many times, with a call between reading and writing."""
        for _ in range(turns):
            self.value = _more(self.value)

    def end(self) -> int:
        """Say that somebody is done; return by how much the counter grew since this was last told.

        0 while others add. All that is returned, added up, is what the counter holds.
        """
        with self._books:
            self._inside -= 1
            if self._inside:
                return 0
            growth = self.value - self._said
            self._said = self.value
            return growth


_tally = Tally()


def count(number: int, turns: int) -> int:  # noqa: ARG001  every task has its number
    """Add to the process's counter `turns` times; return what became of it, see `Tally.end`."""
    _tally.begin()
    try:
        _tally.add(turns)
    finally:
        growth = _tally.end()
    return growth


def _more(value: int) -> int:
    return value + 1
