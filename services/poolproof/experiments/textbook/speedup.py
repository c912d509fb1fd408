"""How much faster two slots do two pieces of work than one slot does."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_ROUNDS: Final = 15
_SPINS: Final = 1_000_000
_NAP_S: Final = 0.05


def measure() -> dict[str, list[float]]:
    """Return the seconds for two pieces, as `cpu one`, `cpu threads`, `cpu processes`, `io ...`."""
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(2, context) as processes, ThreadPoolExecutor(2) as threads:
        kinds: dict[str, Executor | None] = {
            "one": None,
            "threads": threads,
            "processes": processes,
        }
        works: dict[str, Callable[[int], int]] = {"cpu": spin, "io": nap}
        for executor in filter(None, kinds.values()):
            list(executor.map(nap, range(4)))  # all slots are there
        found: dict[str, list[float]] = {f"{w} {k}": [] for w in works for k in kinds}
        for _ in range(_ROUNDS):
            for work, function in works.items():
                for kind, slots in kinds.items():
                    found[f"{work} {kind}"].append(_seconds(slots, function))
    return found


def spin(number: int) -> int:
    """Compute in pure Python."""
    for step in range(_SPINS):
        number = (number * 1_103_515_245 + step) & 0x7FFF_FFFF
    return number


def nap(number: int) -> int:
    """Wait, as for an answer of another machine."""
    time.sleep(_NAP_S)
    return number


def _seconds(executor: Executor | None, work: Callable[[int], int]) -> float:
    begin = time.perf_counter()
    list((executor.map if executor else map)(work, range(2)))
    return time.perf_counter() - begin
