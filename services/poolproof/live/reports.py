"""Hands out the reports of runs that are over, to whoever may see the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tornado.web import HTTPError, RequestHandler

if TYPE_CHECKING:
    from collections.abc import Callable

    from poolproof.live.show import Show


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
