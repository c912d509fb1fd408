"""Real Celery workers run spliced messages like their own, also when they come a second time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest

from poolproof.history.file import RECORD_DTYPE
from poolproof.produce import works
from poolproof.produce.plan import BlockSpec
from poolproof.produce.producer import Producer
from poolproof_workers.app import make_app
from poolproof_workers.contract import RING_SUFFIX, Event, parse_task_id
from poolproof_workers.settings import Policy, Settings
from poolproof_workers.supervisor.celery_process import command
from poolproof_workers.supervisor.ring_reader import RingReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from redis import Redis

    from poolproof.infra.redis_server import RedisServer
    from tests.conftest import Eventually

TAG = 0x0BADCAFE
POOLS = ["prefork:2", "spawn:2", "threads:2", "solo", "gevent:2"]
POLICIES = ["early", "late"]


@pytest.fixture(params=POOLS)
def pool(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=POLICIES)
def settings(
    request: pytest.FixtureRequest, pool: str, redis_server: RedisServer, tmp_path: Path
) -> Settings:
    made = Settings.from_env(
        {
            "POOLPROOF_POOL": pool,
            "POOLPROOF_POLICY": request.param,
            "POOLPROOF_REDIS_URL": redis_server.url,
            "POOLPROOF_RINGS": str(tmp_path),
            "POOLPROOF_VISIBILITY_TIMEOUT_S": "1",
            "POOLPROOF_RESTORE_INTERVAL_S": "0.2",
            "POOLPROOF_RESTORE_THROTTLE": "1",
        }
    )
    made.ring_folder.mkdir()
    return made


def patient(settings: Settings) -> Settings:
    """The same without a look at what has waited for too long."""
    return replace(settings, visibility_timeout_s=3600.0, restore_interval_s=3600.0)


@pytest.fixture
def producer(settings: Settings, redis: Redis) -> Producer:
    return Producer(redis, settings.keys, make_app(settings), TAG)


@contextmanager
def celery_worker(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    worker = subprocess.Popen(
        command(settings),
        env={**os.environ, **settings.to_env()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield worker
    finally:
        with suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()


def records(settings: Settings) -> np.ndarray[Any, Any]:
    found = []
    for path in settings.ring_folder.glob(f"*{RING_SUFFIX}"):
        with RingReader(path) as reader:
            found.append(np.frombuffer(reader.read(1, reader.capacity)[1], RECORD_DTYPE))
    return np.concatenate(found) if found else np.empty(0, RECORD_DTYPE)


def squares(settings: Settings) -> dict[int, int]:
    taken = records(settings)
    done = taken[taken["event"] == Event.SUCCEEDED]
    return dict(zip(done["number"].tolist(), done["detail"].tolist(), strict=True))


def ports(pid: int) -> set[str]:
    """Addresses from which a process speaks with Redis, and whatever else."""
    connections = psutil.Process(pid).net_connections()
    return {f"{each.laddr.ip}:{each.laddr.port}" for each in connections}


def numbers(settings: Settings, event: Event) -> set[int]:
    taken = records(settings)
    return set(taken["number"][taken["event"] == event].tolist())


def left(redis: Redis, settings: Settings) -> set[int]:
    """Numbers of the tasks whose message the broker still holds."""
    waiting = redis.lrange(settings.keys.queue(settings.side), 0, -1)
    taken = [json.loads(each)[0] for each in redis.hvals(settings.keys.unacked(settings.side))]
    messages = [*map(json.loads, waiting), *taken]
    return {parse_task_id(message["headers"]["id"])[1] for message in messages}


def test_a_worker_runs_every_spliced_task_once_and_returns_its_square(
    settings: Settings, producer: Producer, redis: Redis, eventually: Eventually
) -> None:
    work = works.Square("square")
    with celery_worker(patient(settings)):
        producer.enqueue(BlockSpec(settings.side, work.text, 105), work)
        eventually(lambda: len(squares(settings)) == 105, 60.0)
        eventually(lambda: not left(redis, settings))

    assert squares(settings) == {number: number * number for number in range(105)}
    events = Counter(records(settings)["event"].tolist())
    assert events == {Event.RECEIVED: 105, Event.STARTED: 105, Event.SUCCEEDED: 105}


def test_spliced_tasks_of_a_killed_worker_come_back_and_run(
    settings: Settings, producer: Producer, redis: Redis, eventually: Eventually
) -> None:
    work, slots = works.Square("sleep:2s", sleep_s=2.0), settings.pool.concurrency
    # Solo takes no message while it runs a task. Elsewhere one more is prefetched: wait for it, as
    # a message is in no list between BRPOP and `unacked`.
    taken = slots if settings.pool.name == "solo" else slots + 1
    with celery_worker(patient(settings)) as worker:
        sent = producer.enqueue(BlockSpec(settings.side, work.text, slots + 1), work)
        eventually(lambda: len(numbers(settings, Event.STARTED)) >= slots, 60.0)
        eventually(lambda: len(numbers(settings, Event.RECEIVED)) >= taken)
        connections = ports(worker.pid)
        assert connections
        worker.kill()
        worker.wait()
    # What it had sent before, like an acknowledgement, Redis may not have read yet.
    eventually(lambda: connections.isdisjoint(c["addr"] for c in redis.client_list()))
    ended, stranded = squares(settings).keys(), left(redis, settings)
    # An early acknowledgement may be there or not: on solo it comes when the task has ended.
    assert stranded
    if settings.policy is Policy.LATE:
        assert stranded | ended == set(sent.numbers)

    with celery_worker(settings):
        eventually(lambda: squares(settings).keys() == stranded | ended, 60.0)
        eventually(lambda: not left(redis, settings))

    assert squares(settings) == {number: number**2 for number in stranded | ended}
