"""Interruption in order: by Ctrl-C, SIGTERM or SIGHUP, once, and never half way into a start."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def obey_signals() -> None:
    """Raise KeyboardInterrupt in the main thread at the first of the signals; then heed none.

    What is begun is ended in order then, which has deadlines: a second Ctrl-C, or the SIGHUP that a
    shell passes on after the kernel's, would leave processes and keys. What was ignored when we
    were started stays so, as SIGHUP under nohup.
    """
    for signum in _obeyed():
        signal.signal(signum, _interrupt)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put an interruption off until the block is over: what it starts has an owner then.

    For short blocks. Does nothing in any thread but the main one, where none is raised.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {signum: signal.getsignal(signum) for signum in _obeyed()}
    try:
        for signum in before:
            signal.signal(signum, lambda number, _: came.append(number))
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
        if came:
            signal.raise_signal(came[0])


def _obeyed() -> list[signal.Signals]:
    return [signum for signum in _SIGNALS if signal.getsignal(signum) is not signal.SIG_IGN]


def _interrupt(signum: int, frame: FrameType | None) -> None:
    del signum, frame
    for each in _obeyed():
        # Not SIG_IGN, which what we start from now on would inherit.
        signal.signal(each, _heed_none)
    raise KeyboardInterrupt


def _heed_none(signum: int, frame: FrameType | None) -> None:
    del signum, frame
