"""What it costs to create a slot that does nothing, and to wait for its end."""

from __future__ import annotations

import multiprocessing
import threading
import time
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

_ROUNDS: Final = 11
#: How many are made in a row: about the same time for each kind, but for spawn.
_ROW: Final = {"thread": 100, "fork": 10, "spawn": 1}


class _Slot(Protocol):
    def start(self) -> None: ...

    def join(self) -> None: ...


def nothing() -> None:
    """Do nothing."""


def measure() -> dict[str, list[float]]:
    """Return the seconds a slot, in rounds that alternate between the kinds."""
    kinds: dict[str, Callable[[], _Slot]] = {
        "thread": lambda: threading.Thread(target=nothing),
        "fork": lambda: multiprocessing.get_context("fork").Process(target=nothing),
        "spawn": lambda: multiprocessing.get_context("spawn").Process(target=nothing),
    }
    found: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(_ROUNDS):
        for name, make in kinds.items():
            found[name].append(_seconds(make, _ROW[name]))
    return found


def _seconds(make: Callable[[], _Slot], row: int) -> float:
    begin = time.perf_counter()
    for _ in range(row):
        slot = make()
        slot.start()
        slot.join()
    return (time.perf_counter() - begin) / row
