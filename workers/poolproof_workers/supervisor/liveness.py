"""Tells at once when a process that is not our child ends."""

from __future__ import annotations

import os
import selectors
from functools import partial

import psutil


class Liveness:
    """Watches processes by pid. One that is only a zombie has ended.

    With pidfds (Linux) the selector wakes up at the very end of a process, and a pid that the
    kernel gives away again is never mistaken; elsewhere `ended` looks.
    """

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._watched: dict[int, int | None] = {}
        self._ended: set[int] = set()

    def watch(self, pid: int) -> None:
        """Start to watch `pid`; one that is gone already counts as ended."""
        if pid in self._watched:
            return
        try:
            fd = _pidfd(pid)
        except ProcessLookupError:
            self._ended.add(pid)
            return
        self._watched[pid] = fd
        if fd is not None:
            self._selector.register(fd, selectors.EVENT_READ, partial(self._end, pid))

    def ended(self) -> set[int]:
        """Return the watched processes that have ended since the last call, and forget them."""
        for pid in [pid for pid, fd in self._watched.items() if fd is None and not _exists(pid)]:
            self._end(pid)
        ended, self._ended = self._ended, set()
        return ended

    def close(self) -> None:
        """Stop watching."""
        for pid in list(self._watched):
            self._end(pid)

    def _end(self, pid: int) -> None:
        fd = self._watched.pop(pid)
        self._ended.add(pid)
        if fd is not None:
            self._selector.unregister(fd)
            os.close(fd)


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        raise
    except (AttributeError, OSError):
        # Not Linux, or a sandbox that does not allow it.
        return None


def _exists(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
