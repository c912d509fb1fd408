"""What an idle slot adds to the memory of a process tree, with shared pages counted once."""

from __future__ import annotations

import multiprocessing
import os
import threading
from pathlib import Path
from typing import Any, Final

_ROUNDS: Final = 9
_SLOTS: Final = 16


def measure() -> dict[str, list[float]]:
    """Return the bytes (PSS, Linux) a thread, a forked child and a spawned child."""
    found: dict[str, list[float]] = {"thread": [], "fork": [], "spawn": []}
    for round_ in range(_ROUNDS):
        found["thread"].append(_of_threads())
        found["fork"].append(_of_children("fork", _SLOTS))
        if round_ % 3 == 0:  # slow to start, and much the same each time
            found["spawn"].append(_of_children("spawn", 2))
    return found


def _of_threads() -> float:
    before, go = _pss([os.getpid()]), threading.Event()
    ready = threading.Barrier(_SLOTS + 1)

    def wait() -> None:
        ready.wait()
        go.wait()

    threads = [threading.Thread(target=wait) for _ in range(_SLOTS)]
    for thread in threads:
        thread.start()
    ready.wait()
    after = _pss([os.getpid()])
    go.set()
    for thread in threads:
        thread.join()
    return max(1.0, (after - before) / _SLOTS)


def _of_children(method: str, count: int) -> float:
    context: Any = multiprocessing.get_context(method)
    before = _pss([os.getpid()])
    ends = [context.Pipe() for _ in range(count)]
    children = [context.Process(target=idle, args=(theirs,)) for _, theirs in ends]
    for child in children:
        child.start()
    for ours, _ in ends:
        ours.recv()
    after = _pss([os.getpid(), *(child.pid or 0 for child in children)])
    for child, (ours, _) in zip(children, ends, strict=True):
        ours.send(None)
        child.join()
    return max(1.0, (after - before) / count)


def idle(pipe: multiprocessing.connection.Connection) -> None:
    """Say that we are there, and wait."""
    pipe.send(None)
    pipe.recv()


def _pss(pids: list[int]) -> int:
    return sum(_pss_of(Path(f"/proc/{pid}/smaps_rollup")) for pid in pids)


def _pss_of(smaps: Path) -> int:
    line = next(line for line in smaps.read_text().splitlines() if line.startswith("Pss:"))
    return int(line.split()[1]) * 1024
