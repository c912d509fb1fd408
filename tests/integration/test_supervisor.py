"""A supervisor beside a real Celery, which is killed in every way that there is."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psutil
import pytest

from poolproof.infra.connection import connect
from poolproof.infra.redis_server import RedisServer
from poolproof_workers.contract import RECORD, Event
from poolproof_workers.faults.catalogue import FAULTS, OUTSIDE
from poolproof_workers.faults.task import FAULT
from poolproof_workers.supervisor import orders
from poolproof_workers.supervisor.ring_reader import RingReader
from tests.integration.history_reader import HistoryReader
from tests.integration.supervised import RUN, Supervised

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from redis import Redis

POOLS = ("prefork:2", "spawn:2", "threads:2", "solo", "gevent:2")
INSIDE = tuple(fault.name for fault in FAULTS if fault.where == "inside")


class Make:
    """Makes supervised workers, and ends those that still run after the test."""

    def __init__(self, redis: Redis, url: str, folder: Path, eventually: Any) -> None:
        self._arguments = (redis, url, folder, eventually)
        self.made: list[Supervised] = []

    def __call__(self, pool: str = "prefork:2", **env: str) -> Supervised:
        self.made.append(Supervised(*self._arguments, POOL=pool, **env))
        return self.made[-1]


@pytest.fixture
def supervise(
    redis: Redis, redis_server: RedisServer, tmp_path: Path, eventually: Any
) -> Iterator[Make]:
    make = Make(redis, redis_server.url, tmp_path, eventually)
    yield make
    for worker in make.made:
        if worker.process and worker.process.poll() is None:
            worker.process.kill()
            worker.process.wait()


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [each for each in processes if is_alive(each)]


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it went between the two
        return False


def said_ready(worker: Supervised) -> bool:
    registration: bytes | None = worker.redis.get(worker.keys.worker(worker.settings.name))
    return b'"ready": true' in (registration or b"")


def rings(worker: Supervised) -> list[Path]:
    return list(worker.settings.rings.rglob("*.ring"))


def recorded(worker: Supervised, event: Event) -> set[int]:
    """Numbers of the tasks of which the rings hold this event, shipped or not."""
    found: set[int] = set()
    for ring in rings(worker):
        with RingReader(ring) as reader:
            _, records = reader.read(1, reader.capacity)
        found |= {each[0] for each in RECORD.iter_unpack(records) if each[6] == event}
    return found


def test_keys_that_hold_no_text_of_ours_stop_no_worker(supervise: Make) -> None:
    worker = supervise("solo")
    worker.redis.set(worker.keys.run, b"\xff\xfe")
    worker.redis.set(worker.keys.flush, b"\xff")
    worker.start()
    worker.until(lambda _: said_ready(worker))

    worker.begin_run()

    assert worker.until(lambda seen: seen.named("hello"))
    assert worker.stop() == 0


@pytest.mark.parametrize("pool", POOLS)
def test_every_record_arrives_once_and_a_stop_leaves_nothing(supervise: Make, pool: str) -> None:
    worker = supervise(pool)
    worker.begin_run()
    worker.start().ready()
    children = worker.tree()
    worker.send_squares(range(300))
    seen = worker.history
    worker.until(lambda seen: len(seen.numbers(Event.SUCCEEDED)) == 300)
    worker.redis.set(worker.keys.flush, "token")
    flushed = worker.until(lambda seen: seen.named("flushed", token="token"))[0]
    sample = worker.until(lambda seen: seen.named("sample"))[-1]

    code = worker.stop()

    assert code == 0
    last_word = seen.read().named("flushed")[-1]
    assert (last_word["token"], last_word["pid"], last_word["alive"]) == (None, None, [])
    assert last_word["rings"] == {name: seen.highest[name] for name in flushed["rings"]}
    assert {op["ring"]: op["written"] for op in seen.named("process-gone")} == last_word["rings"]
    assert not alive(children)
    assert not worker.settings.rings.exists()
    assert not list(worker.redis.scan_iter(worker.keys.worker("*")))
    for event in (Event.RECEIVED, Event.STARTED, Event.SUCCEEDED):
        assert seen.numbers(event) == dict.fromkeys(range(300), 1)
    assert {r.detail for r in seen.records if r.number == 12 and r.event is Event.SUCCEEDED} == {
        144
    }
    assert not seen.gaps
    assert not seen.sent_twice
    assert flushed["rings"] == {name: seen.highest[name] for name in flushed["rings"]}
    assert flushed["pid"] in flushed["alive"]
    assert sample["pss_bytes"] > sample["ring_bytes"] > 0
    assert {"hello", "worker-up", "worker-ready", "clock"} <= {op["op"] for op in seen.ops}
    assert [op["op"] for op in seen.ops[:2]] == ["clock", "hello"]


@pytest.mark.parametrize("pool", POOLS)
def test_a_killed_worker_is_reported_with_its_signal_and_restarted(
    supervise: Make, pool: str
) -> None:
    worker = supervise(pool)
    worker.begin_run()
    first = worker.start().ready()["pid"]
    slots = worker.settings.pool.concurrency
    worker.send_squares(range(slots), sleep_s=60)
    worker.running(slots)

    os.kill(first, signal.SIGKILL)

    second = worker.ready(life=2)["pid"]
    seen = worker.history
    (ended,) = seen.named("worker-exit")
    assert (ended["signal"], ended["code"], ended["asked"]) == (signal.SIGKILL, None, False)
    assert (ended["life"], ended["pid"]) == (1, first)
    assert seen.named("worker-restart") == seen.named(
        "worker-restart", life=2, delay_s=0.1, by="supervisor"
    )
    assert second != first
    # What was running at that moment is known: begun, and never ended.
    assert seen.numbers(Event.STARTED) == dict.fromkeys(range(slots), 1)
    assert not seen.numbers(Event.SUCCEEDED)
    gone = {op["pid"] for op in seen.named("process-gone")}
    assert gone == {record.pid for record in seen.records}
    worker.send_squares(range(100, 103))
    worker.until(lambda seen: len(seen.numbers(Event.SUCCEEDED)) == 3)


def test_a_segfault_costs_prefork_a_child_and_threads_the_worker(supervise: Make) -> None:
    prefork = supervise("prefork:2", ALLOW_FAULTS="1", NAME="a@here", SIDE="a")
    threads = supervise("threads:2", ALLOW_FAULTS="1", NAME="b@here", SIDE="b")
    prefork.begin_run()
    for worker in (prefork, threads):
        worker.start()
    mains = [worker.ready()["pid"] for worker in (prefork,)]
    seen = prefork.history  # there is one stream: it has what both say
    prefork.until(lambda seen: seen.named("worker-ready", worker="b@here"))
    for number, worker in enumerate((prefork, threads)):
        worker.send_task(FAULT, number, "segfault", 0.0)

    prefork.until(lambda seen: seen.named("worker-exit", worker="b@here"))
    prefork.until(lambda seen: seen.named("process-gone", worker="a@here"))
    prefork.send_squares(range(10, 12))
    prefork.until(lambda seen: len(seen.numbers(Event.SUCCEEDED)) == 2)

    assert seen.named("worker-exit")[0]["signal"] == signal.SIGSEGV
    assert seen.named("worker-exit", worker="a@here") == []
    assert seen.named("process-gone", worker="a@here")[0]["pid"] not in mains
    assert seen.numbers(Event.FAULT) == {0: 1, 1: 1}
    prefork.until(lambda seen: seen.numbers(Event.REPORTED) == {0: 1})


@pytest.mark.parametrize("pool", POOLS)
def test_a_killed_supervisor_leaves_no_orphan_and_its_successor_ships_the_rest(
    supervise: Make, pool: str, eventually: Any
) -> None:
    worker = supervise(pool)
    worker.begin_run()
    first = worker.start().ready()
    celery = worker.tree()
    slots = worker.settings.pool.concurrency
    worker.send_squares(range(50))
    worker.send_squares(range(50, 50 + slots), sleep_s=60)
    worker.until(lambda seen: len(seen.numbers(Event.SUCCEEDED)) == 50)
    worker.running(slots)
    # What comes from here on is in the rings only.
    os.kill(worker.pid, signal.SIGSTOP)
    eventually(lambda: psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED)
    # All slots are busy: solo takes in none, and gevent one, which it holds until one is free.
    unshipped = range(100, 100 + {"solo": 0, "gevent:2": 1}.get(pool, 2))
    worker.send_squares(unshipped)
    # Not when the queue is empty: a message that was taken from it may not be recorded yet.
    eventually(lambda: recorded(worker, Event.RECEIVED) >= set(unshipped))

    worker.send(signal.SIGKILL)
    worker.ends()
    eventually(lambda: not alive(celery))
    left = rings(worker)
    second = worker.start().ready(life=2)

    seen = worker.history
    assert left
    assert second["pid"] != first["pid"]
    exits = seen.named("worker-exit")
    assert [(op["life"], op["pid"], op["asked"]) for op in exits] == [(1, first["pid"], False)]
    assert {op["ring"].rpartition("/")[2] for op in seen.named("process-gone")} == {
        ring.stem for ring in left
    }
    assert not seen.gaps
    assert seen.numbers(Event.STARTED) == dict.fromkeys(range(50 + slots), 1)
    assert seen.numbers(Event.RECEIVED) == dict.fromkeys([*range(50 + slots), *unshipped], 1)
    eventually(lambda: seen.read() and not set(left) & set(rings(worker)))
    assert worker.stop() == 0


def test_what_a_redis_forgot_that_was_killed_is_sent_again(
    supervise: Make, redis_server: RedisServer, eventually: Any
) -> None:
    worker = supervise("threads:2")
    worker.begin_run()
    worker.start().ready()
    worker.send_squares(range(40))
    worker.until(lambda seen: len(seen.numbers(Event.SUCCEEDED)) == 40)
    seen = worker.history
    worker.send_squares(range(40, 80))
    # All done and in the stream, but nobody takes them out. An empty queue would not say so: what
    # Redis gave away and the worker has not yet read is lost with Redis.
    beside = HistoryReader(worker.redis, worker.keys)
    eventually(lambda: beside.read(save=False).numbers(Event.SUCCEEDED).keys() >= {*range(40, 80)})
    before = dict(seen.highest)

    os.kill(redis_server.pid, signal.SIGKILL)
    with reborn(redis_server) as redis:
        seen.redis = worker.redis = redis
        seen.begin_again()
        redis.hset(worker.keys.saved, mapping=before)
        worker.begin_run()
        worker.until(lambda seen: len(seen.numbers(Event.SUCCEEDED)) == 80, 40)

        assert seen.numbers(Event.STARTED) == dict.fromkeys(range(80), 1)
        assert not seen.gaps
        assert len(seen.named("hello")) == 1
        assert not seen.named("worker-exit")
        assert worker.stop() == 0


class reborn:  # noqa: N801
    """A new, empty Redis where one was killed; a client of it."""

    def __init__(self, dead: RedisServer) -> None:
        self._parts = urlsplit(dead.url)
        self._url = dead.url

    def __enter__(self) -> Redis:
        assert self._parts.port
        assert self._parts.password
        self._server = RedisServer.start(ports=[self._parts.port])
        with connect(self._server.url) as redis:
            redis.config_set("requirepass", self._parts.password)
        self._client = connect(self._url)
        return self._client

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._server.close()


def test_a_stream_that_was_deleted_is_filled_again(supervise: Make, eventually: Any) -> None:
    worker = supervise("solo")
    worker.begin_run()
    worker.start().ready()
    worker.send_squares(range(20))
    worker.until(lambda seen: len(seen.numbers(Event.SUCCEEDED)) == 20)
    seen = worker.history
    # It has looked at the stream, so it can see that there is less of it.
    eventually(lambda: said_ready(worker))
    worker.send_squares(range(20, 40))
    beside = HistoryReader(worker.redis, worker.keys)
    eventually(lambda: beside.read(save=False).numbers(Event.SUCCEEDED).keys() >= {*range(20, 40)})
    worker.redis.delete(worker.keys.history)
    seen.begin_again()

    worker.until(lambda seen: len(seen.numbers(Event.SUCCEEDED)) == 40)

    # What it goes on to say of itself may be there before it sees that the stream is another.
    assert not [ring for ring, _, _ in seen.gaps if "/" in ring]
    assert seen.numbers(Event.STARTED) == dict.fromkeys(range(40), 1)


def test_what_was_recorded_before_a_run_stays_out_of_it(supervise: Make, eventually: Any) -> None:
    worker = supervise("solo")
    worker.start()
    eventually(lambda: said_ready(worker))
    worker.send_squares(range(10))
    worker.send_squares(range(10, 11), sleep_s=3.0)
    worker.send_squares(range(11, 12))
    # Solo takes the last one only when the one before has ended: the ten are 3 s old.
    eventually(lambda: worker.redis.llen(worker.keys.queue("tested")) == 0)
    assert not worker.redis.exists(worker.keys.history)

    worker.begin_run()
    hello = worker.until(lambda seen: seen.named("hello"))[0]
    worker.send_squares(range(20, 25))
    worker.until(lambda seen: set(range(20, 25)) <= seen.numbers(Event.SUCCEEDED).keys())

    seen = worker.history
    ((ring, base),) = hello["rings"].items()
    assert base >= 30
    assert hello["pid"] is not None
    assert seen.gaps == [(ring, 1, base)]
    assert not set(range(10)) & seen.numbers(Event.RECEIVED).keys()

    worker.begin_run("20250102-030406-00000001")
    again = worker.until(lambda seen: seen.named("hello")[1:])[0]
    assert again["rings"][ring] >= base + 15


def test_orders_do_faults_from_outside_and_say_what_they_hit(supervise: Make) -> None:
    worker = supervise("prefork:2", ALLOW_FAULTS="1")
    worker.begin_run()
    main = worker.start().ready()["pid"]
    worker.send_squares(range(1), sleep_s=60)
    worker.running(1)
    seen = worker.history
    busy = next(record.pid for record in seen.records if record.event is Event.STARTED)

    worker.order("fault", fault="kill-child")
    worker.until(lambda seen: seen.named("process-gone", pid=busy))
    worker.order("fault", fault="term-worker")
    worker.ready(life=2)
    worker.order("fault", fault="kill-worker")
    worker.ready(life=3)

    faults = [(op["fault"], op["pid"], op["applied"]) for op in seen.named("fault")]
    exits = [(op["code"], op["signal"], op["asked"]) for op in seen.named("worker-exit")]
    assert faults[:2] == [("kill-child", busy, True), ("term-worker", main, True)]
    assert faults[2][0] == "kill-worker"
    assert exits == [(0, None, False), (None, signal.SIGKILL, False)]
    worker.until(lambda seen: seen.numbers(Event.REPORTED) == {0: 1})


def test_a_worker_that_faults_end_before_it_is_ready_is_started_as_often(supervise: Make) -> None:
    worker = supervise("solo", ALLOW_FAULTS="1")
    worker.begin_run()
    worker.start()
    for life in range(1, 5):
        worker.until(lambda seen, life=life: seen.named("worker-up", life=life))
        worker.order("fault", fault="kill-worker")
        worker.until(lambda seen, life=life: seen.named("worker-exit", life=life))

    worker.ready(life=5)

    assert len(worker.history.named("fault", applied=True)) == 4
    assert len(worker.history.named("worker-ready")) < 4


def test_a_fault_that_cannot_be_done_is_answered_with_the_reason(supervise: Make) -> None:
    worker = supervise("threads:2", ALLOW_FAULTS="1")
    forbidding = supervise("solo", NAME="solo@here", SIDE="solo")
    worker.begin_run()
    worker.start().ready()
    forbidding.start()
    worker.until(lambda seen: seen.named("worker-ready", worker="solo@here"))

    worker.order("fault", fault="kill-child")
    worker.order("fault", fault="no-such")
    forbidding.order("fault", fault="kill-worker")
    worker.until(lambda seen: len(seen.named("fault")) == 3)

    seen = worker.history
    assert {op["applied"] for op in seen.named("fault")} == {False}
    reasons = {op["fault"]: op["reason"] for op in seen.named("fault")}
    assert "no child" in reasons["kill-child"]
    assert "kill-child" in reasons["no-such"]
    assert "ALLOW_FAULTS" in reasons["kill-worker"]


@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_that_allows_no_faults_does_none_that_is_asked_of_it(
    supervise: Make, pool: str
) -> None:
    worker = supervise(pool)
    worker.begin_run()
    main = worker.start().ready()["pid"]

    for number, name in enumerate(INSIDE):
        worker.send_task(FAULT, number, name)
    for name in OUTSIDE:
        worker.order("fault", fault=name)
    worker.until(lambda seen: len(seen.named("fault")) == len(OUTSIDE))
    worker.until(lambda seen: len(seen.numbers(Event.FAILED)) == len(INSIDE))
    worker.send_squares(range(len(INSIDE), len(INSIDE) + 2))
    worker.until(lambda seen: seen.numbers(Event.SUCCEEDED).total() == 2)

    seen = worker.history
    assert seen.numbers(Event.FAULT).total() == 0
    assert not any(op["applied"] for op in seen.named("fault"))
    assert all("POOLPROOF_ALLOW_FAULTS=1" in op["reason"] for op in seen.named("fault"))
    assert seen.named("worker-exit") == seen.named("process-gone") == []
    assert worker.tree()[0].pid == main
    assert "POOLPROOF_ALLOW_FAULTS=1" in worker.printed


def test_orders_restart_it_with_other_settings_and_stop_it(supervise: Make) -> None:
    worker = supervise("threads:2")
    worker.begin_run()
    worker.start().ready()

    worker.order("restart", settings={"POOLPROOF_POOL": "threads:3", "POOLPROOF_POLICY": "late"})
    worker.ready(life=2)
    worker.order("restart", settings={"POOLPROOF_NAME": "other@here"})
    worker.order("restart", settings={"POOLPROOF_POOL": "threads:0"})
    worker.order("dance")
    harmful = ("POOLPROOF_POOL", "custom:1=this:Zen"), ("POOLPROOF_INCLUDE", "this")
    other = ("PYTHONPATH", "/"), ("POOLPROOF_BROKER_URL", worker.settings.redis_url)
    for name, value in (*harmful, *other):
        worker.order("restart", settings={name: value})
        kept = {"run": RUN, "settings": {name: value}}
        worker.redis.hset(worker.keys.ordered, worker.settings.name, json.dumps(kept))
        assert orders.read(worker.redis, worker.keys, worker.settings.name, RUN) == {}
    worker.order("stop", run=None)
    worker.order("stop")

    assert worker.ends() == 0
    seen = worker.history.read()
    assert [op["asked"] for op in seen.named("worker-exit")] == [True, True]
    assert [op["delay_s"] for op in seen.named("worker-restart")] == [0.0]
    assert seen.named("hello")[1]["concurrency"] == 3
    assert seen.named("worker-up", life=2)[0]["settings"]["POOLPROOF_POLICY"] == "late"
    assert worker.printed.count("does not obey") == 7
    assert worker.printed.count("obeys only the run") == 1
    assert "Zen of Python" not in worker.printed


def test_a_restart_at_once_kills_an_idle_worker_and_lets_a_busy_one_finish(supervise: Make) -> None:
    worker = supervise("prefork:2")
    worker.begin_run()
    worker.start().ready()

    worker.order("restart", settings={}, at_once=True)
    worker.ready(life=2)
    worker.send_squares(range(1), sleep_s=0.5)
    worker.running(1)
    worker.order("restart", settings={}, at_once=True)
    worker.ready(life=3)

    assert worker.stop() == 0
    seen = worker.history.read()
    exits = seen.named("worker-exit")
    assert [(op["signal"], op["asked"]) for op in exits] == [(9, True), (None, True), (None, True)]
    assert [op["stop_s"] is None for op in exits] == [True, False, False]
    mingles = ["--without-mingle" not in op["command"] for op in seen.named("worker-up")]
    assert mingles == [True, False, True]
    assert seen.numbers(Event.SUCCEEDED) == {0: 1}


@pytest.mark.parametrize(("run", "timeout_s"), [(RUN, 7.0), ("20250102-030405-00000bad", 3600.0)])
def test_a_successor_goes_on_with_what_its_own_run_had_ordered(
    supervise: Make, run: str, timeout_s: float
) -> None:
    worker = supervise("solo")
    known = {"run": run, "settings": {"POOLPROOF_VISIBILITY_TIMEOUT_S": "7"}}
    worker.redis.hset(worker.keys.ordered, worker.settings.name, json.dumps(known))
    worker.begin_run()
    worker.start().ready()

    assert worker.history.named("hello")[-1]["visibility_timeout_s"] == timeout_s
    assert worker.stop() == 0


def test_what_a_run_had_ordered_ends_with_it(supervise: Make) -> None:
    worker = supervise("threads:2")
    worker.begin_run()
    own = worker.start().ready() and worker.history.named("hello")[0]["settings"]
    worker.order("restart", settings={"POOLPROOF_PREFETCH": "7"})
    worker.ready(life=2)
    assert worker.history.named("hello")[-1]["settings"]["POOLPROOF_PREFETCH"] == "7"

    worker.begin_run("20250102-030406-00000001")
    worker.ready(life=3)
    (hello,) = worker.history.named("hello", life=3)
    assert hello["settings"] == own
    worker.order("restart", settings={})
    worker.ready(life=4)

    assert worker.history.named("worker-up", life=4)[0]["settings"] == own
    assert worker.stop() == 0


def test_an_order_of_a_run_that_is_over_is_not_obeyed(supervise: Make) -> None:
    worker = supervise("solo")
    worker.begin_run()
    worker.start().ready()

    worker.order("stop", run="20250102-030404-0000dead")
    worker.order("effort", run=RUN)
    worker.until(lambda seen: seen.named("effort"))

    assert worker.stop() == 0
    assert len(worker.history.read().named("worker-exit")) == 1


def test_what_is_not_saved_is_left_to_a_successor_where_redis_names_no_run(
    supervise: Make, eventually: Any
) -> None:
    worker = supervise("solo")
    worker.begin_run()
    worker.start().ready()
    worker.redis.delete(worker.keys.run)
    worker.send_squares(range(5))
    eventually(lambda: recorded(worker, Event.SUCCEEDED) == {*range(5)})

    assert worker.stop() == 0
    assert rings(worker)

    worker.begin_run()
    worker.start().ready(life=2)
    worker.until(lambda seen: len(seen.numbers(Event.SUCCEEDED)) == 5)
    assert worker.stop() == 0


def test_ctrl_c_ends_it_and_a_second_one_does_not_wait(supervise: Make) -> None:
    worker = supervise("prefork:2")
    worker.begin_run()
    worker.start().ready()
    celery = worker.tree()
    worker.send_squares(range(2), sleep_s=60)
    worker.running(2)

    worker.send(signal.SIGINT)
    worker.until(lambda _: "Warm shutdown" in worker.printed)
    worker.send(signal.SIGINT)

    assert worker.ends() == 130
    assert not alive(celery)
    assert worker.history.read().named("worker-exit")[0]["asked"]


def test_a_worker_that_is_not_to_be_restarted_takes_its_supervisor_along(supervise: Make) -> None:
    worker = supervise("solo", RESTART_DELAY_S="never")
    worker.begin_run()
    pid = worker.start().ready()["pid"]

    os.kill(pid, signal.SIGKILL)

    assert worker.ends() == 4
    assert worker.printed.splitlines()[-1] == (
        "poolproof: Celery of tested@here ended by SIGKILL and is not to be restarted"
        " (POOLPROOF_RESTART_DELAY_S)."
    )
    assert worker.history.read().named("worker-exit")[0]["signal"] == signal.SIGKILL


def test_two_supervisors_cannot_have_one_name(supervise: Make) -> None:
    first, second = supervise("solo"), supervise("solo")
    first.begin_run()
    first.start().ready()

    assert second.start().ends() == 4
    assert "poolproof: A worker tested@here runs here already." in second.printed
    assert first.stop() == 0


@pytest.mark.parametrize(
    ("env", "code", "line"),
    [
        ({"POOLPROOF_POOL": "nonsense:2"}, 2, "There is no pool 'nonsense'"),
        ({"POOLPROOF_POOL": "threads:0"}, 2, "threads takes from 1"),
        ({"POOLPROOF_POOL": "prefork:abc"}, 2, "whole number of slots"),
        ({"POOLPROOF_REDIS_URL": "redis://127.0.0.1:1/0"}, 3, "No Redis answers at 127.0.0.1:1"),
        ({"POOLPROOF_RINGS": "/dev/null/rings"}, 5, "The ring folder /dev/null/rings"),
    ],
)
def test_what_is_not_right_at_the_start_is_said_in_one_line(
    supervise: Make, env: dict[str, str], code: int, line: str
) -> None:
    worker = supervise("solo")
    worker.environ |= env

    assert worker.start().ends() == code
    (printed,) = worker.printed.splitlines()
    assert printed.startswith("poolproof: ")
    assert line in printed


def test_a_wrong_password_is_said_at_once_and_not_printed(
    supervise: Make, redis_server: RedisServer
) -> None:
    worker = supervise("solo")
    parts = urlsplit(redis_server.url)
    worker.environ["POOLPROOF_REDIS_URL"] = f"redis://:secret@{parts.hostname}:{parts.port}/0"

    assert worker.start().ends() == 3
    (printed,) = worker.printed.splitlines()
    assert f"Redis at {parts.hostname}:{parts.port} refuses us" in printed
    assert "secret" not in printed


def test_the_registration_says_what_it_is_and_goes_with_the_worker(
    supervise: Make, eventually: Any
) -> None:
    worker = supervise("threads:3", POLICY="late")
    key = worker.keys.worker(worker.settings.name)
    worker.start()

    text = eventually(lambda: worker.redis.get(key))
    ttl = worker.redis.ttl(key)
    worker.send(signal.SIGTERM)
    worker.ends()

    assert b'"pool": "threads:3"' in text
    assert 0 < ttl <= 6
    assert not worker.redis.exists(key)
