"""What slots see of each other's data, and what they lose of it."""

from __future__ import annotations

import multiprocessing
import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_ROUNDS: Final = 5
_SLOTS: Final = 4
_INCREMENTS: Final = 100_000
_results: Final[list[int]] = []
_lock: Final = threading.Lock()


class _Counter:
    value = 0


def measure() -> dict[str, list[float]]:
    """Return results seen of four that slots appended, and the share of lost increments."""
    process = multiprocessing.get_context("fork").Process
    races = {"plain": _plain, "with a call between": _with_call, "with a lock": _locked}
    found: dict[str, list[float]] = {"seen threads": [], "seen processes": []}
    found |= {f"lost {name}": [] for name in races}
    for _ in range(_ROUNDS):
        found["seen threads"].append(_seen(threading.Thread))
        found["seen processes"].append(_seen(process))
        for name, race in races.items():
            found[f"lost {name}"].append(_lost(race))
    return found


def _seen(kind: Callable[..., Any]) -> float:
    _results.clear()
    _run(kind, _append)
    return float(len(_results))


def _lost(race: Callable[[], None]) -> float:
    _Counter.value = 0
    _run(threading.Thread, race)
    return 1 - _Counter.value / (_SLOTS * _INCREMENTS)


def _run(kind: Callable[..., Any], target: Callable[[], None]) -> None:
    slots = [kind(target=target) for _ in range(_SLOTS)]
    for slot in slots:
        slot.start()
    for slot in slots:
        slot.join()


def _append() -> None:
    _results.append(1)


def _plain() -> None:
    for _ in range(_INCREMENTS):
        _Counter.value += 1


def _with_call() -> None:
    for _ in range(_INCREMENTS):
        _Counter.value = _next(_Counter.value)


def _next(value: int) -> int:
    return value + 1


def _locked() -> None:
    for _ in range(_INCREMENTS):
        with _lock:
            _Counter.value += 1
