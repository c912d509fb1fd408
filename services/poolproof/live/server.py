"""The server of the page: one run, any number of browsers, none of which the run waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.server.auth_provider import NullAuth
from bokeh.server.server import Server
from tornado.ioloop import PeriodicCallback

from poolproof.live.page import build
from poolproof.live.token import Token
from poolproof_workers.errors import UsageError

if TYPE_CHECKING:
    from bokeh.document import Document

    from poolproof.live.show import Show

LOOPBACK: Final = ("127.0.0.1", "localhost")
_ADVANCE_MS: Final = 40
_ASK_FLOWER_MS: Final = 2_000


def serve(show: Show, host: str, port: int, token: str = "") -> None:
    """Serve the page until the process is told to stop.

    Raises UsageError if the port is taken, and for a host that others can reach without a token.
    """
    if host not in LOOPBACK and not token:
        raise UsageError(f"Others can reach {host}: name a --token that they must know.")

    def fill(document: Document) -> None:
        build(document, show)

    try:
        server = Server(
            {"/": Application(FunctionHandler(fill))},
            port=port,
            address=host,
            auth_provider=Token(token) if token else NullAuth(),
            # Only pages that came from here may talk back: a browser says where its page is from.
            allow_websocket_origin=[f"{name}:{port}" for name in (*LOOPBACK, host)],
        )
    except OSError as error:
        raise UsageError(f"Port {port} of {host} cannot be had: {error.strerror}.") from error

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
