"""What recording costs a worker: bare, with the recorder, and with Celery's task events."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import psutil
from scipy.stats import bootstrap

from poolproof.infra.connection import connect
from poolproof.infra.redis_server import RedisServer
from poolproof.produce.messages import Original, Template
from poolproof.produce.works import Square
from poolproof_workers.app import make_app
from poolproof_workers.errors import WorkerError
from poolproof_workers.settings import Settings
from poolproof_workers.supervisor.celery_process import command
from poolproof_workers.supervisor.leash import leashed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

#: Celery's default pool, with one child: with no-op tasks its main process is the limit anyhow.
_POOL: Final = "prefork:1"
#: A block lasts about 0.05 s: so short that what disturbs the machine disturbs all arms alike. Of
#: the pace of a core that comes and goes little is left so (`scripts/bench pace`).
_TASKS: Final = 50
_CYCLES: Final = 24
#: New workers so often in a round: two processes of one programme differ by 1 % by their memory
#: layout alone, so what counts is how many of them were measured, not for how long.
_STARTS: Final = 3
_SEED: Final = 2
_BACKLOG: Final = "poolproof:bench-recorder:backlog"
_DEADLINE_S: Final = 60.0
_POLL_S: Final = 0.002
#: After the queue is empty, until the last task has been ended and acknowledged.
_REST_S: Final = 0.01


_Cycle = dict[str, dict[str, float]]  # arm -> measure -> value, of one block of each arm


@dataclass(frozen=True, slots=True)
class _Arm:
    name: str
    recorded: bool = False
    events: bool = False


#: The bare worker twice: how far the two differ is what this bench cannot tell from noise.
_ARMS: Final = (
    _Arm("bare"),
    _Arm("recorder", recorded=True),
    _Arm("events", events=True),
    _Arm("bare_again"),
)


def measure(rounds: int) -> dict[str, Any]:
    """Drain no-op squares through a worker of each kind in turn; return figures and raw rounds.

    A round starts new workers several times, in an order drawn by lot. Then every cycle gives each
    one block, in an order drawn by lot again. A ratio is that of the sums of all cycles of a start,
    against the mean of both bare workers; a figure is the median of all starts. The 95 % interval
    of the bounded one is a bootstrap over starts. All processes of a worker are on one core, and
    Redis and the bench on the others, where there are any and the system can do that.
    """
    with _aside() as core, RedisServer.start() as server, connect(server.url) as redis:
        settings = Settings.from_env({"POOLPROOF_REDIS_URL": server.url, "POOLPROOF_POOL": _POOL})
        _make_backlog(redis, settings)
        lot = random.Random(_SEED)  # noqa: S311  an order, not a secret
        raw = [_start(redis, settings, lot, core) for _ in range(rounds * _STARTS)]
    return {"bench": "recorder", "figures": _figures(raw), "rounds": raw}


def _figures(starts: list[list[_Cycle]]) -> dict[str, float]:
    def ratios(arm: str, measure: str) -> list[float]:
        return [_sum(start, arm, measure) / _bare(start, measure) for start in starts]

    def ratio(arm: str, measure: str) -> float:
        return median(ratios(arm, measure))

    bounded = ratios("recorder", "cpu_s_per_task")
    sure = bootstrap((bounded,), np.median, method="percentile", rng=_SEED).confidence_interval
    return {
        "cpu_ratio_to_bare": median(bounded),
        "cpu_ratio_low": float(sure.low),
        "cpu_ratio_high": float(sure.high),
        "throughput_ratio_to_bare": 1 / ratio("recorder", "s_per_task"),
        "events_cpu_ratio_to_bare": ratio("events", "cpu_s_per_task"),
        "events_throughput_ratio_to_bare": 1 / ratio("events", "s_per_task"),
        "again_cpu_ratio_to_bare": ratio("bare_again", "cpu_s_per_task"),
        "again_throughput_ratio_to_bare": 1 / ratio("bare_again", "s_per_task"),
        "bare_cpu_us_per_task": 1e6 * median(_bare(s, "cpu_s_per_task") / len(s) for s in starts),
        "bare_tasks_per_s": median(len(s) / _bare(s, "s_per_task") for s in starts),
    }


def _bare(start: list[_Cycle], measure: str) -> float:
    return (_sum(start, "bare", measure) + _sum(start, "bare_again", measure)) / 2


def _sum(start: list[_Cycle], arm: str, measure: str) -> float:
    return sum(cycle[arm][measure] for cycle in start)


def _make_backlog(redis: Redis, settings: Settings) -> None:
    work = Square("square")
    original = Original(make_app(settings), redis, settings.keys, settings.side, work.task)
    redis.lpush(_BACKLOG, *Template(original, work.arguments, 1).splice(range(_TASKS)))


@contextmanager
def _aside() -> Iterator[set[int]]:
    """Leave one core alone, and yield what workers may use: it, or any if there is no other."""
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else set()
    if len(usable) < 2:
        yield usable
        return
    core = {max(usable)}
    os.sched_setaffinity(0, usable - core)
    try:
        yield core
    finally:
        os.sched_setaffinity(0, usable)


def _start(redis: Redis, settings: Settings, lot: random.Random, core: set[int]) -> list[_Cycle]:
    with ExitStack() as stack:
        rings = Path(stack.enter_context(_ring_folder(settings)))
        workers = [
            stack.enter_context(_worker(redis, replace(settings, rings=rings), arm, core))
            for arm in lot.sample(_ARMS, len(_ARMS))
        ]
        return [_cycle(lot.sample(workers, len(workers))) for _ in range(_CYCLES)]


@contextmanager
def _ring_folder(settings: Settings) -> Iterator[str]:
    # In the same file system as the rings of any worker, most likely a tmpfs.
    with tempfile.TemporaryDirectory(prefix="poolproof-bench-", dir=settings.rings.parent) as name:
        yield name


def _cycle(workers: list[_Worker]) -> _Cycle:
    return {worker.arm.name: worker.drain() for worker in workers}


@contextmanager
def _worker(redis: Redis, settings: Settings, arm: _Arm, core: set[int]) -> Iterator[_Worker]:
    name = arm.name.replace("_", "-")
    own = replace(settings, side=name, name=f"{name}@bench", events=arm.events)
    own.ring_folder.mkdir()
    process = subprocess.Popen(
        leashed(command(own, recorded=arm.recorded)),
        env={**os.environ, **own.to_env()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        if core:
            os.sched_setaffinity(process.pid, core)
        worker = _Worker(arm, process, redis, own)
        worker.drain()  # it is ready when it has done this,
        worker.drain()  # and all of its slots have run something
        yield worker
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@dataclass(frozen=True, slots=True)
class _Worker:
    arm: _Arm
    process: subprocess.Popen[bytes]
    redis: Redis
    settings: Settings

    def drain(self) -> dict[str, float]:
        """Give it a block of tasks; return what each cost and took."""
        cpu_s, begin = self._cpu_s(), time.perf_counter()
        self.redis.copy(_BACKLOG, self.settings.keys.queue(self.settings.side))
        while self._has_work():
            self._check(begin)
            time.sleep(_POLL_S)
        wall_s = time.perf_counter() - begin
        time.sleep(_REST_S)
        return {
            "cpu_s_per_task": (self._cpu_s() - cpu_s) / _TASKS,
            "s_per_task": wall_s / _TASKS,
        }

    def _has_work(self) -> bool:
        keys, side = self.settings.keys, self.settings.side
        pipe = self.redis.pipeline(transaction=False)
        pipe.llen(keys.queue(side))
        pipe.hlen(keys.unacked(side))
        return any(pipe.execute())

    def _check(self, begin: float) -> None:
        if self.process.poll() is not None:
            raise WorkerError(f"The worker {self.arm.name!r} of the bench ended by itself.")
        if time.perf_counter() - begin > _DEADLINE_S:
            raise WorkerError(f"The worker {self.arm.name!r} of the bench does nothing.")

    def _cpu_s(self) -> float:
        main = psutil.Process(self.process.pid)
        return sum(map(_process_cpu_s, [main, *main.children(recursive=True)]))


def _process_cpu_s(process: psutil.Process) -> float:
    try:
        # clock_getcpuclockid(3) of Linux: to the nanosecond, where /proc has steps of 10 ms.
        return time.clock_gettime(~process.pid << 3 | 2)
    except OSError:
        times = process.cpu_times()
        return float(times.user + times.system)
