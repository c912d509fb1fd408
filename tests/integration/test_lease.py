"""Only one collector works on a namespace; a second one says so in one line."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from poolproof_workers.contract import Keys
from poolproof_workers.errors import USAGE

from .cli import Cli, run

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from poolproof.infra.redis_server import RedisServer

KEYS = Keys()


def collector(server: RedisServer, runs: Path) -> Cli:
    return Cli.start("collect", "--redis-url", server.url, "--runs", str(runs))


def test_a_second_collector_with_another_folder_is_refused_in_one_line(
    redis_server: RedisServer, redis: Redis, tmp_path: Path, eventually: Any
) -> None:
    first = collector(redis_server, tmp_path / "first")
    eventually(lambda: redis.get(KEYS.collector))
    held = redis.get(KEYS.collector)

    code, out, lines, _ = run(
        *("collect", "--redis-url", redis_server.url, "--runs", str(tmp_path / "second"))
    )

    assert code == USAGE
    assert not out
    (line,) = lines
    assert line.startswith("poolproof: another collector")
    assert str(first.process.pid) in line
    assert str(tmp_path / "first") in line
    assert redis.get(KEYS.collector) == held
    assert first.process.poll() is None
    first.process.send_signal(signal.SIGTERM)
    first.finish()


def test_a_collector_that_was_killed_is_succeeded_at_once(
    redis_server: RedisServer, redis: Redis, tmp_path: Path, eventually: Any
) -> None:
    first = collector(redis_server, tmp_path)
    eventually(lambda: redis.get(KEYS.collector))
    held = redis.get(KEYS.collector)

    os.kill(first.process.pid, signal.SIGKILL)
    first.finish()
    second = collector(redis_server, tmp_path)
    eventually(lambda: redis.get(KEYS.collector) not in {None, held})

    assert second.process.poll() is None
    second.process.send_signal(signal.SIGTERM)
    second.finish()


def test_a_collector_that_stood_still_while_another_took_over_gives_way(
    redis_server: RedisServer, redis: Redis, tmp_path: Path, eventually: Any
) -> None:
    first = collector(redis_server, tmp_path / "first")
    eventually(lambda: redis.get(KEYS.collector))
    os.kill(first.process.pid, signal.SIGSTOP)
    redis.delete(KEYS.collector)  # what its time limit does, sooner
    second = collector(redis_server, tmp_path / "second")
    eventually(lambda: redis.get(KEYS.collector))

    os.kill(first.process.pid, signal.SIGCONT)
    code, _, lines = first.finish()

    assert code == USAGE
    assert str(tmp_path / "second") in lines[-1]
    assert second.process.poll() is None
    second.process.send_signal(signal.SIGTERM)
    second.finish()
