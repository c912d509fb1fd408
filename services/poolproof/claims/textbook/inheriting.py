"""What a new process has of the locks of the one that made it."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from typing import Final

_ROUNDS: Final = 5
_PATIENCE_S: Final = 1.0
_lock: Final = threading.Lock()


def measure() -> dict[str, list[float]]:
    """Return for each round whether (1) or not (0) a child got a lock that a thread here held.

    The thread lets go of its lock as soon as the child is there.
    """
    return {
        start: [_gets_the_lock(start) for _ in range(_ROUNDS)]
        for start in multiprocessing.get_all_start_methods()
        if start in {"fork", "spawn"}
    }


def _gets_the_lock(start: str) -> float:
    child = multiprocessing.get_context(start).Process(target=_take)  # type: ignore[attr-defined]
    holds, may_let_go = threading.Event(), threading.Event()
    holder = threading.Thread(target=_hold, args=(holds, may_let_go))
    holder.start()
    holds.wait()
    child.start()
    may_let_go.set()
    holder.join()
    child.join()
    return float(child.exitcode == 0)


def _hold(holds: threading.Event, may_let_go: threading.Event) -> None:
    with _lock:
        holds.set()
        may_let_go.wait()


def _take() -> None:
    sys.exit(0 if _lock.acquire(timeout=_PATIENCE_S) else 1)
