"""The verb `enqueue`, from the command line to what the workers returned."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from poolproof_workers.contract import Keys
from poolproof_workers.errors import OK, REDIS, USAGE

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from poolproof.infra.redis_server import RedisServer


def enqueue(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if "REDIS" not in name}
    return subprocess.run(
        [sys.executable, "-m", "poolproof", "enqueue", *words],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_workers_return_the_squares(tmp_path: Path) -> None:
    done = enqueue(
        tmp_path,
        "3",
        "1",
        "-7",
        "--sleep-s",
        "0.1",
        "--pool",
        "prefork:2",
        "--pool",
        "x=solo",
        "--wait",
    )

    assert (done.returncode, done.stderr.count("poolproof:")) == (OK, 0), done.stderr
    lines = [" ".join(line.split()[:5]) for line in done.stdout.splitlines()]
    squares = {"3 x 3 = 9", "1 x 1 = 1", "-7 x -7 = 49"}
    assert lines[0].startswith("prefork:2: 3 of 3 jobs")
    assert set(lines[1:4]) == squares
    assert lines[4].startswith("x: 3 of 3 jobs")
    assert set(lines[5:]) == squares


def test_jobs_are_sent_to_workers_anywhere(
    tmp_path: Path, redis: Redis, redis_server: RedisServer
) -> None:
    keys = Keys("elsewhere")

    done = enqueue(
        tmp_path,
        *("--tasks", "1234", "--pool", "prefork:2", "--pool", "y=threads:2"),
        *("--redis-url", redis_server.url, "--namespace", keys.namespace),
    )

    assert done.returncode == OK, done.stderr
    assert [redis.llen(keys.queue(side)) for side in ("prefork:2", "y")] == [1234, 1234]
    assert redis.exists(keys.history, keys.run) == 0
    assert len(done.stdout.splitlines()) == 2


def test_a_rate_is_kept_for_a_time(tmp_path: Path, redis: Redis, redis_server: RedisServer) -> None:
    done = enqueue(
        tmp_path,
        *("--rate", "100", "--for-s", "0.3", "--pool", "solo", "--redis-url", redis_server.url),
    )

    assert done.returncode == OK, done.stderr
    assert redis.llen(Keys().queue("solo")) == 30


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], USAGE, "What to enqueue?"),
        (["3", "--tasks", "5"], USAGE, "What to enqueue?"),
        (["--rate", "5"], USAGE, "What to enqueue?"),
        (["--tasks", "0"], USAGE, "--tasks"),
        (["3"], USAGE, "--redis-url"),
        (["3", "--wait", "--pool", "nope:2"], USAGE, "nope"),
        (["3", "--wait", "--pool", "threads:abc"], USAGE, "threads:abc"),
        (["3", "--wait", "--workload", "cube"], USAGE, "cube"),
        (["3", "--wait", "--workload", "cpu", "--sleep-s", "1"], USAGE, "--sleep-s"),
        (["3", "--redis-url", "redis://127.0.0.1:1"], REDIS, "127.0.0.1:1"),
    ],
)
def test_bad_input_gives_one_clear_line_and_its_exit_code(
    tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    done = enqueue(tmp_path, *words)

    assert done.returncode == code
    assert said in done.stderr.splitlines()[-1]
    assert done.stdout == ""
