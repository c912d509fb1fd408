"""What it costs to switch between two slots that wake each other through pipes, on one core."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_ROUNDS: Final = 11
_TURNS: Final = 2_000  #: there and back


def measure() -> dict[str, list[float]]:
    """Return the seconds a switch between two threads of a process, and two processes."""
    # On one core the partner can only run when we have been switched away.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    kinds: dict[str, Callable[..., Any]] = {
        "threads": threading.Thread,
        "processes": multiprocessing.get_context("fork").Process,
    }
    found: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(_ROUNDS):
        for name, kind in kinds.items():
            found[name].append(_seconds(kind))
    return found


def _seconds(kind: Callable[..., Any]) -> float:
    (there_out, there_in), (back_out, back_in) = os.pipe(), os.pipe()
    partner = kind(target=_answer, args=(there_out, back_in))
    partner.start()
    _turn(there_in, back_out)  # it is there
    begin = time.perf_counter()
    for _ in range(_TURNS):
        _turn(there_in, back_out)
    took = time.perf_counter() - begin
    os.write(there_in, b"q")
    partner.join()
    for fd in (there_out, there_in, back_out, back_in):
        os.close(fd)
    return took / _TURNS / 2


def _turn(there: int, back: int) -> None:
    os.write(there, b"x")
    os.read(back, 1)


def _answer(there: int, back: int) -> None:
    while os.read(there, 1) == b"x":
        os.write(back, b"x")
