"""Every workload on real workers: what comes back is checked, and nothing is left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from poolproof.infra import sides
from poolproof.judge.performance import answers as results
from poolproof.judge.run import consider
from poolproof.judge.summary import summarise
from poolproof.produce import workloads
from poolproof.produce.host_resources import MeasuredResources
from poolproof.produce.messages import decode
from poolproof.produce.plan import BlockSpec
from poolproof.produce.producer import Producer
from poolproof.runner.listener import NullListener
from poolproof.runner.local_environment import LocalEnvironment
from poolproof_workers.app import make_app
from poolproof_workers.contract import Keys
from poolproof_workers.errors import FAILED_CHECK, OK
from poolproof_workers.settings import Settings
from poolproof_workers.workloads import answers, payload
from tests.cases import rest_long
from tests.integration.cli import run
from tests.integration.supervised import Supervised

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from poolproof.infra.redis_server import RedisServer
    from poolproof.runner.session import Session
    from tests.conftest import Eventually

#: Each kind, small. The mix has all that need something of their own.
ALL = (
    "square",
    "square?seed=7",
    "sleep:2ms",
    "cpu:1ms",
    "hash:1ms",
    "compress:1ms",
    "http:5ms",
    "redis:1",
    "redis:6",
    "payload:1B",
    "payload:100KB/3MB",
    "memory:2MB/5ms",
    "counter:2000",
    "mix:square=3,http:1ms=1,redis:2=1,payload:2MB/1B=1,hash:1ms=1,counter:5=1?seed=4",
)
TAG = 0x0BADCAFE
COUNT = 13

SPOILER = """
from poolproof_workers import app
for name, change in {"poolproof.hash": 1, "poolproof.payload": 0}.items():
    task = app.app.tasks[name]
    def spoiled(number, *given, _right=task.run, _change=change):
        if not _change:
            return _right(number, given[0][:-1], *given[1:])
        return _right(number, *given) + (number % 3 == 0)
    task.run = spoiled
"""


class Played:
    """Each of some workloads on every side in turn."""

    def __init__(self, texts: tuple[str, ...], count: int) -> None:
        self._texts = texts
        self._count = count

    def play(self, session: Session) -> None:
        for side in session.sides:
            session.warm_up(side)
            for text in self._texts:
                session.play(BlockSpec(side.label, text, self._count, measured=True), 60.0)

    def to_json(self) -> dict[str, Any]:
        return {"name": "test"}


def play(folder: Path, url: str, pools: tuple[str, ...], *texts: str, count: int = COUNT) -> Path:
    return LocalEnvironment(sides.parse(pools), folder, url).play(
        Played(texts, count), NullListener()
    )


@pytest.mark.parametrize("pool", ["prefork:2", "threads:2", "solo"])
def test_every_workload_is_right_on_every_pool_and_leaves_nothing(
    pool: str, tmp_path: Path, redis: Redis, redis_server: RedisServer
) -> None:
    redis.set("somebody's", "own")
    before = {child.pid for child in psutil.Process().children(recursive=True)}

    folder = play(tmp_path, redis_server.url, (pool,), *ALL)

    case, summary = consider(folder), summarise(folder)
    wrong = {
        block.workload: results.wrong(case.evidence.ledger, block)
        for block in case.blocks
        if block.measured
    }
    assert wrong == {text: None if text.startswith("counter") else 0 for text in ALL}
    assert summary["valid"], summary["warnings"]
    assert summary["books"]["verdicts"]["completed"] == summary["books"]["enqueued"]
    assert redis.keys() == [b"somebody's"]
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


def test_what_all_processes_counted_is_observed(tmp_path: Path, redis_server: RedisServer) -> None:
    folder = play(tmp_path, redis_server.url, ("prefork:2", "solo"), "counter:500", count=40)

    summary = summarise(folder)
    counters = {
        side: figures["workloads"]["counter:500"]["counter"]
        for side, figures in summary["pools"].items()
    }
    # Neither pool has two slots in one process.
    assert counters["solo"] == {
        "added": 20_000,
        "counted": 20_000,
        "lost": 0,
        "processes": [20_000],
    }
    assert counters["prefork:2"]["counted"] == sum(counters["prefork:2"]["processes"]) == 20_000
    assert summary["valid"]
    assert [words for words in summary["sentences"] if "none was lost" in words]


@pytest.mark.parametrize("pool", rest_long("prefork:2", "threads:2", "solo"))
def test_a_worker_that_returns_something_wrong_makes_the_run_invalid(
    pool: str, tmp_path: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "spoiler.py").write_text(SPOILER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("POOLPROOF_INCLUDE", "spoiler")

    texts = ("hash:1ms", "payload:1KB", "compress:1ms", "mix:payload:1KB=1,square=2")
    folder = play(tmp_path / "runs", redis_server.url, (pool,), *texts, count=12)

    case, summary = consider(folder), summarise(folder)
    wrong = {block.workload: results.wrong(case.evidence.ledger, block) for block in case.blocks}
    assert wrong["hash:1ms"] == 4
    assert wrong["payload:1KB"] == 12
    assert wrong["compress:1ms"] == 0
    assert wrong["mix:payload:1KB=1,square=2"] == 4
    assert not summary["valid"]
    said = [each["advice"] for each in summary["warnings"] if each["code"] == "wrong_results"]
    assert f"4 tasks of hash:1ms on {pool} returned a wrong result" in " ".join(said)


def test_a_wrong_result_is_said_and_is_an_exit_code(tmp_path: Path) -> None:
    (tmp_path / "spoiler.py").write_text(SPOILER)
    env = {"PYTHONPATH": str(tmp_path), "POOLPROOF_INCLUDE": "spoiler"}
    words = ("--pool", "solo", "--out", str(tmp_path / "runs"), "--wait")

    code, out, lines, cli = run("enqueue", "3", "4", "--workload", "hash:1ms", *words, env=env)

    assert code == FAILED_CHECK, lines
    assert "NOT RIGHT" in out
    assert not cli.left()


def test_a_large_result_really_travels_and_is_gone_soon(
    redis: Redis, redis_server: RedisServer, tmp_path: Path, eventually: Eventually
) -> None:
    supervised = Supervised(redis, redis_server.url, tmp_path, eventually, POOL="prefork:2")
    work = workloads.check("payload:1KB/1MB")
    producer = Producer(redis, supervised.keys, supervised.app, TAG, recorded=False)
    found: dict[bytes, Any] = {}

    def three() -> bool:
        for key in redis.scan_iter("*celery-task-meta-*", count=1000):
            if (value := redis.get(key)) is not None:
                found[key] = json.loads(value)
        return len(found) == 3

    supervised.start()
    try:
        producer.enqueue(BlockSpec("tested", work.text, 3), work)
        eventually(three, 30.0)
    finally:
        supervised.stop()

    assert all(key.startswith(f"{supervised.keys.namespace}:".encode()) for key in found)
    assert all(each["result"] == payload.text(1_000_000) for each in found.values())
    eventually(lambda: not list(redis.scan_iter("*celery-task-meta-*", count=1000)))


def test_the_keys_of_round_trips_are_ours_and_expire(
    redis: Redis, redis_server: RedisServer, tmp_path: Path, eventually: Eventually
) -> None:
    supervised = Supervised(redis, redis_server.url, tmp_path, eventually, POOL="threads:2")
    work = workloads.check("redis:2")
    producer = Producer(redis, supervised.keys, supervised.app, TAG, recorded=False)
    keys = [supervised.keys.work(number) for number in range(5)]

    supervised.start()
    try:
        producer.enqueue(BlockSpec("tested", work.text, 5), work)
        eventually(lambda: redis.exists(*keys) == 5, 30.0)
    finally:
        supervised.stop()

    assert all(key.startswith(f"{supervised.keys.namespace}:") for key in keys)
    assert all(0 < redis.ttl(key) <= 60 for key in keys)


FORKING = """
import os
from poolproof_workers.workloads.answers import ANSWERS, REDIS
from poolproof_workers.settings import Settings
from poolproof_workers.workloads.tasks import functions

round_trips = functions(Settings.from_env(os.environ))[REDIS]

def go(first):
    facts = {"round_trips": 6}
    return all(round_trips(n, 6) == ANSWERS[REDIS](n, facts) for n in range(first, first + 200))

assert go(0)  # the connection that the children inherit
children = []
for first in (1_000, 2_000):
    if not (pid := os.fork()):
        os._exit(0 if go(first) else 1)
    children.append(pid)
assert go(3_000)
assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
"""


def test_forked_processes_do_not_share_a_connection(redis_server: RedisServer) -> None:
    env = {**os.environ, "POOLPROOF_REDIS_URL": redis_server.url}
    done = subprocess.run(
        [sys.executable, "-c", FORKING], env=env, check=False, capture_output=True, timeout=60
    )

    assert done.returncode == 0, done.stderr.decode()


# --- messages -------------------------------------------------------------------------------------


@pytest.fixture
def producer(redis: Redis, redis_server: RedisServer) -> Producer:
    settings = Settings.from_env({"POOLPROOF_REDIS_URL": redis_server.url})
    return Producer(redis, settings.keys, make_app(settings), TAG)


def queued(redis: Redis, side: str) -> list[dict[str, Any]]:
    messages = redis.lrange(Keys().queue(side), 0, -1)
    return [decode(each) for each in reversed(messages)]


@pytest.mark.parametrize("text", ALL)
def test_tasks_are_sent_with_the_arguments_of_their_place(
    text: str, producer: Producer, redis: Redis
) -> None:
    work = workloads.parse(text, MeasuredResources(lambda: "http://127.0.0.1:1"))

    producer.enqueue(BlockSpec("a", work.text, 7), workloads.check("square"))
    producer.enqueue(BlockSpec("a", work.text, 105), work)

    messages = queued(redis, "a")[7:]
    places = range(105)
    dealt, values = work.deal(places) or [0] * 105, work.values(places) or range(7, 112)
    for place, message in zip(places, messages, strict=True):
        kind = work.works[dealt[place]]
        assert message["headers"]["task"] == kind.task
        assert message["headers"]["id"].endswith(f"{place + 7:012x}")
        assert tuple(message["body"][0]) == kind.arguments(values[place])


def test_large_messages_go_in_batches_of_their_own(producer: Producer, redis: Redis) -> None:
    work = workloads.check("payload:2MB/1B")

    producer.enqueue(BlockSpec("a", work.text, 5), work)

    entries = [json.loads(fields[b"d"]) for _, fields in redis.xrange(Keys().history)]
    sent = [op["count"] for op in entries if op["op"] == "enqueued"]
    assert sum(sent) == 5
    assert max(sent) < 5


# --- from the command line ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [name for name in workloads.WORKLOADS if name != "http"])
def test_every_workload_can_be_enqueued(
    kind: str, tmp_path: Path, redis: Redis, redis_server: RedisServer
) -> None:
    words = ("--tasks", "3", "--workload", kind, "--pool", "solo", "--redis-url", redis_server.url)

    code, out, lines, _ = run("enqueue", *words, cwd=tmp_path)

    assert (code, lines) == (OK, [])
    assert redis.llen(Keys().queue("solo")) == 3
    assert workloads.check(kind).text in out


def test_every_workload_can_be_compared(tmp_path: Path) -> None:
    small = ("sleep:1ms", "cpu:1ms", "hash:1ms", "compress:1ms", "http:1ms", "redis:2")
    parts = ("square", *small, "payload:1KB", "memory:1MB/1ms", "counter:10")
    mix = "mix:" + ",".join(f"{part}=1" for part in parts)

    code, out, lines, cli = run(
        *("compare", "--workload", mix, "--pool", "solo", "--pool", "threads:2"),
        *("--budget-s", "1", "--no-crash", "--no-fresh", "--json"),
        cwd=tmp_path,
        deadline_s=240,
    )

    assert code == OK, lines
    summary = json.loads(out)
    assert summary["valid"]
    assert all(mix in of["workloads"] for of in summary["pools"].values())
    assert not cli.left()


@pytest.mark.parametrize("verb", ["compare", "enqueue", "play"])
def test_the_help_lists_the_table(verb: str) -> None:
    code, out, _, _ = run(verb, "--help")

    assert code == OK
    assert all(line in out for line in workloads.table().splitlines())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("compare", "--workload", "payload:11MB"), "10MB"),
        (("compare", "--workload", "mix:square=0"), "weight"),
        (("compare", "--workload", "mix:square=1,cube=2"), "cube"),
        (("enqueue", "--tasks", "1000", "--workload", "payload:10MB", "--wait"), "too much"),
        (("enqueue", "3", "--workload", "http", "--redis-url", "redis://127.0.0.1:1"), "--wait"),
        (("play", "--workload", "http"), "this machine"),
    ],
)
def test_bad_input_is_one_line_before_anything_starts(
    words: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    code, out, lines, _ = run(*words, cwd=tmp_path)

    assert (code, out, len(lines)) == (2, "", 1)
    assert said in lines[0]
    assert not list(tmp_path.iterdir())


def test_an_answer_does_not_depend_on_who_gives_it() -> None:
    assert answers.ANSWERS.keys() | {answers.COUNTER} == {
        work.task for kind in workloads.WORKLOADS for work in workloads.check(kind).works
    }
