"""How much faster two slots do two pieces of work than one slot does."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_ROUNDS: Final = 15
_SPINS: Final = 500_000
_NAP_S: Final = 0.05


def measure() -> dict[str, list[float]]:
    """Return the seconds for two pieces, as `cpu one`, `cpu threads`, `cpu processes`, `io ...`.

    `cpu share` is what two processes side by side got of two cores: less than 1, if others did too.
    """
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
        found["cpu share"] = []
        for _ in range(_ROUNDS):
            for work, function in works.items():
                for kind, slots in kinds.items():
                    found[f"{work} {kind}"].append(_seconds(slots, function))
            found["cpu share"].append(_share(processes))
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


def spent(number: int) -> float:
    """Compute, and return the CPU seconds that it took."""
    begin = time.process_time()
    spin(number)
    return time.process_time() - begin


def _share(processes: Executor) -> float:
    begin = time.perf_counter()
    cpu_s = sum(processes.map(spent, range(2)))
    return cpu_s / 2 / (time.perf_counter() - begin)


def _seconds(executor: Executor | None, work: Callable[[int], int]) -> float:
    begin = time.perf_counter()
    list((executor.map if executor else map)(work, range(2)))
    return time.perf_counter() - begin
