"""What a process tree has done so far: CPU time and context switches. Cheap to ask."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable

_HAS_PROC: Final = Path("/proc/self/task").exists()


@dataclass(frozen=True, slots=True)
class Effort:
    """Sums over the living processes of a tree. `cpu_s` has the children that they reaped in it.

    The context switches are those of the threads that live: what one did that ended is not known.
    """

    processes: int = 0
    cpu_s: float = 0.0
    ctx_voluntary: int = 0
    ctx_involuntary: int = 0

    def plus(self, other: Effort) -> Effort:
        """Return the sum of two."""
        return Effort(
            self.processes + other.processes,
            self.cpu_s + other.cpu_s,
            self.ctx_voluntary + other.ctx_voluntary,
            self.ctx_involuntary + other.ctx_involuntary,
        )


def effort(processes: Iterable[psutil.Process]) -> Effort:
    """Add up what the processes have done. One that ends meanwhile is left out."""
    total = Effort()
    for process in processes:
        try:
            total = total.plus(effort_of(process))
        except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            continue
    return total


def effort_of(process: psutil.Process) -> Effort:
    """Return what one process has done. Raises psutil.NoSuchProcess or OSError if it is gone."""
    voluntary, involuntary = _context_switches(process)
    return Effort(1, _cpu_s(process), voluntary, involuntary)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    reaped: float = times.children_user + times.children_system
    if _HAS_PROC:
        try:
            # clock_getcpuclockid(3) of Linux: to the nanosecond, where /proc has steps of 10 ms.
            return reaped + time.clock_gettime(~process.pid << 3 | 2)
        except OSError:
            pass
    return reaped + float(times.user + times.system)


def _context_switches(process: psutil.Process) -> tuple[int, int]:
    """Sum over the threads that live: psutil and /proc/PID/status tell those of the first only."""
    threads = Path(f"/proc/{process.pid}/task")
    if not threads.exists():
        first = process.num_ctx_switches()
        return first.voluntary, first.involuntary
    voluntary = involuntary = 0
    for thread in threads.iterdir():
        try:
            lines = (thread / "status").read_bytes().splitlines()[-2:]
        except (FileNotFoundError, ProcessLookupError):
            continue
        voluntary += int(lines[0].split()[1])
        involuntary += int(lines[1].split()[1])
    return voluntary, involuntary
