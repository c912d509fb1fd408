"""Supervisors of this machine, started and kept for a run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from poolproof.infra.workers import LocalFleet, registered
from poolproof_workers.errors import RedisUnreachable, WorkerError
from poolproof_workers.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from poolproof.infra.redis_server import RedisServer

_OWNER = """
import os, sys, time
from poolproof.infra.workers import LocalFleet
from poolproof_workers.settings import Settings
with LocalFleet([Settings.from_env(os.environ)]) as fleet:
    print(*fleet.pids.values(), flush=True)
    time.sleep(600)
"""


def settings(server: RedisServer, folder: Path, pool: str, **env: str) -> Settings:
    variables = {"POOL": pool, "REDIS_URL": server.url, "RINGS": str(folder / "rings")} | env
    return Settings.from_env({f"POOLPROOF_{name}": value for name, value in variables.items()})


def test_a_fleet_registers_and_leaves_nothing(
    redis: Redis, redis_server: RedisServer, tmp_path: Path, eventually: Any
) -> None:
    workers = [settings(redis_server, tmp_path, pool) for pool in ("solo", "threads:2")]
    keys = workers[0].keys

    with LocalFleet(workers, logs=tmp_path) as fleet:
        eventually(lambda: len(ready(redis, workers[0])) == 2, 60)
        seen = registered(redis, keys)
        processes = [psutil.Process(pid) for pid in fleet.pids.values()]
        processes += [psutil.Process(each["celery_pid"]) for each in seen.values()]

    assert seen.keys() == set(fleet.names)
    assert [seen[each.name]["pool"] for each in workers] == ["solo", "threads:2"]
    assert not [each for each in processes if each.is_running()]
    assert not registered(redis, keys)
    assert not (tmp_path / "rings").exists()
    assert "Warm shutdown" in (tmp_path / f"{fleet.names[0]}.log").read_text()


def test_a_killed_supervisor_is_started_again_a_few_times(
    redis: Redis, redis_server: RedisServer, tmp_path: Path, eventually: Any
) -> None:
    worker = settings(redis_server, tmp_path, "solo")

    with LocalFleet([worker]) as fleet:
        (first,) = fleet.pids.values()
        os.kill(first, signal.SIGKILL)
        (second,) = eventually(lambda: fleet.check() or others(fleet, first))
        eventually(lambda: ready(redis, worker), 60)
        with pytest.raises(WorkerError, match="for the 4th time"):
            eventually(lambda: kill_all(fleet) or fleet.check())

    assert second != first


def test_a_supervisor_that_gives_up_says_why(
    redis_server: RedisServer, tmp_path: Path, eventually: Any
) -> None:
    worker = settings(redis_server, tmp_path, "solo", REDIS_URL="redis://127.0.0.1:1/0")

    with (
        LocalFleet([worker]) as fleet,
        pytest.raises(RedisUnreachable, match=r"^No Redis answers at 127\.0\.0\.1:1"),
    ):
        eventually(fleet.check, 60)


def test_nothing_outlives_a_killed_owner(
    redis: Redis, redis_server: RedisServer, tmp_path: Path, eventually: Any
) -> None:
    worker = settings(redis_server, tmp_path, "prefork:2")
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER],
        env=os.environ | worker.to_env(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout
    with owner.stdout as stdout:
        supervisor = psutil.Process(int(stdout.readline()))
    eventually(lambda: ready(redis, worker), 60)
    family = [supervisor, *supervisor.children(recursive=True)]

    owner.kill()
    owner.wait()

    assert len(family) >= 4  # the supervisor, Celery, and two children of it
    eventually(lambda: not [each for each in family if each.is_running()])


def ready(redis: Redis, worker: Settings) -> list[dict[str, Any]]:
    return [each for each in registered(redis, worker.keys).values() if each["ready"]]


def others(fleet: LocalFleet, pid: int) -> set[int]:
    return set(fleet.pids.values()) - {pid}


def kill_all(fleet: LocalFleet) -> None:
    for pid in fleet.pids.values():
        os.kill(pid, signal.SIGKILL)
