"""Sides that differ in pool, settings or versions, from the command line to what is proved."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from poolproof.judge.summary import summarise
from poolproof_workers.errors import OK, USAGE, WORKER
from tests.integration.cli import run

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from poolproof.infra.redis_server import RedisServer

#: Another release than the newest, which is on every index.
_OLDER = "celery==5.6.3"
#: The oldest that sides may have.
_OLDEST = {"celery": "5.4.0", "kombu": "5.4.2"}
#: Told to look for messages to restore every second: prints how often kombu's own event loop calls
#: for it then, and how many of its calls make a look.
_LOOKS = """
import inspect, sys
from kombu import Connection
from kombu.asynchronous import Hub
from kombu.transport.redis import QoS
calls, hub = {}, Hub()
hub.call_repeatedly = lambda seconds, call: calls.setdefault(call.__name__, seconds)
told = {"unacked_restore_interval": 1, "unacked_restore_throttle": 1}
with Connection(sys.argv[1], transport_options=told) as connection:
    connection.connect()
    connection.register_with_event_loop(hub)
    asked = getattr(connection.default_channel, "unacked_restore_throttle", None)
print(calls["maybe_restore_messages"])
print(asked or inspect.signature(QoS.restore_visible).parameters["interval"].default)
"""

#: Prints each setting that a worker gets and that this Celery and kombu do not know.
_UNKNOWN = """
from celery.app.defaults import NAMESPACES, flatten
from kombu.transport.redis import Channel
from poolproof_workers.app import _configuration, make_app
from poolproof_workers.errors import UsageError
from poolproof_workers.settings import Policy, Settings
known, given, options = dict(flatten(NAMESPACES)), set(), set()
for policy in Policy:
    settings = Settings.from_env({"POOLPROOF_POLICY": policy.value, "POOLPROOF_RESULTS": "redis"})
    try:
        make_app(settings)
    except UsageError:
        continue
    given |= _configuration(settings).keys()
    options |= _configuration(settings)["broker_transport_options"].keys()
print(*sorted(given - known.keys()), *sorted(options - set(Channel.from_transport_options)))
"""


def compare(folder: Path, *pools: str, words: tuple[str, ...] = ("--no-crash",)) -> dict[str, Any]:
    sides = [word for pool in pools for word in ("--pool", pool)]
    code, out, lines, cli = run(
        *("compare", *sides, *words, "--workload", "sleep:20ms", "--budget-s", "8", "--json"),
        cwd=folder,
        deadline_s=240,
    )
    assert code == OK, lines
    assert not cli.left()
    summary: dict[str, Any] = json.loads(out)
    assert summary["books"]["balanced"]
    return summary


def test_greenlets_are_compared_with_threads(tmp_path: Path) -> None:
    summary = compare(tmp_path, "gevent:20", "threads:20")

    assert summary["valid"], summary["warnings"]
    assert summary["books"]["verdicts"]["completed"] == summary["books"]["enqueued"]
    for side in ("gevent:20", "threads:20"):
        measured = summary["pools"][side]["workloads"]["sleep:20ms"]["throughput_per_s"]
        # 20 slots that sleep 20 ms do at most 1,000 a second.
        assert 0 < max(measured["blocks"]) <= 1000
    assert summary["differences"]["gevent"]["threads:20"] is None


@pytest.mark.long
def test_two_sides_of_one_pool_differ_in_their_settings_alone(tmp_path: Path) -> None:
    summary = compare(tmp_path, "a=threads:2/prefetch=1", "b=threads:2/events=1")

    assert summary["differences"] == {
        "prefetch": {"a": "1", "b": "4"},
        "events": {"a": "off", "b": "on"},
    }
    (warning,) = [each for each in summary["warnings"] if each["code"] == "events_on"]
    assert "while b was" in warning["advice"]


def test_a_crash_keeps_what_a_side_has_of_its_own(tmp_path: Path) -> None:
    summary = compare(tmp_path, "late=prefork:2/policy=late", "early=prefork:2", words=("--crash",))

    assert {crash["pool"]: crash["policy"] for crash in summary["crashes"]} == {
        "late": "late",
        "early": "early",
    }


@pytest.mark.parametrize("pool", ["gevent:4", "spawn:2"])
def test_a_segfault_is_accounted_for_on_every_kind_of_pool(tmp_path: Path, pool: str) -> None:
    code, out, lines, cli = run("crash", "--pool", pool, "--json", cwd=tmp_path, deadline_s=240)

    assert code == OK, lines
    assert not cli.left()
    summary = json.loads(out)
    (crash,) = summary["crashes"]
    slots = int(pool.partition(":")[2])
    by_pool = pool.startswith("spawn")
    assert crash["running"] == slots - 1
    assert crash["interrupted"] == (0 if by_pool else slots - 1)
    # A spawned child imports all of Celery, which ends one that takes more than 4 s for it.
    assert crash["restarted_by"] in ({"pool", "nobody"} if by_pool else {"supervisor"})
    assert summary["books"]["balanced"]
    assert not summary["books"]["verdicts"].get("unknown")


def test_results_and_serializers_are_a_sides_own(
    tmp_path: Path, redis_server: RedisServer, redis: Redis
) -> None:
    def stored() -> int:
        return int(redis.info("commandstats").get("cmdstat_setex", {}).get("calls", 0))

    def squares(pool: str) -> None:
        code, out, lines, _ = run(
            *("enqueue", "3", "-7", "--wait", "--pool", pool, "--redis-url", redis_server.url),
            cwd=tmp_path,
        )
        assert code == OK, lines
        assert "3 x 3 = 9" in out
        assert "-7 x -7 = 49" in out

    squares("x=threads:1/serializer=yaml")
    assert stored() == 0
    squares("x=threads:1/results=redis")
    assert stored() >= 2
    assert redis.dbsize() == 0


def test_a_side_runs_on_versions_of_its_own_and_says_what_they_can_be_told(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    old = ",".join(f"{name}=={version}" for name, version in _OLDEST.items())
    every_s = {"POOLPROOF_RESTORE_INTERVAL_S": "1", "POOLPROOF_RESTORE_THROTTLE": "1"}
    code, _, lines, cli = run(
        *("enqueue", "3", "--wait", "--pool", f"old=threads:1@{old}", "--pool", "new=threads:1"),
        cwd=tmp_path,
        env={"XDG_CACHE_HOME": str(tmp_path / "cache"), **every_s},
        deadline_s=280,
    )
    if code == WORKER and "cannot be made" in lines[-1] and not os.environ.get("CI"):
        pytest.skip(lines[-1])

    assert code == OK, lines
    assert not cli.left()
    (folder,) = (tmp_path / "runs").iterdir()
    pools = summarise(folder)["pools"]
    versions = {side: of["terms"]["versions"] for side, of in pools.items()}
    assert versions["old"].items() >= _OLDEST.items()
    assert versions["new"]["celery"] != versions["old"]["celery"]
    (python,) = (tmp_path / "cache").glob("poolproof/environments/*/bin/python")
    for side, interpreter in (("old", str(python)), ("new", sys.executable)):
        interval_s, throttle = map(float, _said(interpreter, _LOOKS, redis_server.url))
        assert pools[side]["settings"]["sweep_s"] == interval_s * throttle
    assert pools["old"]["settings"]["sweep_s"] == 100.0
    assert _said(sys.executable, _UNKNOWN) == []
    assert _said(str(python), _UNKNOWN) == ["unacked_restore_interval", "unacked_restore_throttle"]


def _said(python: str, script: str, *words: str) -> list[str]:
    command = [python, "-c", script, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.split()


@pytest.mark.timeout(900)  # on a busy machine an empty environment alone takes minutes to make
def test_a_package_index_that_cannot_be_reached_is_one_line(tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9/simple"
    code, out, lines, cli = run(
        *("enqueue", "3", "--wait", "--pool", f"old=threads:1@{_OLDER}"),
        cwd=tmp_path,
        env={
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": nowhere,
            "UV_DEFAULT_INDEX": nowhere,
            "UV_NO_CACHE": "1",
        },
        deadline_s=800,
    )

    assert code == WORKER
    assert not out
    assert "An environment with celery==5.6.3 cannot be made" in lines[-1]
    assert "Traceback" not in "".join(lines)
    assert not cli.left()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("compare", "--pool", "threads:2", "--pool", "threads:2"), "Give them labels: --pool a="),
        (("crash", "--pool", "threads:2/policy=late"), "use --policy"),
        (("compare", "--pool", "threads:2/prefetch=x"), "not a whole number"),
        (("enqueue", "1", "--pool", "custom:2=no_such_module:Pool", "--wait"), "no_such_module"),
        (("enqueue", "1", "--pool", "solo@celery==5.6.3", "--redis-url", "redis://x"), "--wait"),
    ],
)
def test_a_side_that_cannot_be_is_refused_in_one_line(
    tmp_path: Path, words: tuple[str, ...], complaint: str
) -> None:
    code, out, lines, cli = run(*words, cwd=tmp_path)

    assert code in {USAGE, WORKER}
    assert not out
    assert complaint in lines[-1]
    assert lines[-1].startswith("poolproof: ")
    assert "Traceback" not in "".join(lines)
    assert not cli.left()
