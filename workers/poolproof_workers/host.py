"""What a worker says of the host and the software under it."""

from __future__ import annotations

import os
import platform
import socket
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final

#: A version 1 cgroup without a limit says a number near 2^63.
_NO_LIMIT: Final = 1 << 60
_CGROUPS: Final = Path("/sys/fs/cgroup")


def describe() -> dict[str, Any]:
    """Return all that a worker's results depend on here, as JSON takes it."""
    return {
        "host": name(),
        "cores": cores(),
        "cgroup": cgroup_limits(),
        "gil": gil(),
        "versions": versions(),
    }


def name() -> str:
    """Return what the host calls itself."""
    return socket.gethostname()


@cache
def versions(more: str = "") -> dict[str, str]:
    """Return the versions of Python and of all that lies between a task and Redis.

    `more` names a package that is there too, as the pool needs it.
    """
    names = ("celery", "kombu", "billiard", "redis", "hiredis", *([more] if more else []))
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in names}


def gil() -> bool:
    """Tell whether this Python runs one thread at a time."""
    enabled = getattr(sys, "_is_gil_enabled", None)
    return enabled is None or bool(enabled())


def cores() -> int:
    """Return the number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cgroup_limits(root: Path = _CGROUPS) -> dict[str, Any]:
    """Return `cpus` (a number of cores) and `memory_bytes`; None where nothing limits us."""
    return {"cpus": _cpus(root), "memory_bytes": _memory_bytes(root)}


def _cpus(root: Path) -> float | None:
    quota, period = [*_words(root / "cpu.max"), "", ""][:2]
    if not quota:
        quota = next(iter(_words(root / "cpu/cpu.cfs_quota_us")), "")
        period = next(iter(_words(root / "cpu/cpu.cfs_period_us")), "")
    if not quota.isdigit() or not period.isdigit():
        return None
    return int(quota) / int(period)


def _memory_bytes(root: Path) -> int | None:
    limit = _words(root / "memory.max") or _words(root / "memory/memory.limit_in_bytes")
    if not limit or not limit[0].isdigit() or int(limit[0]) >= _NO_LIMIT:
        return None
    return int(limit[0])


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
