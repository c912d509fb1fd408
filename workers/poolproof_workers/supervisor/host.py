"""What a worker says of the host and the software under it."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
import sysconfig
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import psutil

#: A version 1 cgroup without a limit says a number near 2^63.
_NO_LIMIT: Final = 1 << 60
_CGROUPS: Final = Path("/sys/fs/cgroup")
_CPUINFO: Final = Path("/proc/cpuinfo")


def describe() -> dict[str, Any]:
    """Return all that a worker's results depend on here, as JSON takes it."""
    return {
        "host": name(),
        "cores": cores(),
        "cgroup": cgroup_limits(),
        "gil": gil(),
        "versions": versions(),
    }


def machine() -> dict[str, Any]:
    """Return the machine and the Python of this process, as JSON can hold it.

    `cores` counts those of the machine, `usable_cores` those that this process may run on;
    `cgroup_cpus` and `cgroup_memory_bytes` are null where nothing limits us.
    """
    limits = cgroup_limits()
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "usable_cores": cores(),
        "cgroup_cpus": limits["cpus"],
        "cgroup_memory_bytes": limits["memory_bytes"],
        "memory_bytes": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "host": name(),
        "python": _python_build(),
        "gil": gil(),
        "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    }


def name() -> str:
    """Return what the host calls itself."""
    return socket.gethostname()


def cpu_model(cpuinfo: Path = _CPUINFO) -> str:
    """Return the name that the CPU gives itself, or as much as the system tells."""
    if cpuinfo.exists():
        fields = dict(_field(line) for line in cpuinfo.read_text().splitlines() if ":" in line)
        # Some arm64 kernels give no name, only numbers.
        return fields.get("model name") or fields.get("Hardware") or platform.machine()
    return _said(["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]) or platform.machine()


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


def _python_build() -> str:
    build, date = platform.python_build()
    name = platform.python_implementation()
    return f"{name} {platform.python_version()} ({build}, {date}; {platform.python_compiler()})"


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


def _said(command: list[str]) -> str:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
