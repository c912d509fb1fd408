"""Bad input gets one clear line and a documented exit code, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from poolproof_workers.errors import DISK, INTERRUPTED, REDIS, USAGE

from .cli import Cli, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from redis import Redis

    from poolproof.infra.redis_server import RedisServer
    from tests.conftest import Eventually


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--pool", "fibers:4"], ["fibers", "prefork:N", "threads:N"]),
        (["--pool", "prefork:0"], ["prefork:0", "1 to"]),
        (["--pool", "prefork:abc"], ["prefork:abc", "prefork:N"]),
        (["--pool", "threads:4", "--pool", "threads:4"], ["threads:4", "--pool a="]),
        (["--workload", "dance"], ["dance", "square"]),
        (["--budget-s", "soon"], ["soon"]),
    ],
)
def test_a_bad_option_is_named_with_what_is_allowed(
    words: list[str], names: list[str], tmp_path: Path
) -> None:
    code, out, lines, cli = run("compare", *words, cwd=tmp_path)

    assert code == USAGE
    assert not out
    assert all(name in " ".join(lines) for name in names), lines
    assert not any("Traceback" in line for line in lines)
    assert not cli.left()


def test_an_unreachable_redis_is_one_line(tmp_path: Path) -> None:
    url = f"redis://127.0.0.1:{_closed_port()}/0"
    code, out, lines, cli = run("crash", "--redis-url", url, cwd=tmp_path)

    assert code == REDIS
    assert not out
    assert "refused" in lines[-1]
    assert len([line for line in lines if line.startswith("poolproof:")]) == 1
    assert not cli.left()


def test_a_wrong_password_is_said_and_not_shown(redis_server: RedisServer, tmp_path: Path) -> None:
    url = redis_server.url.replace("redis://:", "redis://:nonsense")
    code, _, lines, cli = run("compare", "--redis-url", url, cwd=tmp_path)

    assert code == REDIS
    assert "password" in lines[-1]
    assert "nonsense" not in " ".join(lines)
    assert not cli.left()


@pytest.mark.parametrize(
    "words",
    [
        ("crash", "--pool", "threads:2"),
        ("enqueue", "--tasks", "9000", "--pool", "threads:2"),
    ],
)
def test_a_redis_that_is_full_is_called_full(
    words: tuple[str, ...], redis_server: RedisServer, redis: Redis, tmp_path: Path
) -> None:
    redis.config_set("maxmemory", "1200kb")

    code, _, lines, cli = run(*words, "--redis-url", redis_server.url, cwd=tmp_path)

    assert code == REDIS
    assert "Redis is full" in lines[-1]
    assert ".." not in lines[-1]
    assert not cli.left()


@pytest.mark.parametrize("words", [("compare",), ("claims", "--id", "race-lock")])
def test_a_folder_that_cannot_be_written_is_named(words: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    code, _, lines, cli = run(*words, "--out", str(file / "runs"))

    assert code == DISK
    assert len(lines) == 1
    assert str(file / "runs") in lines[-1]
    assert not cli.left()


def test_a_ring_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    env = {"POOLPROOF_RINGS": str(file / "rings")}
    code, _, lines, cli = run("crash", "--pool", "threads:2", env=env, cwd=tmp_path)

    assert code == DISK
    assert str(file / "rings") in lines[-1]
    assert not cli.left()


@pytest.fixture
def full_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with room for one ring and a half."""
    folder = tmp_path / "full"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("a small file system can only be mounted by root")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1200k", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("pool", ["prefork:2", "solo"])
def test_a_full_ring_folder_is_named_before_anything_can_crash_of_it(
    full_folder: Path, tmp_path: Path, pool: str, eventually: Eventually
) -> None:
    (full_folder / "somebody's").write_bytes(bytes(900_000))
    env = {"POOLPROOF_RINGS": str(full_folder)}
    code, _, lines, cli = run("crash", "--pool", pool, env=env, cwd=tmp_path)

    assert code == DISK
    assert str(full_folder) in lines[-1]
    assert "Make room" in lines[-1]
    eventually(lambda: not cli.left())


@pytest.mark.parametrize(
    "phase", ["starting the workers", "warming up", "segfault on", "closing the books"]
)
def test_ctrl_c_at_any_moment_leaves_no_process_and_no_key(
    phase: str, redis_server: RedisServer, redis: Redis, tmp_path: Path, eventually: Eventually
) -> None:
    redis.set("somebody's", "own")

    def interrupt(cli: Cli, line: str) -> None:
        if phase in line:
            cli.interrupt()

    cli = Cli.start(
        *("crash", "--pool", "threads:2", "--redis-url", redis_server.url),
        cwd=tmp_path,
        on_line=interrupt,
    )
    code, out, lines = cli.finish()

    assert code == INTERRUPTED, lines
    assert not out
    assert lines[-1] == "poolproof: interrupted"
    assert not any("Traceback" in line for line in lines)
    eventually(lambda: not cli.left())
    assert redis.keys() == [b"somebody's"]


def test_ctrl_c_again_and_again_does_not_keep_it_from_cleaning_up(
    redis_server: RedisServer, redis: Redis, tmp_path: Path, eventually: Eventually
) -> None:
    over = threading.Event()

    def press(cli: Cli) -> None:
        while not over.wait(0.003):
            cli.interrupt()

    def start_pressing(cli: Cli, line: str) -> None:
        if "segfault on" in line:
            threading.Thread(target=press, args=[cli]).start()

    cli = Cli.start(
        *("crash", "--pool", "prefork:2", "--redis-url", redis_server.url),
        cwd=tmp_path,
        on_line=start_pressing,
    )
    try:
        _, out, lines = cli.finish()
    finally:
        over.set()

    # It tells what it was told once; that Python itself may end by a signal is past all cleaning.
    assert not out
    assert lines[-1] == "poolproof: interrupted"
    assert not any("Traceback" in line for line in lines)
    eventually(lambda: not cli.left())
    assert redis.keys() == []


def test_a_terminal_that_goes_away_ends_a_run_as_ctrl_c_does(
    tmp_path: Path, eventually: Eventually
) -> None:
    def hang_up(cli: Cli, line: str) -> None:
        if "warming up" in line:
            cli.process.send_signal(signal.SIGHUP)
            cli.process.send_signal(signal.SIGHUP)  # from the kernel, and from the shell

    scratch, rings = tmp_path / "scratch", tmp_path / "rings"
    scratch.mkdir()
    env = {"TMPDIR": str(scratch), "POOLPROOF_RINGS": str(rings)}
    cli = Cli.start("crash", "--pool", "threads:2", env=env, cwd=tmp_path, on_line=hang_up)
    code, _, lines = cli.finish()

    assert code == INTERRUPTED, lines
    assert lines[-1] == "poolproof: interrupted"
    eventually(lambda: not cli.left())
    assert [*scratch.iterdir(), *rings.iterdir()] == []


def test_a_redis_that_dies_in_mid_run_is_one_line(
    redis_server: RedisServer, tmp_path: Path, eventually: Eventually
) -> None:
    def kill_redis(cli: Cli, line: str) -> None:
        if "segfault on" in line:
            os.kill(redis_server.pid, signal.SIGKILL)

    cli = Cli.start(
        *("crash", "--pool", "threads:2", "--redis-url", redis_server.url),
        cwd=tmp_path,
        on_line=kill_redis,
    )
    code, out, lines = cli.finish()

    assert code == REDIS
    assert not out
    assert not any("Traceback" in line for line in lines)
    assert len([line for line in lines if line.startswith("poolproof:")]) == 1
    eventually(lambda: not cli.left())


def test_a_killed_compare_leaves_no_process(tmp_path: Path, eventually: Eventually) -> None:
    def kill(cli: Cli, line: str) -> None:
        if "warming up" in line:
            cli.process.kill()

    cli = Cli.start("crash", "--pool", "prefork:2", cwd=tmp_path, on_line=kill)
    cli.finish()

    eventually(lambda: not cli.left())
