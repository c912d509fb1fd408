"""The collector over a real Redis: killed, restarted, and at the end of a run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from poolproof.collect.celery_inspect import Belief
from poolproof.collect.collector import Collector
from poolproof.history.file import read, records
from poolproof.infra.workers import registered
from poolproof_workers.contract import RECORD, Entry, Event, Keys, task_id
from poolproof_workers.errors import DISK, FAILED_CHECK, OK

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from redis import Redis

    from poolproof.infra.redis_server import RedisServer
    from tests.conftest import Eventually

_KEYS = Keys("collecting")
_TAG = 0xBEEF
_RUN = f"20260101-000000-{_TAG:08x}"
_SIDE = "threads:2"
_WORKER = "threads-2@test"


class Source:
    """Writes entries of one source, as producers and supervisors do."""

    def __init__(self, redis: Redis, worker: str, name: str) -> None:
        self._redis, self._worker, self.name = redis, worker, name
        self.sequence = 0

    def op(self, op: str, **fields: Any) -> None:
        self.sequence += 1
        body = {"op": op, "t_ns": time.monotonic_ns(), "boot": "b", **fields}
        self._add(Entry.of_op(self._worker, self.name, self.sequence, body))

    def records(self, *rows: tuple[int, Event]) -> Entry:
        data = b"".join(
            RECORD.pack(number, time.monotonic_ns(), 0, _TAG, 5, 6, event, 0, self.sequence + i)
            for i, (number, event) in enumerate(rows, 1)
        )
        entry = Entry("records", self._worker, self.name, self.sequence + 1, data)
        self.sequence += len(rows)
        self._add(entry)
        return entry

    def again(self, entry: Entry) -> None:
        self._add(entry)

    def _add(self, entry: Entry) -> None:
        self._redis.xadd(_KEYS.history, entry.fields())  # type: ignore[arg-type]


class Run:
    """A run with one worker that exists only in the history."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.producer = Source(redis, "producer", "producer#1-1")
        self.supervisor = Source(redis, _WORKER, f"{_WORKER}#2-1")
        self.ring = Source(redis, _WORKER, f"{_WORKER}/5-1")

    def begin(self, tasks: int, **block: Any) -> None:
        self.producer.op("run-begin", run=_RUN, tag=_TAG)
        life = {"worker": _WORKER, "side": _SIDE, "life": 1, "pid": 5}
        timing = {"visibility_timeout_s": 60.0, "sweep_s": 10.0}
        self.supervisor.op("hello", pool=_SIDE, concurrency=2, rings={}, **life, **timing)
        place = {"block": 0, "side": _SIDE, "first": 0, "count": tasks}
        if block:
            self.producer.op("block-begin", warmup=False, parameters={}, **place, **block)
        self.producer.op("enqueued", begin_ns=0, interval_ns=0, **place)

    def do(self, number: int) -> Entry:
        return self.ring.records(
            (number, Event.RECEIVED), (number, Event.STARTED), (number, Event.SUCCEEDED)
        )

    def flush(self, token: str) -> None:
        rings = {self.ring.name: self.ring.sequence}
        self.supervisor.op("flushed", worker=_WORKER, token=token, rings=rings, alive=[5], pid=5)

    def progress(self) -> dict[str, Any]:
        text: Any = self._redis.get(_KEYS.progress)
        found: dict[str, Any] = json.loads(text) if text else {}
        return found


@contextmanager
def _answering(redis: Redis, run: Run) -> Iterator[None]:
    """Answer every flush token, as a supervisor does."""
    over = threading.Event()

    def answer() -> None:
        seen = None
        while not over.wait(0.01):
            token: Any = redis.get(_KEYS.flush)
            if token and token != seen:
                seen = token
                run.flush(token.decode(errors="replace"))

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _start(server: RedisServer, runs: Path, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "poolproof", "collect", "--once", "--runs", str(runs), *words]
    environ = os.environ | {
        "POOLPROOF_REDIS_URL": server.url,
        "POOLPROOF_NAMESPACE": _KEYS.namespace,
    }
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _ops(folder: Path) -> list[dict[str, Any]]:
    return [entry.op for _, entry in read(folder / "history.log") if entry.kind == "op"]


def test_a_collector_killed_again_and_again_loses_and_doubles_nothing(
    redis_server: RedisServer, redis: Redis, tmp_path: Path, eventually: Eventually
) -> None:
    run, tasks = Run(redis), 3000
    collector = _start(redis_server, tmp_path)
    run.begin(tasks)
    folder = tmp_path / _RUN
    for number in range(tasks):
        entry = run.do(number)
        if number % 7 == 0:
            run.ring.again(entry)
        if number % 1000 == 500:
            # In the middle of its work: it has some of what is in the stream, and not all.
            eventually(lambda: redis.hget(_KEYS.saved, run.ring.name))
            collector.send_signal(signal.SIGKILL)
            collector.communicate()
            collector = _start(redis_server, tmp_path)
    run.producer.op("run-end", reason="done")
    with _answering(redis, run):
        out, err = collector.communicate(timeout=60)

    assert out.decode().strip() == str(folder), err.decode()
    taken = Counter(
        (entry.source, sequence)
        for _, entry in read(folder / "history.log")
        for sequence in range(entry.sequence, entry.sequence + entry.count)
    )
    assert set(taken.values()) == {1}
    assert sum(source == run.ring.name for source, _ in taken) == 3 * tasks
    succeeded = [
        number
        for _, entry in read(folder / "history.log")
        if entry.kind == "records"
        for number in records(entry)["number"].tolist()[2::3]
    ]
    assert sorted(succeeded) == list(range(tasks))
    assert run.progress()["settled"] == tasks
    assert _ops(folder)[-1] == {**_ops(folder)[-1], "op": "closed", "complete": True}
    assert redis.xlen(_KEYS.history) == 0


def test_a_collector_confirms_nothing_of_a_run_that_its_successor_would_not_find(
    redis: Redis, tmp_path: Path
) -> None:
    class Dying(Collector):
        def _tell(self, *, now: bool = False) -> None:
            raise KeyboardInterrupt

    run = Run(redis)
    run.begin(1)
    run.do(0)
    with pytest.raises(KeyboardInterrupt):
        Dying(redis, _KEYS, tmp_path).run()
    assert not redis.exists(_KEYS.saved)

    run.producer.op("run-end", reason="done")
    with _answering(redis, run):
        folder = Collector(redis, _KEYS, tmp_path).run(until_closed=True)

    assert folder == tmp_path / _RUN
    assert _ops(folder)[-1]["complete"]


def test_a_collector_that_is_started_while_redis_is_restarted_waits_for_it(
    redis_server: RedisServer, redis: Redis, tmp_path: Path, eventually: Eventually
) -> None:
    redis_server.keep()
    run = Run(redis)
    run.begin(1)

    collector = _start(redis_server, tmp_path)
    redis_server.restart(down_s=2.0)

    assert eventually(lambda: (tmp_path / _RUN / "history.log").exists() or collector.poll(), 30)
    assert collector.poll() is None
    collector.kill()
    collector.communicate()


def test_the_end_of_a_run_says_what_the_broker_holds(redis: Redis, tmp_path: Path) -> None:
    run = Run(redis)
    run.begin(5)
    run.do(0)
    for number in (1, 2, 4):
        redis.lpush(_KEYS.queue(_SIDE), _message(number))
    redis.lpush(_KEYS.queue(_SIDE), _message(0, tag=0xFFFF))
    redis.hset(_KEYS.unacked(_SIDE), "d3", json.dumps([json.loads(_message(3)), "", _SIDE]))
    redis.zadd(_KEYS.unacked_index(_SIDE), {"d3": 1_700_000_000.5})
    run.producer.op("run-end", reason="done")

    with _answering(redis, run):
        folder = Collector(redis, _KEYS, tmp_path).run(until_closed=True)

    assert folder == tmp_path / _RUN
    (broker,) = [op for op in _ops(folder) if op["op"] == "broker"]
    assert broker["queue"] == [[1, 2], [4, 4]]
    assert broker["unacked"] == [[3, 1_700_000_000.5]]
    assert broker["foreign"] == 1
    assert broker["stable"]
    assert (broker["visibility_timeout_s"], broker["sweep_s"]) == (60.0, 10.0)
    assert run.progress()["closed"]


def test_what_somebody_else_writes_into_the_history_is_passed_over_and_noted(
    redis: Redis, tmp_path: Path
) -> None:
    foreign: list[dict[Any, Any]] = [
        {"hello": "world"},
        {"k": b"\xff", "w": "w", "s": "s", "n": 1, "d": ""},
        {"k": "poem", "w": "w", "s": "s", "n": 1, "d": ""},
        {"k": "op", "w": "w", "s": "s", "n": 1, "d": "no JSON"},
        {"k": "op", "w": "w", "s": "s", "n": 1, "d": "[1]"},
        {"k": "op", "w": "w", "s": "s", "n": 1, "d": '{"op": "hello"}'},
        {"k": "op", "w": "w", "s": "s", "n": 0, "d": '{"op": "void", "t_ns": 1}'},
        {"k": "op", "w": "w", "s": "s", "n": 1, "d": '{"op": "clock", "t_ns": 1, "boot": "b"}'},
        {"k": "records", "w": "w", "s": "s", "n": 1, "d": "too short"},
        {"k": "records", "w": "w", "s": "s", "n": "one", "d": bytes(48)},
    ]
    redis.xadd(_KEYS.history, foreign[0])  # before any run
    run = Run(redis)
    run.begin(1)
    identifiers = [redis.xadd(_KEYS.history, fields) for fields in foreign]
    run.do(0)
    run.producer.op("run-end", reason="done")

    with _answering(redis, run):
        folder = Collector(redis, _KEYS, tmp_path).run(until_closed=True)

    assert folder
    noted = [op["entry"] for op in _ops(folder) if op["op"] == "foreign"]
    assert noted == [identifier.decode() for identifier in identifiers]
    assert run.progress()["settled"] == 1
    assert _ops(folder)[-1]["complete"]
    assert redis.xlen(_KEYS.history) == 0


@pytest.mark.parametrize("value", [b"\xff\xfe", b"no JSON", b"[]", b'{"strange": 1}', b"7"])
def test_keys_that_somebody_else_wrote_stop_no_collector(
    redis_server: RedisServer, redis: Redis, tmp_path: Path, value: bytes
) -> None:
    for key in (_KEYS.progress, _KEYS.judged, _KEYS.run, _KEYS.flush, _KEYS.worker("w")):
        redis.set(key, value)
    run = Run(redis)
    run.begin(1)
    run.do(0)
    run.producer.op("run-end", reason="done")

    with _answering(redis, run):
        folder = Collector(redis, _KEYS, tmp_path).run(until_closed=True)

    assert folder
    assert _ops(folder)[-1]["complete"]
    assert registered(redis, _KEYS) == {}


def test_the_collector_says_how_its_clock_stands_to_that_of_redis(
    redis: Redis, tmp_path: Path
) -> None:
    run = Run(redis)
    run.begin(1)
    run.do(0)
    run.producer.op("run-end", reason="done")

    with _answering(redis, run):
        folder = Collector(redis, _KEYS, tmp_path).run(until_closed=True)

    assert folder is not None
    entries = [entry for _, entry in read(folder / "history.log") if entry.worker == "collector"]
    (clock,) = [entry.op for entry in entries if entry.kind == "op" and entry.op["op"] == "clock"]
    seconds, microseconds = redis.time()
    expected_ns = (seconds * 1_000_000 + microseconds) * 1_000 - time.monotonic_ns()
    assert abs(clock["offset_ns"] - expected_ns) < 100_000_000 + clock["error_ns"]


def test_the_broker_is_read_after_a_fault_and_after_an_exit(redis: Redis, tmp_path: Path) -> None:
    run = Run(redis)
    run.begin(2)
    run.ring.records((0, Event.STARTED), (0, Event.FAULT))
    life = {"worker": _WORKER, "life": 1, "pid": 5}
    with _answering(redis, run):
        collecting = Collector(redis, _KEYS, tmp_path)
        collecting.run(stop=lambda: run.progress().get("faults") == 1)
        run.supervisor.op("worker-exit", code=None, signal=11, asked=False, stderr=[], **life)
        run.producer.op("run-end", reason="done")
        folder = Collector(redis, _KEYS, tmp_path).run(until_closed=True)

    assert folder is not None
    reasons = [op["reason"] for op in _ops(folder) if op["op"] == "broker"]
    assert reasons == ["fault", "worker-exit", "end"]


class Mortal:
    """Is asked what a worker believes, and has it end meanwhile: so it does not answer."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.asked: list[list[str]] = []

    def ask(self, workers: Sequence[str], tag: int) -> dict[str, Belief]:
        self.asked.append(list(workers))
        if workers:
            life = {"worker": _WORKER, "life": 1, "pid": 5}
            end = {"code": None, "signal": 9, "asked": False, "stderr": []}
            self._run.supervisor.op("worker-exit", **life, **end)
        return dict.fromkeys(workers, Belief(answered=False))


def test_a_worker_that_ends_while_it_is_asked_is_not_called_silent(
    redis: Redis, tmp_path: Path
) -> None:
    run = Run(redis)
    run.begin(1)
    run.do(0)
    run.producer.op("run-end", reason="done")
    beliefs = Mortal(run)

    with _answering(redis, run):
        folder = Collector(redis, _KEYS, tmp_path, beliefs).run(until_closed=True)

    assert folder is not None
    ops = _ops(folder)
    assert beliefs.asked == [[_WORKER], []]
    assert [op for op in ops if op["op"] == "celery"] == []
    assert [op["op"] for op in ops].index("worker-exit") < len(ops) - 1
    assert ops[-1]["op"] == "closed"


def test_a_worker_that_never_answers_is_named(
    redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("poolproof.collect.closing._FLUSH_S", 0.3)
    run = Run(redis)
    run.begin(1)
    run.producer.op("run-end", reason="done")

    folder = Collector(redis, _KEYS, tmp_path).run(until_closed=True)

    assert folder is not None
    closed = _ops(folder)[-1]
    assert not closed["complete"]
    assert list(closed["missing"]) == [_WORKER]


def test_what_is_of_no_run_is_confirmed_and_dropped(
    redis: Redis, tmp_path: Path, eventually: Eventually
) -> None:
    old = Source(redis, "old@test", "old@test/1-1")
    old.records((0, Event.RECEIVED), (0, Event.STARTED))

    Collector(redis, _KEYS, tmp_path).run(stop=lambda: redis.hexists(_KEYS.saved, old.name))

    assert redis.hget(_KEYS.saved, old.name) == b"2"
    assert redis.xlen(_KEYS.history) == 0
    assert list(tmp_path.iterdir()) == []


def test_what_was_shipped_for_the_run_before_as_a_run_began_is_not_of_it(
    redis: Redis, tmp_path: Path
) -> None:
    run = Run(redis)
    run.begin(1)
    old = Source(redis, _WORKER, f"{_WORKER}#1-1")
    old.sequence = 516
    old.op("sample", worker=_WORKER)
    run.do(0)
    run.producer.op("run-end", reason="done")

    with _answering(redis, run):
        folder = Collector(redis, _KEYS, tmp_path).run(until_closed=True)

    assert folder
    assert not [op for op in _ops(folder) if op["op"] == "sample"]
    assert _ops(folder)[-1] == {**_ops(folder)[-1], "op": "closed", "complete": True, "missing": {}}


def test_a_redis_that_came_back_empty_is_told_which_run_is_on(
    redis_server: RedisServer, redis: Redis, tmp_path: Path, eventually: Eventually
) -> None:
    run = Run(redis)
    run.begin(1)
    collector = _start(redis_server, tmp_path)
    eventually(run.progress)

    redis_server.restart()

    eventually(lambda: redis.get(_KEYS.run) == _RUN.encode())
    eventually(lambda: run.progress().get("run") == _RUN)
    collector.kill()
    collector.communicate()


def test_one_that_does_not_find_the_run_that_is_open_deletes_nothing_of_it(
    redis_server: RedisServer, redis: Redis, tmp_path: Path
) -> None:
    run = Run(redis)
    run.begin(1)
    Collector(redis, _KEYS, tmp_path / "here").run(stop=lambda: bool(run.progress()))
    run.do(0)
    left = redis.xlen(_KEYS.history)

    elsewhere = _start(redis_server, tmp_path / "elsewhere")
    _, err = elsewhere.communicate(timeout=60)

    assert elsewhere.returncode == DISK
    (line,) = err.decode().splitlines()
    assert f"The run {_RUN} is not closed" in line
    assert redis.xlen(_KEYS.history) == left > 0


def test_progress_tells_what_the_producer_waits_for(redis: Redis, tmp_path: Path) -> None:
    run = Run(redis)
    run.begin(3)
    run.do(0)
    run.ring.records((1, Event.STARTED))

    Collector(redis, _KEYS, tmp_path).run(stop=lambda: run.progress().get("running") == 1)

    assert run.progress() == {
        "run": _RUN,
        "hello": [_WORKER],
        "ready": [_WORKER],
        "slots": {_SIDE: 1},
        "blocks": {"0": {"enqueued": 3, "settled": 1}},
        "enqueued": 3,
        "settled": 1,
        "running": 1,
        "unreported": 0,
        "poison_open": 0,
        "exits": {_WORKER: 0},
        "lives": {_WORKER: 1},
        "faults": 0,
        "closed": False,
        "dropped": 0,
    }


def test_a_folder_that_cannot_be_written_is_one_clear_line(
    redis_server: RedisServer, redis: Redis, tmp_path: Path
) -> None:
    (tmp_path / "runs").write_text("a file is in the way")
    Run(redis).begin(1)

    collector = _start(redis_server, tmp_path / "runs" / "deeper")
    out, err = collector.communicate(timeout=30)

    assert collector.returncode == DISK
    assert out == b""
    assert len(err.decode().strip().splitlines()) == 1


def _message(number: int, tag: int = _TAG) -> str:
    identifier = task_id(tag, number)
    headers = {"lang": "py", "task": "poolproof.square", "id": identifier, "root_id": identifier}
    return json.dumps({"body": "W10=", "headers": headers, "properties": {}})


@pytest.mark.parametrize(("event", "code"), [(Event.SUCCEEDED, OK), (Event.FAILED, FAILED_CHECK)])
def test_one_that_prints_a_run_ends_with_what_the_report_says_of_it(
    redis_server: RedisServer, redis: Redis, tmp_path: Path, event: Event, code: int
) -> None:
    run = Run(redis)
    collector = _start(redis_server, tmp_path, "--print")
    run.begin(1, workload="square", measured=True)
    run.ring.records((0, Event.RECEIVED), (0, Event.STARTED), (0, event))

    with _answering(redis, run):
        run.producer.op("run-end", reason="done")
        printed, complaint = collector.communicate(timeout=60)

    assert collector.returncode == code, complaint
    assert b"In short" in printed
    assert _judged(redis) == {"run": _RUN, "code": code, "error": ""}


def test_a_run_that_was_closed_and_not_judged_is_judged_by_the_next_collector(
    redis_server: RedisServer, redis: Redis, tmp_path: Path
) -> None:
    run = Run(redis)
    run.begin(1, workload="square", measured=True)
    run.do(0)
    run.producer.op("run-end", reason="done")
    with _answering(redis, run):
        Collector(redis, _KEYS, tmp_path, judges=True).run(until_closed=True)
    assert run.progress()["judges"]

    printed, complaint = _start(redis_server, tmp_path).communicate(timeout=60)

    assert printed.decode().strip() == str(tmp_path / _RUN), complaint
    assert (tmp_path / _RUN / "summary.json").exists()
    assert _judged(redis)["code"] == OK


def test_a_result_that_cannot_be_saved_is_told_to_who_plays_the_run(
    redis_server: RedisServer, redis: Redis, tmp_path: Path, eventually: Eventually
) -> None:
    run = Run(redis)
    collector = _start(redis_server, tmp_path)
    run.begin(1, workload="square", measured=True)
    run.do(0)
    eventually((tmp_path / _RUN / "history.log").exists)
    (tmp_path / _RUN / "summary.json").mkdir()  # a folder is in the way

    with _answering(redis, run):
        run.producer.op("run-end", reason="done")
        collector.communicate(timeout=60)

    assert collector.returncode == DISK
    assert _judged(redis)["code"] == DISK
    assert "The result was not saved" in _judged(redis)["error"]


def _judged(redis: Redis) -> dict[str, Any]:
    judged: dict[str, Any] = json.loads(redis.get(_KEYS.judged) or "{}")
    return judged
