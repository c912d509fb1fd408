"""The proxy before Redis: it passes all on, cuts, is slow, and lets pass again."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from poolproof.infra.proxy import Proxy
from poolproof_workers.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Iterator

DELAY_S = 0.1


class Echo:
    """A server that sends back what it gets."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            self._connections.append(connection)
            if not connection.recv(1, socket.MSG_PEEK):
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            while piece := connection.recv(65_536):
                connection.sendall(piece)
        except OSError:
            pass
        connection.close()

    def close(self) -> None:
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._thread.join()
        for connection in self._connections:
            connection.close()
        self._socket.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    with Proxy(f"redis://user:secret@127.0.0.1:{echo.port}/3") as found:
        yield found


def connect(proxy: Proxy) -> socket.socket:
    port = int(proxy.url.rpartition("/")[0].rpartition(":")[2])
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def exchange(connection: socket.socket, data: bytes) -> bytes:
    connection.sendall(data)
    back = b""
    while len(back) < len(data):
        piece = connection.recv(65_536)
        if not piece:
            break
        back += piece
    return back


def test_its_url_is_that_of_redis_with_another_address(proxy: Proxy, echo: Echo) -> None:
    assert proxy.url.startswith("redis://user:secret@127.0.0.1:")
    assert proxy.url.endswith("/3")
    assert f":{echo.port}/" not in proxy.url


def test_it_passes_on_all_that_comes_however_much_and_on_many_connections(proxy: Proxy) -> None:
    data = bytes(range(256)) * 2_000

    with connect(proxy) as first, connect(proxy) as second:
        assert exchange(first, data) == data
        assert exchange(second, b"other") == b"other"
        assert exchange(first, b"more") == b"more"


def test_an_end_of_one_side_reaches_the_other(proxy: Proxy) -> None:
    with connect(proxy) as connection:
        assert exchange(connection, b"x") == b"x"

        connection.shutdown(socket.SHUT_WR)

        assert connection.recv(1) == b""


def test_a_cut_resets_what_is_open_and_refuses_what_is_new_until_it_is_mended(
    proxy: Proxy,
) -> None:
    with connect(proxy) as connection:
        assert exchange(connection, b"x") == b"x"

        before = time.monotonic_ns()
        at = proxy.cut()

        assert before < at <= time.monotonic_ns()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
        for _ in range(50):
            with pytest.raises(ConnectionRefusedError):
                connect(proxy)
    assert proxy.mend() > at
    with connect(proxy) as connection:
        assert exchange(connection, b"again") == b"again"


def test_slow_takes_the_delay_each_way_and_keeps_the_order(proxy: Proxy) -> None:
    with connect(proxy) as connection:
        assert exchange(connection, b"x") == b"x"

        proxy.slow(DELAY_S)
        before = time.monotonic()
        for part in (b"one ", b"two ", b"three"):
            connection.sendall(part)
        came = exchange(connection, b"")
        while len(came) < len(b"one two three"):
            came += connection.recv(100)

        assert came == b"one two three"
        assert time.monotonic() - before >= 2 * DELAY_S
        proxy.mend()
        assert exchange(connection, b"y") == b"y"


def test_a_redis_that_is_not_there_is_an_error_of_the_connection_not_of_the_proxy(
    echo: Echo,
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with Proxy(f"redis://127.0.0.1:{nobody.getsockname()[1]}/0") as proxy:
            # The reset may come before we know that we are connected.
            with pytest.raises(ConnectionResetError), connect(proxy) as connection:
                exchange(connection, b"x")

            assert proxy.mend() > 0


def test_it_ends_with_its_owner_and_a_dead_one_is_named(echo: Echo) -> None:
    with Proxy(f"redis://127.0.0.1:{echo.port}/0") as proxy:
        process = psutil.Process(proxy.pid)
        process.kill()
        process.wait()
        with pytest.raises(BrokerError, match="proxy before Redis has ended"):
            proxy.mend()

    assert not process.is_running()


def test_it_cannot_stand_before_an_encrypted_redis() -> None:
    with pytest.raises(BrokerError, match="in the clear"):
        Proxy("rediss://127.0.0.1:6379/0")
