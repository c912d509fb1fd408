from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from typing import TYPE_CHECKING

import psutil
import pytest

from poolproof.infra.connection import connect, describe, sweep
from poolproof.infra.redis_server import RedisServer, find_server
from poolproof_workers.contract import Keys
from poolproof_workers.errors import BrokerError, RedisUnreachable, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from redis import Redis

    from tests.conftest import Eventually

#: It looks in turns: a Ctrl-C just before a read that waits for ever would not end that.
OWNER = """
import select, sys
from poolproof.infra.redis_server import RedisServer
with RedisServer.start() as server:
    try:
        print(server.url, server.pid, flush=True)
        while not select.select([sys.stdin], [], [], 0.05)[0]:
            pass
    except KeyboardInterrupt:
        from poolproof.infra.connection import connect
        print("still", connect(server.url).ping(), flush=True)
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files that no other test uses, with a name to stumble over."""
    folder = tmp_path / 'with a space, " and \u00e9'
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


@pytest.fixture
def owner(temporary: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that owns an embedded Redis; its first line of output is "URL PID"."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        yield process
        process.kill()


def url_and_pid(owner: subprocess.Popen[str]) -> tuple[str, int]:
    assert owner.stdout is not None
    url, pid = owner.stdout.readline().split()
    return url, int(pid)


def is_gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_a_server_answers_and_leaves_nothing_behind(temporary: Path) -> None:
    with RedisServer.start() as server, connect(server.url) as redis:
        assert redis.ping()
        assert len(list(temporary.iterdir())) == 1

    assert is_gone(server.pid)
    assert list(temporary.iterdir()) == []
    server.close()


def test_the_server_is_named_for_what_it_is(redis_server: RedisServer) -> None:
    version = describe(redis_server.url)

    assert version.name in {"Valkey", "Redis"}
    assert version.version[0].isdigit()


def test_the_server_keeps_nothing_and_evicts_nothing(redis: Redis) -> None:
    assert redis.config_get("save") == {"save": ""}
    assert redis.config_get("appendonly") == {"appendonly": "no"}
    assert redis.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert redis.config_get("bind") == {"bind": "127.0.0.1"}


def test_the_server_gets_the_c_locale_whatever_ours_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "xx_YY.none")
    # A server overwrites its own environment with its title, so a wrapper writes it down.
    wrapper = tmp_path / "server"
    wrapper.write_text(
        f'#!/bin/sh\necho "$LC_ALL" > {tmp_path}/locale\nexec {find_server()} "$@"\n'
    )
    wrapper.chmod(0o755)

    with RedisServer.start(wrapper):
        assert (tmp_path / "locale").read_text() == "C\n"


def test_without_the_password_nobody_gets_in(redis_server: RedisServer) -> None:
    address = redis_server.url.split("@")[1]

    for url in (f"redis://{address}", f"redis://:wrong@{address}"):
        with pytest.raises(RedisUnreachable, match="password") as caught:
            connect(url)
        assert "wrong@" not in str(caught.value)


def test_a_database_that_is_not_there_is_refused(redis_server: RedisServer) -> None:
    with pytest.raises(RedisUnreachable, match="out of range"):
        connect(redis_server.url.removesuffix("/0") + "/9999")


def test_a_port_that_is_taken_is_retried_with_the_next() -> None:
    with socket.socket() as taken, socket.socket() as free:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        free.bind(("127.0.0.1", 0))
        ports = [taken.getsockname()[1], free.getsockname()[1]]
        free.close()

        with RedisServer.start(ports=ports) as server, connect(server.url) as redis:
            assert redis.ping()

    assert f":{ports[1]}/" in server.url


def test_after_five_taken_ports_it_gives_up_and_leaves_nothing(
    temporary: Path, redis_server: RedisServer
) -> None:
    port = int(redis_server.url.rpartition(":")[2].removesuffix("/0"))
    asked = iter([port] * 9)
    before = list(temporary.iterdir())

    with pytest.raises(BrokerError, match=f"{port} taken"):
        RedisServer.start(ports=asked)

    assert len(list(asked)) == 4
    assert list(temporary.iterdir()) == before


def test_a_server_that_does_not_start_is_quoted(tmp_path: Path) -> None:
    broken = tmp_path / "broken-server"
    broken.write_text("#!/bin/sh\necho it is too hot here >&2\nexit 3\n")
    broken.chmod(0o755)

    with pytest.raises(BrokerError, match="too hot here"):
        RedisServer.start(broken)


def test_a_program_that_the_system_cannot_run_is_said_so(tmp_path: Path) -> None:
    broken = tmp_path / "not-a-program"
    broken.write_bytes(b"\x00\x01")
    broken.chmod(0o755)

    with pytest.raises(BrokerError, match="Exec format error"):
        RedisServer.start(broken)


def test_an_explicit_server_that_is_missing_is_a_mistake_in_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        RedisServer.start(tmp_path / "nowhere")


def test_an_explicit_server_comes_first_then_the_bundled_one(tmp_path: Path) -> None:
    mine = tmp_path / "my-server"
    mine.write_text("#!/bin/sh\n")
    mine.chmod(0o755)

    assert find_server(mine) == mine
    assert find_server().name in {"valkey-server", "redis-server"}


def test_a_server_cannot_be_started_from_a_thread_whose_end_would_kill_it() -> None:
    caught: list[Exception] = []

    def start() -> None:
        try:
            RedisServer.start()
        except RuntimeError as error:
            caught.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()

    assert len(caught) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next start ends the server")
def test_sigkill_of_the_owner_leaves_no_server(
    owner: subprocess.Popen[str], eventually: Eventually
) -> None:
    _, pid = url_and_pid(owner)
    assert not is_gone(pid)

    owner.kill()

    eventually(lambda: is_gone(pid))


def test_the_folder_of_a_killed_owner_is_removed_by_the_next_start(
    owner: subprocess.Popen[str], temporary: Path
) -> None:
    url_and_pid(owner)
    owner.kill()
    owner.wait()
    left = list(temporary.iterdir())
    assert len(left) == 1

    with RedisServer.start():
        assert not left[0].exists()


def test_a_server_that_outlived_its_owner_is_ended_by_the_next_start(
    temporary: Path, eventually: Eventually
) -> None:
    # As on a system whose kernel does not end it: the owner's lock is gone, the server is not.
    orphaned = RedisServer.start()
    os.close(orphaned._scratch._fd)
    orphaned._scratch._fd = -1
    assert not is_gone(orphaned.pid)

    with RedisServer.start() as other:
        eventually(lambda: is_gone(orphaned.pid))
        assert not is_gone(other.pid)

    orphaned.close()


def test_the_next_start_leaves_a_living_owner_alone(owner: subprocess.Popen[str]) -> None:
    url, pid = url_and_pid(owner)

    with RedisServer.start(), connect(url) as redis:
        assert redis.ping()

    assert not is_gone(pid)


def test_ctrl_c_reaches_the_owner_and_not_the_server(owner: subprocess.Popen[str]) -> None:
    _, pid = url_and_pid(owner)

    os.killpg(owner.pid, signal.SIGINT)

    assert owner.stdout is not None
    assert owner.stdout.readline() == "still True\n"
    assert owner.wait(10) == 0
    assert is_gone(pid)


def test_a_sweep_deletes_the_namespace_and_nothing_else(
    redis_server: RedisServer, redis: Redis
) -> None:
    keys = Keys("mine")
    ours = [
        keys.history,
        keys.saved,
        keys.queue("prefork:4"),
        keys.unacked("x"),
        keys.worker("a@b"),
    ]
    theirs = ["mine", "mine2:history", "xmine:history", "celery", "unacked", "other:mine:history"]
    for key in (*ours, *theirs):
        redis.set(key, "x")
    redis.mset({f"mine:many:{number}": "x" for number in range(2500)})

    assert sweep(redis_server.url, keys) == len(ours) + 2500

    assert sorted(redis.scan_iter()) == sorted(key.encode() for key in theirs)


@pytest.mark.parametrize("namespace", ["*", "m?ne", "[m]ine"])
def test_a_namespace_is_never_taken_for_a_pattern(
    redis_server: RedisServer, redis: Redis, namespace: str
) -> None:
    redis.set("mine:history", "x")

    sweep(redis_server.url, Keys(namespace))

    assert redis.exists("mine:history")


def test_what_it_was_told_to_keep_is_there_after_a_restart(redis_server: RedisServer) -> None:
    with connect(redis_server.url) as client:
        client.rpush("before", *range(1000))
        redis_server.keep()
        client.rpush("after", "x")
        first = redis_server.pid

        redis_server.restart(0.2)

        assert redis_server.pid != first
        assert client.llen("before") == 1000
        assert client.lrange("after", 0, -1) == [b"x"]


def test_it_refuses_everybody_while_it_is_down_and_can_be_restarted_again(
    redis_server: RedisServer,
) -> None:
    port = int(redis_server.url.rpartition(":")[2].partition("/")[0])
    refused: list[bool] = []
    redis_server.keep()

    def knock() -> None:
        while not refused or not refused[-1]:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                refused.append(False)
            except OSError as error:
                refused.append(isinstance(error, ConnectionRefusedError))

    thread = threading.Thread(target=knock)
    thread.start()
    redis_server.restart(0.3)
    thread.join()
    redis_server.restart()

    assert refused[-1]
    assert describe(redis_server.url)


def test_one_that_was_killed_by_somebody_else_is_known_to_be_gone(
    redis_server: RedisServer, eventually: Eventually
) -> None:
    def complaint() -> str:
        try:
            redis_server.check()
        except BrokerError as error:
            return str(error)
        return ""

    assert complaint() == ""

    os.kill(redis_server.pid, signal.SIGKILL)

    assert eventually(complaint) == "the embedded Redis was killed by signal 9."
