"""A small HTTP server that takes its time: `GET /SECONDS/NUMBER` is answered after that long."""

from __future__ import annotations

import asyncio
import resource
import socket
import subprocess
import sys
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Self

from poolproof_workers.errors import WorkerError
from poolproof_workers.supervisor.leash import leashed
from poolproof_workers.workloads.http import answer

if TYPE_CHECKING:
    from types import TracebackType

_END_S: Final = 5.0
#: Connections that may be open at once; whatever comes on top waits to be accepted.
_MAX_OPEN: Final = 10_000
_BACKLOG: Final = 4_096
_MAX_WAIT_S: Final = 3_600.0
_MAX_REQUEST_BYTES: Final = 8_192
#: A client that does not send its request in this time is dropped.
_REQUEST_S: Final = 30.0


class HttpServer:
    """The server as a process of ours, on loopback; it never outlives us.

    It is only started when somebody asks for its `url`, which must be the main thread. A context
    manager: ends the process.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._url = ""

    def url(self) -> str:
        """Return where it listens; start it if it does not run yet."""
        if self._process is None:
            # Bound here and handed down: it listens as soon as it is started, on a port of its own.
            with socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as listening:
                self._url = f"http://127.0.0.1:{listening.getsockname()[1]}"
                self._process = _launch(listening)
        return self._url

    @property
    def pid(self) -> int | None:
        """Pid of the process; None if nobody has needed it."""
        return self._process.pid if self._process else None

    def check(self) -> None:
        """Raise WorkerError if it has ended."""
        if self._process is not None and (code := self._process.poll()) is not None:
            raise WorkerError(f"The HTTP server of the run ended with {code}.")

    def close(self) -> None:
        """End it. Safe to call more than once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_END_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _launch(listening: socket.socket) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        leashed([sys.executable, "-m", __name__, str(listening.fileno())]),
        pass_fds=[listening.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # Ctrl-C is for us: running tasks still wait for their answers.
        start_new_session=True,
    )


async def _serve(listening: socket.socket) -> None:
    room = asyncio.Semaphore(_MAX_OPEN)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with room:
            with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
                await _respond(reader, writer)
        writer.close()

    server = await asyncio.start_server(handle, sock=listening, limit=_MAX_REQUEST_BYTES)
    async with server:
        await server.serve_forever()


async def _respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.timeout(_REQUEST_S):
            head = await reader.readuntil(b"\r\n\r\n")
        wait_s, number = _asked(head)
    except (ValueError, asyncio.LimitOverrunError):
        writer.write(_response(HTTPStatus.BAD_REQUEST, "GET /SECONDS/NUMBER"))
    else:
        await asyncio.sleep(wait_s)
        writer.write(_response(HTTPStatus.OK, str(answer(number))))
    await writer.drain()


def _asked(head: bytes) -> tuple[float, int]:
    method, path, _ = head.partition(b"\r\n")[0].decode("ascii").split(" ")
    empty, wait, number = path.split("/")
    wait_s = float(wait)
    if method != "GET" or empty or not 0 <= wait_s <= _MAX_WAIT_S:
        raise ValueError(path)
    return wait_s, int(number)


def _response(status: HTTPStatus, body: str) -> bytes:
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return (head + body).encode("ascii")


def _main(fd: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_OPEN + _BACKLOG
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    asyncio.run(_serve(socket.socket(fileno=int(fd))))


if __name__ == "__main__":
    _main(*sys.argv[1:])
