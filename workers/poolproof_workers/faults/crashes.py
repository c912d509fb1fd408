"""Bodies of faults that end a task or its process in a way that nobody planned, or never end."""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import time
from typing import NoReturn


class DeliberateError(Exception):
    """The exception that the fault `exception` raises."""


class _Node(ctypes.Structure):
    """A node of a tree as <search.h> has it."""


_Tree = ctypes.POINTER(_Node)
_Node._fields_ = [
    ("key", ctypes.c_void_p),
    ("left", _Tree),
    ("right", _Tree),
    ("height", ctypes.c_int),
]


def segfault() -> None:
    """Read address 0."""
    # Another thread's faulthandler or the kernel's core dump would only delay the death.
    ctypes.string_at(0)


def abort() -> NoReturn:
    """End by SIGABRT, as a failed assertion in C does."""
    os.abort()


def overflow_stack() -> None:
    """Walk a tree whose root is its own child, in C, where nothing counts the depth."""
    libc = ctypes.CDLL(None)
    root = _Node()
    root.key = ctypes.addressof(root)
    root.left = ctypes.pointer(root)
    libc.twalk(ctypes.byref(root), libc.getpid)


def os_exit() -> NoReturn:
    """Leave at once."""
    os._exit(3)


def kill_self() -> None:
    """Send SIGKILL to the own process."""
    os.kill(os.getpid(), signal.SIGKILL)


def system_exit() -> NoReturn:
    """Raise SystemExit."""
    raise SystemExit(3)


def interrupt() -> NoReturn:
    """Raise KeyboardInterrupt."""
    raise KeyboardInterrupt


def fail() -> NoReturn:
    """Raise an ordinary exception."""
    raise DeliberateError("raised on purpose")


def fail_unpicklably() -> NoReturn:
    """Raise an exception that cannot leave its process as it is."""
    raise DeliberateError("raised on purpose", lambda: None)


def loop_in_python() -> NoReturn:
    """Compute for ever; the interpreter takes turns."""
    while True:
        pass


def loop_in_c() -> None:
    """Compute for ever within one call in C, which never lets go of the interpreter."""
    sum(itertools.repeat(0))


def sleep_for_ever() -> NoReturn:
    """Wait for what never comes."""
    while True:
        time.sleep(3_600)
