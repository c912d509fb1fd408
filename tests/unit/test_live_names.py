"""The page answers those who call it by its own name, and nobody else, whatever they ask for."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from poolproof.live.names import Named
from poolproof.live.server import make
from poolproof.live.show import Show
from poolproof_workers.contract import Entry

if TYPE_CHECKING:
    from pathlib import Path

#: What there is to ask for: page, session, socket, scripts, reports, and nothing.
_PATHS = ("/", "/autoload.js", "/ws", "/static/js/bokeh.min.js", "/report/x", "/no-such")


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _show(runs: Path) -> Show:
    show = Show(runs)
    for number, op in enumerate(("run-begin", "hello"), 1):
        body = {"op": op, "run": "r", "tag": 1, "side": "a", "t_ns": number, "boot": "b"}
        show.stage.take(Entry.of_op("w", "w#1", number, body))
    return show


async def _code(port: int, name: str, path: str, method: str = "GET") -> int:
    """Ask as a browser does that took a name for ours, also of where its page is from."""
    asked = HTTPRequest(
        f"http://127.0.0.1:{port}{path}",
        method,
        {"Host": name, "Origin": f"http://{name}"},
        allow_nonstandard_methods=True,
    )
    return (await AsyncHTTPClient().fetch(asked, raise_error=False)).code


def _codes(runs: Path, port: int, host: str, name: str, token: str = "") -> dict[str, int]:
    async def ask() -> dict[str, int]:
        server = make(_show(runs), host, port, token)
        server.start()
        try:
            return {path: await _code(port, f"{name}:{port}", path) for path in _PATHS}
        finally:
            server.stop()

    return asyncio.run(ask())


@pytest.mark.parametrize("token", ["", "word"])
@pytest.mark.parametrize("name", ["evil.example", "localhost.evil.example", "10.1.2.3", "x"])
def test_whoever_calls_it_by_another_name_is_refused_everything(
    tmp_path: Path, port: int, name: str, token: str
) -> None:
    assert set(_codes(tmp_path, port, "127.0.0.1", name, token).values()) == {403}


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LocalHost", "[::1]"])
def test_whoever_calls_it_by_its_own_name_gets_what_there_is(
    tmp_path: Path, port: int, name: str
) -> None:
    found = _codes(tmp_path, port, "127.0.0.1", name)

    assert found["/"] == found["/static/js/bokeh.min.js"] == 200
    assert found["/report/x"] == found["/no-such"] == 404


def test_at_all_addresses_it_answers_to_any_address_and_to_no_other_name(
    tmp_path: Path, port: int
) -> None:
    assert _codes(tmp_path, port, "0.0.0.0", "192.168.7.7", "word")["/no-such"] == 404
    assert set(_codes(tmp_path, port, "0.0.0.0", "evil.example", "word").values()) == {403}


def test_the_name_that_it_is_served_at_is_its_own() -> None:
    named = Named("Box.lan")

    assert [named.match(_request(name)) for name in ("box.lan", "box.lan:80", "localhost")] == [
        {}
    ] * 3
    assert named.match(_request("other.lan")) is None


def _request(name: str) -> HTTPServerRequest:
    start = RequestStartLine("GET", "/", "HTTP/1.1")
    return HTTPServerRequest(start_line=start, headers=HTTPHeaders(Host=name))
