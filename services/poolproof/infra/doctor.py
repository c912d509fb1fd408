"""What on this machine would spoil a measurement: one check a thing, each with its advice."""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import sysconfig
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil
from redis import RedisError

from poolproof.infra.connection import connect, server_version, where
from poolproof.infra.redis_server import RedisServer
from poolproof_workers.contract import RING_CAPACITY, RING_RECORD_BYTES
from poolproof_workers.errors import PoolproofError
from poolproof_workers.supervisor import host
from poolproof_workers.supervisor.host import cpu_model
from poolproof_workers.workloads.tasks import spin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

#: Two workers of four slots, each with its main process and a slot that is being replaced.
_RINGS: Final = 2 * (4 + 2)
_RING_BYTES: Final = RING_CAPACITY * RING_RECORD_BYTES
#: The PSS of an idle prefork:4 is about 150 MB; two of them, Redis, the services, and room.
_MEMORY_BYTES: Final = 768 << 20
_SLOW_REDIS_S: Final = 0.002
_PINGS: Final = 50
_BUSY: Final = 0.3
_SPIN_ROUNDS: Final = 100
_SPINS: Final = 60_000  # about 3 ms
_NOISY: Final = 0.10
_STEAL: Final = 0.01
_GOVERNOR: Final = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    WARN = "warn"  #: a run works, but its figures are worth less
    BAD = "bad"  #: a run does not work


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: `name` is what was looked at, `advice` what to do (empty if all is well)."""

    name: str
    level: Level
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Noise:
    """What a short spin of equal rounds met: `spread` is (90th percentile - fastest) / fastest."""

    spread: float
    steal: float  #: share of all cores' time that the hypervisor gave to others


def examine(redis_url: str | None, rings: Path) -> Iterator[Check]:
    """Look at everything that a run needs, in about a second, and yield the findings one by one.

    Without a `redis_url` an embedded Redis is started, looked at and ended.
    """
    yield redis_check(redis_url)
    yield rings_check(rings)
    yield from cores_checks(host.cores(), host.cgroup_limits()["cpus"])
    yield memory_check(_memory_available(), host.cgroup_limits()["memory_bytes"])
    yield swap_check(psutil.swap_memory().used)
    yield load_check(psutil.getloadavg()[0], host.cores())
    yield noise_check(measure_noise())
    yield governor_check(_GOVERNOR.read_text().strip() if _GOVERNOR.exists() else None)
    yield python_check(debug=bool(sysconfig.get_config_var("Py_DEBUG")) or sys.flags.dev_mode)


def redis_check(url: str | None) -> Check:
    """Is there a Redis, new enough and near enough, that evicts nothing?"""
    try:
        if url is not None:
            with connect(url) as redis:
                return _redis_check(redis, f"at {where(url)}")
        with RedisServer.start() as server, connect(server.url) as redis:
            return _redis_check(redis, "embedded")
    except PoolproofError as error:
        return Check("Redis", Level.BAD, str(error), "without a Redis nothing runs")


def _redis_check(redis: Redis, place: str) -> Check:
    round_trip_s = statistics.median(_ping_s(redis) for _ in range(_PINGS))
    found = f"{server_version(redis)}, {place}, answers in {round_trip_s * 1e6:.0f} \u00b5s"
    policy = _eviction_policy(redis)
    if policy not in {"noeviction", None}:
        return Check(
            "Redis",
            Level.WARN,
            f"{found}, evicts ({policy})",
            "with maxmemory-policy other than noeviction it may drop tasks by itself",
        )
    if round_trip_s > _SLOW_REDIS_S:
        return Check(
            "Redis",
            Level.WARN,
            found,
            "so far away, its round trips are a part of every task: put it nearer",
        )
    return Check("Redis", Level.OK, found)


def _eviction_policy(redis: Redis) -> str | None:
    try:
        return str(redis.config_get("maxmemory-policy").get("maxmemory-policy"))
    except RedisError:
        return None  # a managed Redis does not let us look


def _ping_s(redis: Redis) -> float:
    begin = time.perf_counter()
    redis.ping()
    return time.perf_counter() - begin


def rings_check(folder: Path) -> Check:
    """Can the recorders write, without waiting for a disk, and is there room?"""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return Check("rings", Level.BAD, f"{folder} cannot be written", _OTHER_RINGS)
    free = shutil.disk_usage(existing).free
    found = f"{folder}, {_size(free)} free"
    if free < _RINGS * _RING_BYTES:
        needed = _size(_RINGS * _RING_BYTES)
        return Check("rings", Level.BAD, found, f"two workers of 4 need {needed}: {_OTHER_RINGS}")
    if sys.platform == "linux" and not _is_in_memory(existing):
        return Check(
            "rings",
            Level.WARN,
            f"{found}, on a disk",
            f"write-back to a disk may stop a worker for a while: {_OTHER_RINGS}",
        )
    return Check("rings", Level.OK, found)


_OTHER_RINGS: Final = "set POOLPROOF_RINGS to a folder in a tmpfs with room, such as /dev/shm"


def _is_in_memory(path: Path) -> bool:
    mounts = {part.mountpoint: part.fstype for part in psutil.disk_partitions(all=True)}
    nearest = next(
        (str(folder) for folder in (path, *path.resolve().parents) if str(folder) in mounts), ""
    )
    return mounts.get(nearest) in {"tmpfs", "ramfs"}


def cores_checks(usable: int, quota: float | None) -> Iterator[Check]:
    """Are there cores for the pools to differ on, and is their time whole?"""
    found = f"{usable} usable, {cpu_model()}"
    if usable == 1:
        yield Check(
            "cores",
            Level.WARN,
            found,
            "on one core processes can gain nothing over threads: use two or more",
        )
    else:
        yield Check("cores", Level.OK, found)
    if quota is None:
        yield Check("CPU limit", Level.OK, "none")
    elif quota < usable:
        yield Check(
            "CPU limit",
            Level.WARN,
            f"the cgroup gives {quota:g} of {usable} cores",
            "throttling stops all processes at once: raise the limit, or pin to whole cores",
        )
    else:
        yield Check("CPU limit", Level.OK, f"the cgroup gives {quota:g} cores")


def memory_check(available: int, limit: int | None) -> Check:
    """Is there room for two workers and the services?"""
    room = available if limit is None else min(available, limit)
    found = f"{_size(room)} available" + (f", limit {_size(limit)}" if limit else "")
    if room < _MEMORY_BYTES:
        return Check(
            "memory",
            Level.WARN,
            found,
            f"less than {_size(_MEMORY_BYTES)} may end in an OOM kill that was not in the plan",
        )
    return Check("memory", Level.OK, found)


def swap_check(used: int) -> Check:
    """Has memory been swapped out?"""
    if used:
        advice = "a page that comes back from swap looks like a slow task: free memory, swapoff -a"
        return Check("swap", Level.WARN, f"{_size(used)} in use", advice)
    return Check("swap", Level.OK, "none in use")


def load_check(load: float, cores: int) -> Check:
    """Does something else want the cores?"""
    found = f"{load:.2f} in the last minute, on {cores} cores"
    if load > _BUSY * cores:
        return Check(
            "load", Level.WARN, found, "let what else runs here end first, then look again"
        )
    return Check("load", Level.OK, found)


def measure_noise() -> Noise:
    """Spin through equal rounds for about 0.3 s and see how equal they are."""
    before = psutil.cpu_times()
    rounds = sorted(_spin_s() for _ in range(_SPIN_ROUNDS))
    after = psutil.cpu_times()
    stolen = getattr(after, "steal", 0.0) - getattr(before, "steal", 0.0)
    passed = sum(after) - sum(before)
    fastest, slow = rounds[0], rounds[_SPIN_ROUNDS * 9 // 10]
    return Noise((slow - fastest) / fastest, stolen / passed if passed > 0 else 0.0)


def _spin_s() -> float:
    begin = time.perf_counter()
    spin(_SPINS)
    return time.perf_counter() - begin


def noise_check(noise: Noise) -> Check:
    """Does equal work take equal time?"""
    found = f"equal work differs by {noise.spread:.0%}, {noise.steal:.1%} of the time stolen"
    if noise.steal > _STEAL:
        advice = "the hypervisor gives this machine's time to others: expect wide intervals"
        return Check("noise", Level.WARN, found, advice)
    if noise.spread > _NOISY:
        advice = "something disturbs this machine: expect wide intervals, or use a quieter one"
        return Check("noise", Level.WARN, found, advice)
    return Check("noise", Level.OK, found)


def governor_check(governor: str | None) -> Check:
    """Does the CPU keep its speed?"""
    if governor in {"powersave", "conservative", "ondemand"}:
        advice = "the clock rises and falls with the load: cpupower frequency-set -g performance"
        return Check("CPU clock", Level.WARN, f"governor {governor}", advice)
    return Check("CPU clock", Level.OK, f"governor {governor}" if governor else "not ours to steer")


def python_check(*, debug: bool) -> Check:
    """Is this the Python that a user's tasks would run on?"""
    version = host.versions()["python"]
    found = f"{version}, GIL {'on' if host.gil() else 'off'}"
    if debug:
        advice = "a debug build or -X dev is slower by far: measure with a release build"
        return Check("Python", Level.WARN, f"{found}, with debugging", advice)
    return Check("Python", Level.OK, found)


def _memory_available() -> int:
    available: int = psutil.virtual_memory().available
    return available


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
