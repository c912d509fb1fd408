"""What a result carries with it: the machine it was made on, and the versions that took part."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil

from poolproof.fleet.connection import server_version
from poolproof_workers import __version__, host

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

_CPUINFO: Final = Path("/proc/cpuinfo")
_CHECKOUT: Final = Path(__file__).parents[3]
#: Up to the last @: a password that should have been quoted may have any character.
_USER: Final = re.compile(r"(?<=://).*@")
_QUERY: Final = re.compile(r"(?<=[?&])(username|password)=[^&#]*")


def machine() -> dict[str, Any]:
    """Return the machine and the Python of this process, as JSON can hold it.

    `cores` counts those of the machine, `usable_cores` those that this process may run on;
    `cgroup_cpus` and `cgroup_memory_bytes` are null where nothing limits us.
    """
    limits = host.cgroup_limits()
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "usable_cores": host.cores(),
        "cgroup_cpus": limits["cpus"],
        "cgroup_memory_bytes": limits["memory_bytes"],
        "memory_bytes": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "host": platform.node(),
        "python": _python_build(),
        "gil": host.gil(),
        "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    }


def versions(redis: Redis) -> dict[str, Any]:
    """Return name -> version of all that took part; `commit` is null outside a git checkout.

    `server` names the real server. Raises redis.RedisError if it does not answer.
    """
    return {
        **host.versions(),
        "server": str(server_version(redis)),
        "poolproof": __version__,
        "commit": commit(),
    }


def command(words: Sequence[str] | None = None) -> list[str]:
    """Return the command line of this process, the programme without its folder.

    Of URLs user and password are left out: what a run says of itself is passed on.
    """
    name, *rest = sys.argv if words is None else words
    programme = "poolproof" if Path(name).name == "__main__.py" else Path(name).name
    return [programme, *(_QUERY.sub(r"\1=***", _USER.sub("***@", word)) for word in rest)]


def cpu_model(cpuinfo: Path = _CPUINFO) -> str:
    """Return the name that the CPU gives itself, or as much as the system tells."""
    if cpuinfo.exists():
        fields = dict(_field(line) for line in cpuinfo.read_text().splitlines() if ":" in line)
        # Some arm64 kernels give no name, only numbers.
        return fields.get("model name") or fields.get("Hardware") or platform.machine()
    return _said(["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]) or platform.machine()


def commit(checkout: Path = _CHECKOUT) -> str | None:
    """Return the commit of poolproof itself, with `-dirty` if its files were changed since."""
    if not (checkout / ".git").exists():
        return None
    describe = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=12"]
    return _said([*describe, "--exclude=*"])


def _python_build() -> str:
    build, date = platform.python_build()
    name = platform.python_implementation()
    return f"{name} {platform.python_version()} ({build}, {date}; {platform.python_compiler()})"


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


def _said(command: list[str]) -> str | None:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
