"""A TCP proxy between one worker and Redis that can be told to cut its connections, or be slow.

Run as a program it serves one owner: it prints its port, then takes a JSON order a line and prints
a line for each as soon as that is done, with the time on the monotonic clock. It ends with its
input.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit, urlunsplit

from poolproof.infra.place import bound
from poolproof_workers.errors import BrokerError
from poolproof_workers.supervisor.leash import leashed

if TYPE_CHECKING:
    from types import TracebackType

_CHUNK_BYTES: Final = 65_536
_END_S: Final = 5.0


class Proxy:
    """A proxy in a process of its own, that never outlives us; start it from the main thread.

    `url` is that of Redis with the proxy's address in it. A context manager: ends the process.
    """

    def __init__(self, url: str) -> None:
        """Start it. Raises BrokerError if it does not start or cannot stand before this `url`."""
        parts = urlsplit(url)
        if parts.scheme != "redis" or not parts.hostname:
            raise BrokerError(
                "a proxy can only stand before a Redis that is spoken to in the clear."
            )
        self._process = subprocess.Popen(
            leashed(
                [sys.executable, "-m", __name__, parts.hostname, str(parts.port or 6379)],
            ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C is for us: the worker still needs its broker while it is stopped.
            start_new_session=True,
        )
        try:
            port = self._answer()["port"]
        except BaseException:
            self.close()
            raise
        user, at, _ = parts.netloc.rpartition("@")
        self.url = urlunsplit(parts._replace(netloc=f"{user}{at}127.0.0.1:{port}"))

    @property
    def pid(self) -> int:
        """Pid of its process."""
        return self._process.pid

    def cut(self) -> int:
        """Reset all connections and refuse new ones; return when it was done (monotonic ns)."""
        return self._order("cut")

    def slow(self, delay_s: float) -> int:
        """From now on pass on everything so much later, each way; return since when."""
        return self._order("slow", delay_s=delay_s)

    def mend(self) -> int:
        """Let all pass again, at once; return since when."""
        return self._order("mend")

    def close(self) -> None:
        """End it. Safe to call twice."""
        self._process.kill()
        self._process.wait(_END_S)
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                with suppress(BrokenPipeError):
                    stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _order(self, order: str, **fields: float) -> int:
        assert self._process.stdin  # noqa: S101  it was opened with one
        try:
            self._process.stdin.write(json.dumps({"order": order, **fields}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise BrokerError("the proxy before Redis has ended.") from error
        t_ns: int = self._answer()["t_ns"]
        return t_ns

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout  # noqa: S101
        line = self._process.stdout.readline()
        if not line:
            raise BrokerError("the proxy before Redis has ended.")
        answer: dict[str, Any] = json.loads(line)
        return answer


class _Way:
    """The connections that pass through here, and what is done to them."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._delay_s = 0.0
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._place: socket.socket | None = None
        self.port = 0

    async def listen(self) -> None:
        """Begin to take connections."""
        if self._place:
            self._place.close()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def obey(self, order: dict[str, Any]) -> None:
        """Do what the owner says."""
        match order:
            case {"order": "cut"}:
                self._cut()
            case {"order": "slow", "delay_s": float(delay_s)}:
                self._delay_s = delay_s
            case {"order": "mend"}:
                self._delay_s = 0.0
                if self._server is None:
                    await self.listen()

    def _cut(self) -> None:
        if self._server:
            self._server.close()
            self._server = None
            self._place = bound(self.port)
        for writer in self._open:
            _reset(writer)
        self._open.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Accepted before the cut, and served only now.
        if self._server is None:
            _reset(writer)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        except OSError:
            _reset(writer)
            return
        both = {writer, far_writer}
        self._open |= both
        ways = [
            asyncio.create_task(self._carry(reader, far_writer)),
            asyncio.create_task(self._carry(far_reader, writer)),
        ]
        await asyncio.gather(*ways)
        self._open -= both
        for each in both:
            each.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what comes, each piece so much later as the delay was when it came."""
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        passing = asyncio.create_task(_pass_on(pieces, writer))
        with suppress(OSError):
            while piece := await reader.read(_CHUNK_BYTES):
                await pieces.put((time.monotonic() + self._delay_s, piece))
        await pieces.put((time.monotonic() + self._delay_s, b""))
        await passing


async def _pass_on(
    pieces: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
) -> None:
    with suppress(OSError):
        while (item := await pieces.get())[1]:
            due, piece = item
            if (wait_s := due - time.monotonic()) > 0:
                await asyncio.sleep(wait_s)
            writer.write(piece)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    # Not a polite end: whoever is at the other end gets an error at once (RST).
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


async def _run(host: str, port: int) -> None:
    way = _Way(host, port)
    await way.listen()
    _say(port=way.port)
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(orders), sys.stdin
    )
    while line := await orders.readline():
        await way.obey(json.loads(line))
        _say(t_ns=time.monotonic_ns())


def _say(**fields: int) -> None:
    print(json.dumps(fields), flush=True)


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1], int(sys.argv[2])))
