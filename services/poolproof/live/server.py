"""The server of the page: one run, any number of browsers, none of which the run waits for."""

from __future__ import annotations

from socket import SO_SNDBUF, SOL_SOCKET
from typing import TYPE_CHECKING, Any, Final

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.server.auth_provider import NullAuth
from bokeh.server.server import BaseServer
from bokeh.server.tornado import BokehTornado
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop, PeriodicCallback
from tornado.netutil import bind_sockets
from tornado.web import HTTPError, RequestHandler

from poolproof.live.names import LOOPBACK, only_by_name
from poolproof.live.page import build
from poolproof.live.token import Token
from poolproof_workers.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bokeh.document import Document

    from poolproof.live.show import Show


#: While nobody looks: a page that is drawn asks for more often.
_ADVANCE_MS: Final = 100
_ASK_FLOWER_MS: Final = 2_000
#: What may wait in the kernel for a browser that is slow. A page draws its next frame only when the
#: last one is on its way: without this limit 5 MB of old frames would be.
_WAITING_BYTES: Final = 1 << 17


def serve(show: Show, host: str, port: int, token: str = "") -> None:
    """Serve the page until the process is told to stop.

    Raises UsageError if the port is taken, and for a host that others can reach without a token.
    """
    server = make(show, host, port, token)

    async def ask_flower() -> None:
        # It takes CPU time from what runs here: only where somebody looks.
        if server.get_sessions():
            await show.ask_flower()

    timers = [
        PeriodicCallback(show.advance, _ADVANCE_MS),
        PeriodicCallback(ask_flower, _ASK_FLOWER_MS),
    ]
    server.start()
    for timer in timers:
        timer.start()
    try:
        server.io_loop.start()
    finally:
        for timer in timers:
            timer.stop()
        server.stop()


def make(show: Show, host: str, port: int, token: str = "") -> BaseServer:
    """Make a server that listens, on the loop of this thread. Raises as `serve` does."""
    if host not in LOOPBACK and not token:
        raise UsageError(f"Others can reach {host}: name a --token that they must know.")

    def fill(document: Document) -> None:
        build(document, show)

    try:
        sockets = bind_sockets(port, host)
    except OSError as error:
        raise UsageError(f"Port {port} of {host} cannot be had: {error.strerror}.") from error
    for each in sockets:
        each.setsockopt(SOL_SOCKET, SO_SNDBUF, _WAITING_BYTES)
    auth = Token(token) if token else NullAuth()
    pages = BokehTornado(
        {"/": Application(FunctionHandler(fill))},
        auth_provider=auth,
        extra_patterns=[(r"/report/([^/]+)", ReportHandler, {"show": show, "user": auth.get_user})],
        # Only pages that came from here may talk back: a browser says where its page is from.
        extra_websocket_origins=[f"{name}:{port}" for name in (*LOOPBACK, host)],
    )
    http = HTTPServer(only_by_name(pages, host))
    http.add_sockets(sockets)
    return BaseServer(IOLoop.current(), pages, http)


class ReportHandler(RequestHandler):
    """The HTML report of a run, as it lies in the run's folder."""

    def initialize(self, show: Show, user: Callable[[RequestHandler], Any] | None) -> None:
        """`user` tells who asks, None if nobody is to be asked."""
        self._show, self._user = show, user

    def get(self, run: str) -> None:
        """Answer with the report; 403 for a stranger, 404 if there is none."""
        if self._user is not None and self._user(self) is None:
            raise HTTPError(403)
        path = self._show.report(run)
        if path is None:
            raise HTTPError(404)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(path.read_bytes())
