"""The small server that the workload `http` asks."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil
import pytest

from poolproof.infra.http_server import HttpServer
from poolproof_workers.errors import WorkerError
from poolproof_workers.workloads.http import WrongAnswer, answer, get

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Eventually

_OWNER = """
import time
from poolproof.infra.http_server import HttpServer
with HttpServer() as server:
    server.url()
    print(server.pid, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with HttpServer() as running:
        yield running


def status(url: str, path: str, method: str = "GET") -> int:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        connection.request(method, path)
        return connection.getresponse().status
    finally:
        connection.close()


def test_it_answers_after_the_time_that_is_asked_for(server: HttpServer) -> None:
    begin = time.monotonic()

    assert get(7, server.url(), 0.1) == answer(7)
    assert time.monotonic() - begin >= 0.1


def test_many_wait_at_the_same_time(server: HttpServer) -> None:
    url = server.url()
    begin = time.monotonic()
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda number: get(number, url, 0.5), range(50)))

    assert answers == [answer(number) for number in range(50)]
    assert time.monotonic() - begin < 50 * 0.5


@pytest.mark.parametrize(
    "path", ["/", "/0.1", "/soon/3", "/0.1/three", "/-1/3", "/nan/3", "/1e9/3", "/0.1/3/4"]
)
def test_what_it_cannot_answer_is_refused(server: HttpServer, path: str) -> None:
    assert status(server.url(), path) == 400
    assert get(1, server.url(), 0.0) == answer(1)


def test_a_request_without_end_and_another_method_are_refused(server: HttpServer) -> None:
    assert status(server.url(), "/0/3", "POST") == 400
    assert status(server.url(), "/0/" + "3" * 100_000) == 400


def test_an_answer_that_is_none_fails_the_task(server: HttpServer) -> None:
    with pytest.raises(WrongAnswer, match="400"):
        get(3, server.url(), -1.0)


def test_it_is_not_started_before_somebody_needs_it() -> None:
    with HttpServer() as server:
        assert server.pid is None
        server.check()


def test_it_ends_with_its_context_and_says_if_it_ended_before(
    server: HttpServer, eventually: Eventually
) -> None:
    server.url()
    pid = server.pid
    assert pid is not None
    server.check()

    os.kill(pid, signal.SIGKILL)

    def has_ended() -> bool:
        try:
            server.check()
        except WorkerError:
            return True
        return False

    eventually(has_ended)
    server.close()
    assert not psutil.pid_exists(pid)


def test_it_dies_with_an_owner_that_is_killed(eventually: Eventually) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _OWNER], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert psutil.pid_exists(pid)

        owner.kill()

    eventually(lambda: not psutil.pid_exists(pid))
