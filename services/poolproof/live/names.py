"""Answers only those who call the page by a name of its own.

A page elsewhere whose name was made to lead to this machine (DNS rebinding) is, to a browser, of
the same origin as ours: nothing but the name in its request tells that it is a stranger.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from tornado.routing import AnyMatches, Matcher, Router, Rule, RuleRouter
from tornado.web import Application, RequestHandler

if TYPE_CHECKING:
    from tornado.httputil import HTTPServerRequest

#: As they stand in a request. What is served at another can be reached from elsewhere.
LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
_ALL: Final = {"0.0.0.0", "::", ""}  # noqa: S104  compared with, not bound to


def only_by_name(pages: Router, host: str) -> Router:
    """Return what hands requests on to `pages` if they ask for loopback, or for `host`.

    Where `host` stands for all addresses of this machine, any address will do: one needs no name
    server, which could lie. All other requests are refused, whatever they are for.
    """
    return RuleRouter([Rule(Named(host), pages), Rule(AnyMatches(), Application([(r".*", _No)]))])


class Named(Matcher):
    """Matches requests that call the page by a name of its own."""

    def __init__(self, host: str) -> None:
        """`host` is what the page is served at."""
        self._names = {*LOOPBACK, host.lower(), f"[{host.lower()}]"}
        self._any_address = host in _ALL

    def match(self, request: HTTPServerRequest) -> dict[str, str] | None:
        """Return no arguments, or None for a request by another name."""
        name = request.host_name
        return {} if name in self._names or (self._any_address and _is_address(name)) else None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


class _No(RequestHandler):
    """Says why, to whatever is asked."""

    def prepare(self) -> None:
        """Answer 403."""
        self.set_status(403)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish("This page answers to its own name only: open the address that poolproof told.")
