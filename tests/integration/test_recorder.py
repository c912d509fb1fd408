"""What is in the rings of real Celery workers, alive and dead, on every pool."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import defaultdict
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pytest

from poolproof_workers.app import make_app
from poolproof_workers.contract import RECORD, Event, Report, task_id
from poolproof_workers.errors import DISK
from poolproof_workers.recorder.recorder import READY_SUFFIX
from poolproof_workers.settings import Settings
from poolproof_workers.supervisor.celery_process import command
from poolproof_workers.supervisor.ring_reader import RingReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from celery import Celery
    from redis import Redis

    from poolproof.infra.redis_server import RedisServer
    from tests.conftest import Eventually

TAG = 0xBEEF
POOLS = [
    *("prefork:2", "spawn:2", "threads:2", "solo", "gevent:2"),
    "custom:2=tests.integration.custom_pools:Threads",
    "custom:2=tests.integration.custom_pools:Forks",
]
#: Pools that take in so many tasks beyond those that run: the others as many as they may prefetch.
TAKEN_IN = {"solo": 0, "gevent": 1}  # solo has no hand free; gevent waits with one in its hand
POISON = 1000


@dataclass(frozen=True)
class Worker:
    process: subprocess.Popen[str]
    settings: Settings

    def send(self, number: int, task: str = "poolproof.square", **arguments: Any) -> None:
        self.app.send_task(task, kwargs=arguments, task_id=task_id(TAG, number))

    @cached_property
    def app(self) -> Celery:
        return make_app(self.settings)

    def poison(self, fault: str) -> None:
        self.send(POISON, "poolproof.fault", name=fault, after_s=0.3)

    def events(self) -> dict[int, list[tuple[Event, int]]]:
        """Number -> (event, detail) of all records, in the order of their times."""
        by_number = defaultdict(list)
        for number, _, detail, _, _, _, event, _, _ in sorted(self._records(), key=lambda r: r[1]):
            by_number[number].append((Event(event), detail))
        return by_number

    def _records(self) -> list[tuple[int, ...]]:
        found: list[tuple[int, ...]] = []
        for path in self.settings.ring_folder.glob("*.ring"):
            with RingReader(path) as reader:
                _, records = reader.read(1, reader.capacity)
                found += [r for r in RECORD.iter_unpack(records) if r[3] == TAG]
        return found

    def slots(self) -> set[int]:
        """What the records of starts say that they ran in."""
        return {record[5] for record in self._records() if record[6] == Event.STARTED}

    def ended(self, number: int) -> Event | None:
        """The last that is known of a task."""
        events = self.events().get(number)
        return events[-1][0] if events else None

    def having(self, event: Event) -> set[int]:
        return {n for n, events in self.events().items() if event in {e for e, _ in events}}


@pytest.fixture
def start(redis_server: RedisServer, tmp_path: Path, eventually: Eventually) -> Any:
    @contextmanager
    def start(pool: str, **variables: str) -> Iterator[Worker]:
        environ = {
            "POOL": pool,
            "REDIS_URL": redis_server.url,
            "RINGS": str(tmp_path),
            "ALLOW_FAULTS": "1",
            **variables,
        }
        settings = Settings.from_env({f"POOLPROOF_{k}": v for k, v in environ.items()})
        settings.ring_folder.mkdir(exist_ok=True)
        with running(settings) as process:
            ready = settings.ring_folder / f"{process.pid}{READY_SUFFIX}"
            eventually(ready.exists, 30.0)
            yield Worker(process, settings)

    return start


@contextmanager
def running(settings: Settings) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command(settings),
        env={**os.environ, **settings.to_env()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    with process.stderr:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.parametrize("pool", POOLS)
def test_every_task_is_recorded_from_its_receipt_to_its_result(
    start: Any, pool: str, eventually: Eventually
) -> None:
    with start(pool) as worker:
        for number in range(50):
            worker.send(number, n=number)
        eventually(lambda: len(worker.having(Event.SUCCEEDED)) == 50)

        assert worker.events() == {
            n: [(Event.RECEIVED, 0), (Event.STARTED, 0), (Event.SUCCEEDED, n * n)]
            for n in range(50)
        }


@pytest.mark.parametrize("pool", POOLS)
def test_what_ran_when_the_worker_was_killed_is_in_the_rings(
    start: Any, pool: str, eventually: Eventually
) -> None:
    with start(pool) as worker:
        slots = worker.settings.pool.concurrency
        waiting = set(range(slots, slots + TAKEN_IN.get(worker.settings.pool.name, 2)))
        for number in range(slots + 2):
            worker.send(number, n=number, sleep_s=60)
        eventually(lambda: len(worker.having(Event.STARTED)) == slots)
        eventually(lambda: worker.having(Event.RECEIVED) == {*range(slots), *waiting})
        worker.process.kill()
        worker.process.wait()

        assert {n for n in worker.events() if worker.ended(n) is Event.STARTED} == set(range(slots))
        assert {n for n in worker.events() if worker.ended(n) is Event.RECEIVED} == waiting


@pytest.mark.parametrize("pool", ["prefork:2", "spawn:2"])
def test_a_segfault_in_a_child_is_reported_and_its_neighbour_ends(
    start: Any, pool: str, eventually: Eventually
) -> None:
    with start(pool) as worker:
        worker.send(0, n=3, sleep_s=1)
        worker.poison("segfault")
        # Celery looks for dead children every five seconds if it misses the end of one.
        eventually(lambda: worker.ended(POISON) is Event.REPORTED)
        eventually(lambda: worker.ended(0) is Event.SUCCEEDED)

        events = [event for event, _ in worker.events()[POISON]]
        assert events == [Event.RECEIVED, Event.STARTED, Event.FAULT, Event.REPORTED]
        assert worker.events()[POISON][-1][1] == Report.WORKER_LOST
        assert worker.process.poll() is None


@pytest.mark.parametrize("pool", ["threads:2", "solo", "gevent:2"])
def test_a_segfault_elsewhere_ends_all_that_ran_in_mid_record(start: Any, pool: str) -> None:
    with start(pool) as worker:
        if pool != "solo":
            worker.send(0, n=3, sleep_s=60)
        worker.poison("segfault")

        assert worker.process.wait(15) == -signal.SIGSEGV
        assert worker.ended(POISON) is Event.FAULT
        assert worker.ended(0) is (None if pool == "solo" else Event.STARTED)


@pytest.mark.parametrize("pool", ["threads:20", "gevent:20"])
def test_as_many_slots_are_seen_as_tasks_run_at_once(
    start: Any, pool: str, eventually: Eventually
) -> None:
    with start(pool) as worker:
        for number in range(60):
            worker.send(number, n=number, sleep_s=1.0)
        eventually(lambda: len(worker.having(Event.SUCCEEDED)) == 60, 30.0)

        assert len(worker.slots()) == 20
        if pool == "gevent:20":
            assert worker.slots() == set(range(1, 21))


def test_greenlets_that_run_one_after_the_other_are_one_slot(
    start: Any, eventually: Eventually
) -> None:
    with start("gevent:20") as worker:
        for number in range(5):
            worker.send(number, n=number)
            eventually(lambda number=number: worker.ended(number) is Event.SUCCEEDED)

        assert worker.slots() == {1}


def test_a_task_that_a_greenlets_time_limit_ends_gives_its_slot_back(
    start: Any, eventually: Eventually
) -> None:
    with start("gevent:1", TIME_LIMIT_S="0.5") as worker:
        worker.send(0, n=0, sleep_s=60)
        eventually(lambda: worker.ended(0) is Event.REPORTED)
        worker.send(1, n=1)
        eventually(lambda: worker.ended(1) is Event.SUCCEEDED)

        assert [event for event, _ in worker.events()[0]][-2:] == [Event.ABANDONED, Event.REPORTED]
        assert worker.events()[0][-1][1] == Report.TIME_LIMIT
        assert worker.slots() == {1}


def test_a_system_exit_under_threads_is_left_without_an_end(
    start: Any, eventually: Eventually
) -> None:
    with start("threads:2", POLICY="late") as worker:
        worker.send(0, n=3, sleep_s=1)
        worker.poison("system-exit")
        worker.send(1, n=4)
        eventually(lambda: {0, 1} <= worker.having(Event.SUCCEEDED))
        eventually(lambda: worker.ended(POISON) is Event.ABANDONED)

        assert worker.process.poll() is None
        active = eventually(lambda: worker.app.control.inspect(timeout=1).active())
        assert [task["id"] for task in active[worker.settings.name]] == [task_id(TAG, POISON)]


def test_a_lost_slot_that_celery_retries_for_is_recorded_as_a_retry(
    start: Any, eventually: Eventually
) -> None:
    with start("prefork:1", POLICY="late-retry", RETRY_DELAY_S="600") as worker:
        worker.poison("kill-self")
        eventually(lambda: (Event.RETRIED, Report.WORKER_LOST) in worker.events()[POISON])


def test_a_worker_restores_only_its_own_sides_messages(
    start: Any, redis: Redis, eventually: Eventually
) -> None:
    short = {"VISIBILITY_TIMEOUT_S": "1", "RESTORE_INTERVAL_S": "0.2", "RESTORE_THROTTLE": "1"}
    with start("threads:1", SIDE="left", **short) as worker:
        keys = worker.settings.keys
        worker.send(0, n=3)
        eventually(lambda: worker.ended(0) is Event.SUCCEEDED)
        strand(redis, worker, "left", 1)
        strand(redis, worker, "right", 2)
        eventually(lambda: worker.ended(1) is Event.SUCCEEDED)

        assert redis.hlen(keys.unacked("right")) == redis.zcard(keys.unacked_index("right")) == 1
        assert 2 not in worker.events()
        assert all(key.startswith(b"poolproof:") for key in redis.scan_iter())


def strand(redis: Redis, worker: Worker, side: str, number: int) -> None:
    """Put a message where a worker of `side` that died an hour ago would have left it."""
    keys, queue = worker.settings.keys, worker.settings.keys.queue("scratch")
    worker.app.send_task("poolproof.square", (5,), task_id=task_id(TAG, number), queue="scratch")
    message = json.loads(redis.rpop(queue))
    redis.hset(keys.unacked(side), f"tag-{number}", json.dumps([message, side, side]))
    redis.zadd(keys.unacked_index(side), {f"tag-{number}": time.time() - 3600})


def test_task_events_come_under_the_namespace(start: Any) -> None:
    heard: list[dict[str, Any]] = []
    with start("threads:1", EVENTS="1") as worker, worker.app.connection() as broker:
        receiver = worker.app.events.Receiver(broker, {"task-succeeded": heard.append})
        with receiver.consumer_context(wakeup=False) as (connection, _, _):
            # Only this subscribes; it returns when Redis says that it has.
            connection.drain_events(timeout=30)
            worker.send(7, n=3)
            while not heard:
                connection.drain_events(timeout=10)

    assert [event["uuid"] for event in heard] == [task_id(TAG, 7)]


def test_a_worker_that_cannot_record_does_not_start(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    settings = Settings.from_env(
        {"POOLPROOF_REDIS_URL": redis_server.url, "POOLPROOF_RINGS": str(tmp_path / "missing")}
    )
    with running(settings) as process:
        _, printed = process.communicate(timeout=30)

    assert process.returncode == DISK
    *_, last = printed.splitlines()
    assert "cannot open a ring" in last
    assert "Traceback" not in printed
