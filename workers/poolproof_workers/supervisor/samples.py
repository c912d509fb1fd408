"""What a worker's process tree holds and has done at one moment: memory beside the effort."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from poolproof_workers.supervisor.effort import effort_of

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Sample:
    """Sums over the living processes of a tree. `cpu_s` has the children that they reaped in it."""

    processes: int
    pss_bytes: (
        int | None
    )  #: None where the kernel does not tell it (macOS, or another user's process)
    uss_bytes: int
    rss_bytes: int
    cpu_s: float
    ctx_voluntary: int
    ctx_involuntary: int

    def plus(self, other: Sample) -> Sample:
        """Return the sum of two; the PSS is unknown if one of them is."""
        unknown = self.pss_bytes is None or other.pss_bytes is None
        return Sample(
            processes=self.processes + other.processes,
            pss_bytes=None if unknown else (self.pss_bytes or 0) + (other.pss_bytes or 0),
            uss_bytes=self.uss_bytes + other.uss_bytes,
            rss_bytes=self.rss_bytes + other.rss_bytes,
            cpu_s=self.cpu_s + other.cpu_s,
            ctx_voluntary=self.ctx_voluntary + other.ctx_voluntary,
            ctx_involuntary=self.ctx_involuntary + other.ctx_involuntary,
        )


NOTHING = Sample(0, 0, 0, 0, 0.0, 0, 0)


def tree(pid: int) -> list[psutil.Process]:
    """Return the process `pid`, first, and all that descend from it; empty if it has ended."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def sample(processes: Iterable[psutil.Process]) -> Sample:
    """Add up what the processes cost now. One that ends meanwhile is left out."""
    total = NOTHING
    for process in processes:
        try:
            total = total.plus(_sample_one(process))
        except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            continue
    return total


def _sample_one(process: psutil.Process) -> Sample:
    with process.oneshot():
        memory = process.memory_full_info()
        done = effort_of(process)
    return Sample(
        processes=1,
        pss_bytes=getattr(memory, "pss", None),
        uss_bytes=memory.uss,
        rss_bytes=memory.rss,
        cpu_s=done.cpu_s,
        ctx_voluntary=done.ctx_voluntary,
        ctx_involuntary=done.ctx_involuntary,
    )
