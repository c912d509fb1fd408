"""The clocks of a run: the host's monotonic clock, and its offset to the clock of Redis."""

from __future__ import annotations

import platform
import subprocess
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: Redis answers TIME in microseconds.
RESOLUTION_NS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Offset:
    """Redis's Unix time minus this host's monotonic clock; the truth is within +- `error_ns`."""

    offset_ns: int
    error_ns: int


@cache
def boot_id(proc: Path = Path("/proc")) -> str:
    """Return what names this boot of this host: equal exactly where monotonic clocks are shared."""
    linux = proc / "sys/kernel/random/boot_id"
    if linux.exists():
        return linux.read_text().strip() + _namespace_offset(proc)
    command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return platform.node()
    return answer.stdout.strip() or platform.node()


def _namespace_offset(proc: Path) -> str:
    """Return what a time namespace adds to the monotonic clock, as it tells two of them apart."""
    try:
        lines = (proc / "self/timens_offsets").read_text().splitlines()
    except OSError:  # a kernel without them
        return ""
    words = next((line.split()[1:] for line in lines if line.startswith("monotonic")), [])
    return f"+{'.'.join(words)}" if any(int(word) for word in words) else ""


def offset_to_redis(
    redis: Any, rounds: int = 5, monotonic_ns: Callable[[], int] = time.monotonic_ns
) -> Offset:
    """Measure the offset by `rounds` of TIME and return the one with the smallest error.

    Half of a round trip bounds the error, as in NTP. Raises RedisError if Redis does not answer.
    """
    return min(
        (_one_round(redis, monotonic_ns) for _ in range(rounds)), key=lambda found: found.error_ns
    )


def _one_round(redis: Any, monotonic_ns: Callable[[], int]) -> Offset:
    before = monotonic_ns()
    seconds, microseconds = redis.time()
    after = monotonic_ns()
    redis_ns = (seconds * 1_000_000 + microseconds) * 1_000
    return Offset(redis_ns - (before + after) // 2, (after - before) // 2 + RESOLUTION_NS)
