"""What a task leaves behind for those after and beside it, and how one of them sees it.

A fault here is a pair: `leave_*` does it, `see_*` is what an innocent task looks with. Both run in
the same process or they do not, and that is all that there is to see.
"""

from __future__ import annotations

import decimal
import locale
import os
import resource
import signal
import socket
import threading
import time
from contextlib import suppress
from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType


class Sight(IntEnum):
    """What an innocent task met; the lowest two bits of what `see_*` returns."""

    UNTOUCHED = 0
    SAW = 1  #: state that another task made, which did its own work no harm
    SUFFERED = 2  #: its own work went wrong


SIGHT_BITS: Final = 2

#: Fault -> additions of one look at its counter: some 10 ms, longer than a thread keeps the GIL.
#: Threads that fight for a lock are more than ten times as slow.
TURNS: Final = {"counter": 100_000, "counter-call": 100_000, "counter-lock": 10_000}
_SPARE_FDS: Final = 64
_PRECISION: Final = 3
_LOCK_WAIT_S: Final = 0.1

# The textbook's module: in a pool of processes each has its own.
_results: Final[list[str]] = []
_settings: Final = {"rate": 2}
_lock: Final = threading.Lock()
_held_fds: Final[list[int]] = []


def join(first: int, second: int) -> int:
    """Return two looks as one: the worse sight, and the sum of the updates lost."""
    mask = (1 << SIGHT_BITS) - 1
    lost = (first >> SIGHT_BITS) + (second >> SIGHT_BITS)
    return max(first & mask, second & mask) | lost << SIGHT_BITS


# --- a list in a module --------------------------------------------------------------------------


def leave_result() -> None:
    """Append to a list in the module, where the caller will look for it in vain, or not."""
    _results.append("a result")


def see_result() -> int:
    """Look whether the list holds another task's result."""
    return Sight.SAW if _results else Sight.UNTOUCHED


# --- counters ------------------------------------------------------------------------------------


class Counter:
    """A counter that tasks add to in one of several ways, and how many additions it lost.

    When the last of those that add at the same time is done, what is missing was lost.
    """

    def __init__(self, name: str) -> None:
        self.turns = TURNS[name]
        self.value = 0
        self.lock = threading.Lock()
        self._books = threading.Lock()
        self._inside = 0
        self._added = 0

    def begin(self) -> bool:
        """Say that additions begin; True if another task adds at the same time."""
        with self._books:
            self._inside += 1
            return self._inside > 1

    def end(self) -> int:
        """Say that they are done; return how many were lost since nobody added, if that is now."""
        with self._books:
            self._inside -= 1
            self._added += self.turns
            if self._inside:
                return 0
            lost = self._added - self.value
            self._added = self.value = 0
            return lost


def _more(value: int) -> int:
    return value + 1


def _sight(*, shared: bool, lost: int) -> int:
    sight = Sight.SUFFERED if lost else Sight.SAW if shared else Sight.UNTOUCHED
    return sight | lost << SIGHT_BITS


_plain, _calling, _locked = map(Counter, TURNS)


def count_plainly() -> int:
    """Add to a shared counter: `value += 1`."""
    shared = _plain.begin()
    for _ in range(_plain.turns):
        _plain.value += 1
    return _sight(shared=shared, lost=_plain.end())


def count_with_call() -> int:
    """Add to a shared counter with a call between the read and the write."""
    shared = _calling.begin()
    for _ in range(_calling.turns):
        _calling.value = _more(_calling.value)
    return _sight(shared=shared, lost=_calling.end())


def count_with_lock() -> int:
    """Add to a shared counter with a call between, under a lock."""
    shared = _locked.begin()
    for _ in range(_locked.turns):
        with _locked.lock:
            _locked.value = _more(_locked.value)
    return _sight(shared=shared, lost=_locked.end())


# --- a lock --------------------------------------------------------------------------------------


def leave_lock() -> None:
    """Take a lock and never give it back."""
    _lock.acquire(timeout=_LOCK_WAIT_S)


def see_lock() -> int:
    """Take the lock for a moment; give up after a while, where real code would wait for ever."""
    if not _lock.acquire(timeout=_LOCK_WAIT_S):
        return Sight.SUFFERED
    _lock.release()
    return Sight.UNTOUCHED


# --- the module, the environment, the working directory ------------------------------------------


def leave_global() -> None:
    """Change a setting in the module."""
    _settings["rate"] = 3


def see_global() -> int:
    """Compute with the setting."""
    return Sight.UNTOUCHED if 21 * _settings["rate"] == 42 else Sight.SUFFERED


def leave_directory() -> None:
    """Go to the parent of the working directory, or from the root into /dev."""
    os.chdir("/dev" if _DIRECTORY == "/" else os.pardir)


def see_directory() -> int:
    """Resolve a relative path."""
    # Not pathlib: it is the process's directory that is asked for.
    return Sight.UNTOUCHED if os.getcwd() == _DIRECTORY else Sight.SUFFERED  # noqa: PTH109


def leave_environ() -> None:
    """Set the time zone for the own task: TZ is read by all."""
    os.environ["TZ"] = "POOL-05:45"
    time.tzset()


def see_environ() -> int:
    """Ask for a local time."""
    return Sight.UNTOUCHED if time.localtime(0)[:5] == _EPOCH else Sight.SUFFERED


# --- what the kernel keeps for a process ---------------------------------------------------------


def leave_fds() -> None:
    """Open files until there are none left, under a limit just above those that are open."""
    used = max(map(int, os.listdir("/dev/fd")))  # noqa: PTH208  also of descriptors gone by now
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, used + _SPARE_FDS), hard))
    with suppress(OSError):
        while True:
            _held_fds.append(os.open(os.devnull, os.O_RDONLY))


def see_fds() -> int:
    """Open a file."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return Sight.SUFFERED
    return Sight.UNTOUCHED


def leave_stdout() -> None:
    """Close descriptor 1; whatever is opened next gets its number, and what is printed."""
    with suppress(OSError):
        os.close(1)


def see_stdout() -> int:
    """Look whether descriptor 1 is what it was."""
    return Sight.UNTOUCHED if _identity(1) == _STDOUT else Sight.SUFFERED


def _deaf(signum: int, frame: FrameType | None) -> None:
    """Do nothing where something else listened."""


def leave_handler() -> None:
    """Replace what SIGTERM does. Python lets only the main thread do that."""
    signal.signal(signal.SIGTERM, _deaf)


def see_handler() -> int:
    """Look who listens to SIGTERM."""
    return Sight.SAW if signal.getsignal(signal.SIGTERM) is _deaf else Sight.UNTOUCHED


# --- what libraries keep for a process or a thread -----------------------------------------------


def leave_socket_timeout() -> None:
    """Give all sockets of the process, made from now on, a timeout of a millisecond."""
    socket.setdefaulttimeout(0.001)


def see_socket_timeout() -> int:
    """Make a socket."""
    with socket.socket() as mine:
        return Sight.UNTOUCHED if mine.gettimeout() is None else Sight.SUFFERED


def leave_precision() -> None:
    """Lower the precision of decimal numbers: for this thread, as long as it lives."""
    decimal.getcontext().prec = _PRECISION


def see_precision() -> int:
    """Compute with decimal numbers."""
    seventh = decimal.Decimal(1) / decimal.Decimal(7)
    return Sight.UNTOUCHED if seventh == _SEVENTH else Sight.SUFFERED


def leave_locale() -> None:
    """Change how the process reads and writes text."""
    locale.setlocale(locale.LC_CTYPE, "C" if _LOCALE != "C" else "C.UTF-8")


def see_locale() -> int:
    """Look whether the locale is what it was."""
    return Sight.UNTOUCHED if locale.setlocale(locale.LC_CTYPE) == _LOCALE else Sight.SAW


def _identity(fd: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(fd)
    except OSError:
        return None
    return found.st_dev, found.st_ino


# How things were when the worker started; a forked child inherits this along with the state.
_DIRECTORY: Final = os.getcwd()  # noqa: PTH109
_EPOCH: Final = time.localtime(0)[:5]
_STDOUT: Final = _identity(1)
_LOCALE: Final = locale.setlocale(locale.LC_CTYPE)
_SEVENTH: Final = decimal.Decimal(1) / decimal.Decimal(7)
