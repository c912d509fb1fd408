"""What it costs to hand bytes to a slot and get them back."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Final

_ROUNDS: Final = 11
SIZES: Final = (1, 1_000, 100_000, 1_000_000, 10_000_000)


def measure() -> dict[str, list[float]]:
    """Return the seconds there and back for each kind and size, as `thread 1`, `process 1`, ..."""
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(1, context) as processes, ThreadPoolExecutor(1) as threads:
        kinds: dict[str, Executor] = {"process": processes, "thread": threads}
        for executor in kinds.values():
            executor.submit(echo, b"").result()
        found: dict[str, list[float]] = {f"{k} {size}": [] for k in kinds for size in SIZES}
        for _ in range(_ROUNDS):
            for size in SIZES:
                for name, executor in kinds.items():
                    found[f"{name} {size}"].append(_seconds(executor, b"x" * size))
    return found


def echo(value: bytes) -> bytes:
    """Return what was given."""
    return value


def _seconds(executor: Executor, value: bytes) -> float:
    turns = 20 if len(value) <= 100_000 else 2
    begin = time.perf_counter()
    for _ in range(turns):
        executor.submit(echo, value).result()
    return (time.perf_counter() - begin) / turns
