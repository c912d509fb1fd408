from __future__ import annotations

import socketserver
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from poolproof.infra.connection import connect, where
from poolproof_workers.errors import REDIS, USAGE, RedisUnreachable, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def something_that_answers(answer: bytes) -> Iterator[str]:
    """A server that says `answer` to whatever it is asked; an empty one closes the connection."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while self.request.recv(65536) and answer:
                self.request.sendall(answer)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"redis://127.0.0.1:{server.server_address[1]}/0"
        finally:
            server.shutdown()
            thread.join()


def info(text: str) -> bytes:
    return f"${len(text)}\r\n{text}\r\n".encode()


def refusal(url: str) -> str:
    with pytest.raises(RedisUnreachable) as caught:
        connect(url)

    assert caught.value.exit_code == REDIS
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_port_where_nobody_listens_is_unreachable_and_named() -> None:
    message = refusal("redis://user:secret@127.0.0.1:1/0")

    assert "127.0.0.1:1" in message
    assert "Connection refused" in message
    assert "secret" not in message


def test_what_is_not_a_redis_is_said_not_to_be_one() -> None:
    with something_that_answers(b"HTTP/1.1 400 Bad Request\r\n\r\n") as url:
        assert "not a Redis" in refusal(url)


def test_a_server_that_answers_nonsense_to_info_is_not_a_redis() -> None:
    with something_that_answers(b"+OK\r\n") as url:
        assert "not a Redis" in refusal(url)


def test_a_server_that_hangs_up_is_unreachable() -> None:
    with something_that_answers(b"") as url:
        assert "127.0.0.1" in refusal(url)


def test_a_server_that_is_too_old_is_refused_by_name_and_version() -> None:
    with something_that_answers(info("redis_version:5.0.7")) as url:
        message = refusal(url)

    assert "Redis 5.0.7" in message
    assert "6.2 or later" in message


@pytest.mark.parametrize("version", ["6.2.0", "7.0.15", "8.2.1-rc1", "10.0.0"])
def test_a_server_that_is_new_enough_is_taken(version: str) -> None:
    with something_that_answers(info(f"redis_version:{version}")) as url:
        connect(url).close()


def test_a_server_that_is_still_loading_is_said_to_be() -> None:
    with something_that_answers(b"-LOADING Redis is loading the dataset in memory\r\n") as url:
        assert "loading" in refusal(url)


def test_a_server_that_refuses_a_command_is_quoted() -> None:
    with something_that_answers(b"-MISCONF disk full\r\n") as url:
        assert "disk full" in refusal(url)


@pytest.mark.parametrize("url", ["http://host", "redis://host:port/0", "redis://host:99999/0", ""])
def test_a_bad_url_is_a_mistake_in_usage(url: str) -> None:
    with pytest.raises(UsageError, match="URL of a Redis") as caught:
        connect(url)

    assert caught.value.exit_code == USAGE


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://user:p@ss@host:6379/3", "host:6379"),
        ("rediss://host/0", "host"),
        ("unix:///run/redis.sock", "/run/redis.sock"),
        ("redis://:secret@[::1]:6379/0", "[::1]:6379"),
    ],
)
def test_an_address_is_shown_without_the_password(url: str, address: str) -> None:
    assert where(url) == address
