"""The square job and its cost, and how that cost is calibrated."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

SQUARE: Final = "poolproof.square"

_CALIBRATION_SPINS: Final = 20_000  # about a millisecond
_CALIBRATION_ROUNDS: Final = 25


def square(n: int, sleep_s: float = 0.0, spins: int = 0) -> int:
    """Return n * n, after sleeping `sleep_s` and computing for `spins` turns of `spin`."""
    if sleep_s:
        time.sleep(sleep_s)
    if spins:
        spin(spins)
    return n * n


def spin(spins: int) -> int:
    """Compute in pure Python, never letting go of the interpreter by itself. Return the outcome."""
    x = 1
    for _ in range(spins):
        x = (x * 1_103_515_245 + 12_345) & 0x7FFF_FFFF
    return x


def calibrate() -> float:
    """Return how many spins this machine does in a millisecond of CPU, undisturbed.

    The fastest of many short rounds: whatever disturbs a round only makes it slower.
    """
    fastest_ns = min(_round_ns() for _ in range(_CALIBRATION_ROUNDS))
    return _CALIBRATION_SPINS / (fastest_ns / 1e6)


def _round_ns() -> int:
    begin = time.perf_counter_ns()
    spin(_CALIBRATION_SPINS)
    return max(1, time.perf_counter_ns() - begin)


#: Task name -> function, as `make_app` registers them.
TASKS: Final[dict[str, Callable[..., object]]] = {SQUARE: square}
