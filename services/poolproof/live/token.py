"""Lets in only whoever knows a word: for a page that others than this machine can reach."""

from __future__ import annotations

from secrets import compare_digest
from typing import TYPE_CHECKING, Any, Final

from bokeh.server.auth_provider import AuthProvider
from tornado.web import HTTPError, RequestHandler
from tornado.websocket import WebSocketHandler

if TYPE_CHECKING:
    from collections.abc import Callable

_COOKIE: Final = "poolproof-token"
_REFUSED: Final = "/refused"


class Token(AuthProvider):  # type: ignore[misc]
    """Asks for `?token=WORD` once, and keeps it in a cookie that no script can read."""

    def __init__(self, word: str) -> None:
        self._word = word
        super().__init__()

    @property
    def get_user(self) -> Callable[[RequestHandler], str | None]:
        """Return what tells whether a request knows the word."""
        return self._user

    @property
    def login_url(self) -> str:
        """Where those go who do not know it."""
        return _REFUSED

    @property
    def login_handler(self) -> type[RequestHandler]:
        """What tells them so."""
        return _Refused

    @property
    def logout_url(self) -> None:
        """There is nothing to log out of."""
        return

    def _user(self, request: RequestHandler) -> str | None:
        said = request.get_argument("token", "")
        known = request.get_cookie(_COOKIE) or ""
        if not any(compare_digest(each.encode(), self._word.encode()) for each in (said, known)):
            if isinstance(request, WebSocketHandler):  # it cannot be sent to another page
                raise HTTPError(403, "it does not know the token")
            return None
        # A browser's socket asks with the words of its page; it cannot be given a cookie.
        if said and not isinstance(request, WebSocketHandler):
            request.set_cookie(_COOKIE, self._word, httponly=True, samesite="Strict")
        return "known"


class _Refused(RequestHandler):
    """Says how to get in."""

    def get(self, *_args: Any) -> None:
        """Answer 403."""
        self.set_status(403)
        self.finish("Open this page with ?token=WORD; whoever started poolproof was told the word.")
