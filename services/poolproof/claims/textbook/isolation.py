"""Whether the neighbour of a slot that segfaults lives on."""

from __future__ import annotations

import ctypes
import multiprocessing
import resource
import threading
from typing import Final

_ROUNDS: Final = 5


def measure() -> dict[str, list[float]]:
    """Return for each round whether (1) or not (0) the neighbour reached its end."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    rounds = range(_ROUNDS)
    return {
        "processes": [_survives(_beside_a_process) for _ in rounds],
        "threads": [_survives(_beside_a_thread) for _ in rounds],
    }


def _survives(scene: object) -> float:
    """Play a scene in a process of its own; its exit code says whether it reached the end."""
    stage = multiprocessing.get_context("fork").Process(target=scene)  # type: ignore[arg-type]
    stage.start()
    stage.join()
    return float(stage.exitcode == 0)


def _beside_a_process() -> None:
    crasher = multiprocessing.get_context("fork").Process(target=_crash)
    crasher.start()
    crasher.join()


def _beside_a_thread() -> None:
    crasher = threading.Thread(target=_crash)
    crasher.start()
    crasher.join()


def _crash() -> None:
    ctypes.string_at(0)
