"""Samples a worker's process tree about once a second, and finds processes that do not record.

Memory is dear to ask and only in a sample; the effort is cheap, and told whenever it is asked for.
"""

from __future__ import annotations

import resource
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import psutil

from poolproof_workers.supervisor.effort import effort
from poolproof_workers.supervisor.host_load import surroundings
from poolproof_workers.supervisor.samples import sample, tree

if TYPE_CHECKING:
    from collections.abc import Iterable

    from poolproof_workers.supervisor.ring_cursor import RingCursor

_EVERY_S: Final = 1.0
#: Walking the page tables of a large tree costs CPU, which is not ours to take: 1 % of a core.
_MAX_SHARE: Final = 0.01
#: A process opens its ring in its first instants; after so many samples without one it is blind.
_PATIENCE: Final = 3
#: A spawned one first imports all that the worker did; until its ring is open no task comes to it.
_SPAWNED_WITHIN_S: Final = 60.0


class Sampler:
    """Samples the tree under the main process. Most calls of `take` find that nothing is due."""

    def __init__(self) -> None:
        self._due = 0.0
        self._without_ring: Counter[int] = Counter()

    def take(
        self, main: int | None, tapes: Iterable[RingCursor], *, now: bool = False
    ) -> dict[str, Any] | None:
        """Return the fields of a `sample` op of the tree under `main`, None if none is due.

        With `now` it is due in any case, and the others keep to their time.
        """
        if main is None or (time.monotonic() < self._due and not now):
            return None
        before = time.thread_time()
        processes = tree(main)
        rings = [tape for tape in tapes if not tape.gone]
        fields = asdict(sample(processes)) | {"ring_bytes": sum(r.touched_bytes for r in rings)}
        fields |= _whole(fields["cpu_s"])
        if now:
            return fields
        self._count_without_ring(processes, {ring.pid for ring in rings})
        self._due = time.monotonic() + max(_EVERY_S, (time.thread_time() - before) / _MAX_SHARE)
        return fields

    def effort(self, main: int | None) -> dict[str, Any] | None:
        """Return the fields of an `effort` op of the tree under `main`, None if there is none."""
        if main is None:
            return None
        fields = asdict(effort(tree(main)))
        return fields | _whole(fields["cpu_s"])

    def blind(self, main: int | None, *, children_record: bool) -> list[int]:
        """Return the pids that should have a ring and do not: right after a sample, once each."""
        return [
            pid
            for pid, samples in self._without_ring.items()
            if samples == _PATIENCE and (children_record or pid == main)
        ]

    def _count_without_ring(self, processes: list[psutil.Process], with_ring: set[int]) -> None:
        # The main process and its children; what a task starts is not ours to ask a ring of.
        main = processes[0].pid if processes else None
        without = {
            process.pid
            for process in processes
            if process.pid not in with_ring
            and main in {process.pid, _parent(process)}
            and _can_record(process)
        }
        self._without_ring = Counter({pid: self._without_ring[pid] + 1 for pid in without})


def _whole(living_cpu_s: float) -> dict[str, Any]:
    """Return the CPU time with that of earlier lives, our own, and what the host tells."""
    # Those that we have reaped, with all that these had reaped.
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "cpu_s": round(living_cpu_s + ended.ru_utime + ended.ru_stime, 6),
        "own_cpu_s": round(time.process_time(), 6),
        "host": surroundings(),
    }


def _can_record(process: psutil.Process) -> bool:
    # Prefork leaves a dead child unreaped for seconds, when its ring may be shipped and gone.
    with suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE and not _is_spawning(process)
    return False


def _is_spawning(process: psutil.Process) -> bool:
    """Tell whether it is a spawned child that starts, or billiard's helper beside such children."""
    line = " ".join(process.cmdline())
    if "billiard.semaphore_tracker" in line:
        return True
    return "billiard.spawn" in line and time.time() - process.create_time() < _SPAWNED_WITHIN_S


def _parent(process: psutil.Process) -> int | None:
    with suppress(psutil.NoSuchProcess):
        return process.ppid()
    return None
