"""Browsers that are slow or stuck cost the page's server, and other browsers, next to nothing."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest
from bokeh.util.token import generate_jwt_token, generate_session_id
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from poolproof.live.lanes import Lanes
from poolproof.live.server import make
from poolproof.live.show import Show
from poolproof_workers.contract import Entry
from poolproof_workers.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from bokeh.server.server import BaseServer
    from tornado.websocket import WebSocketClientConnection

_HOST = "127.0.0.1"
#: So many that a few frames fill every buffer on the way to a browser.
_LANES = 256
_FRAMES = 20


class _Counted(Lanes):
    """Counts how often somebody draws it."""

    drawn = 0

    def image(self, now_ns: int) -> np.ndarray:
        self.drawn += 1
        return super().image(now_ns)


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def _show(runs: Path) -> tuple[Show, _Counted]:
    show, lanes = Show(runs), _Counted()
    for number, op in enumerate(("run-begin", "hello"), 1):
        body = {"op": op, "run": "r", "tag": 1, "side": "a", "t_ns": number, "boot": "b"}
        show.stage.take(Entry.of_op("w", "w#1", number, body))
    show.stage.sides["a"].lanes = lanes
    for tid in range(_LANES):
        lanes.get("ring", 1, tid, 0)
    return show, lanes


async def _open(port: int) -> WebSocketClientConnection:
    """Open the page's socket as a browser does; it takes what is sent only when it is read."""
    origin = {"Origin": f"http://{_HOST}:{port}"}
    words = ["bokeh", generate_jwt_token(generate_session_id())]
    request = HTTPRequest(f"ws://{_HOST}:{port}/ws", headers=origin)
    return await websocket_connect(request, subprotocols=words)


async def _leave(server: BaseServer, *browsers: WebSocketClientConnection) -> None:
    """Close the sockets, and the server when it has noticed: a draw may be under way."""
    for browser in browsers:
        assert browser.protocol
        stream = browser.protocol.stream
        browser.close()
        # One that takes nothing never reads the server's farewell.
        stream.close()
    while any(session.connection_count for session in server.get_sessions("/")):
        await asyncio.sleep(0.01)
    server.stop()


async def _take(browser: WebSocketClientConnection, images: int) -> None:
    while images:
        images -= isinstance(await browser.read_message(), bytes)


def test_a_browser_that_takes_nothing_is_drawn_nothing_and_another_goes_on(
    tmp_path: Path, port: int
) -> None:
    show, lanes = _show(tmp_path)

    async def look() -> int:
        server = make(show, _HOST, port)
        server.start()
        stuck, other = await _open(port), await _open(port)
        await _take(other, _FRAMES)
        drawn = lanes.drawn
        await _take(stuck, _FRAMES)
        await _leave(server, stuck, other)
        return drawn

    assert asyncio.run(look()) <= _FRAMES + 7  # twice as many, if each were drawn all of them


def test_a_page_that_others_can_reach_needs_a_token(tmp_path: Path, port: int) -> None:
    with pytest.raises(UsageError, match="--token"):
        make(Show(tmp_path), "0.0.0.0", port)


def test_a_socket_that_does_not_know_the_token_is_refused_in_one_line(
    tmp_path: Path, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def knock() -> bytes:
        server = make(Show(tmp_path), _HOST, port, "the word")
        server.start()
        reader, writer = await asyncio.open_connection(_HOST, port)
        writer.write(
            b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        said = await reader.read()
        writer.close()
        await writer.wait_closed()
        server.stop()
        return said

    # Tornado has shaken hands before it asks who is there; then it hangs up.
    assert asyncio.run(knock()).endswith(b"\r\n\r\n")
    assert not [record for record in caplog.records if record.exc_info]
    (said,) = [record for record in caplog.records if "/ws" in record.getMessage()]
    assert said.getMessage().startswith("403 ")
