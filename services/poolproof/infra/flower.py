"""A Flower of our own beside the workers of a run: it ends with us, and only looks."""

from __future__ import annotations

import base64
import http.client
import importlib.util
import json
import secrets
import time
import urllib.request
from typing import TYPE_CHECKING, Any, Final, Self

from poolproof.infra.child import Child
from poolproof.infra.place import bound
from poolproof_workers.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from poolproof_workers.contract import Keys

USER: Final = "poolproof"
_ASK_S: Final = 1.0
_POLL_S: Final = 0.1
_END_S: Final = 5.0
_WORDS: Final = (
    "--app",
    "poolproof_workers.app",
    "flower",
    "--address=127.0.0.1",
    "--read_only=True",
    "--persistent=False",
    "--url_prefix=",
    "--conf=/dev/null",  # not a programme that happens to lie in the folder we were started in
    "--logging=warning",
    # Again and again, in all workers: ours have them on or off as the run wants it.
    "--enable_events=False",
)


class FlowerPlace:
    """Where the Flowers of one run after another are: a free port of the loopback, and a password.

    A context manager: gives the port back.
    """

    def __init__(self) -> None:
        """Find a port. Raises UsageError where Flower is not installed."""
        if importlib.util.find_spec("flower") is None:
            raise UsageError("Flower is not installed here: pip install 'poolproof[flower]'.")
        self._bound = bound(0)  # kept: one that is killed comes back there
        self.password = secrets.token_urlsafe(12)

    @property
    def port(self) -> int:
        """The port."""
        port: int = self._bound.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Where it is, with its user and password."""
        return f"http://{USER}:{self.password}@127.0.0.1:{self.port}"

    def heard(self) -> set[str]:
        """Return the workers of which the Flower there has had an event; none if it is silent."""
        try:
            return {each["hostname"] for each in self.ask("workers?json=1")["data"]}
        except (TypeError, KeyError):
            return set()

    def ask(self, path: str) -> Any:
        """Return what the Flower there answers, read as JSON; None while it does not answer."""
        word = base64.b64encode(f"{USER}:{self.password}".encode()).decode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/{path}", headers={"Authorization": f"Basic {word}"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_ASK_S) as answer:
                return json.load(answer)
        except (OSError, http.client.HTTPException, ValueError):
            return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bound.close()


class LocalFlower:
    """A Flower at its place beside the workers of one run. From the main thread only.

    A context manager: ends it.
    """

    def __init__(self, place: FlowerPlace, redis_url: str, keys: Keys) -> None:
        self._place = place
        env = {
            "POOLPROOF_REDIS_URL": redis_url,
            "POOLPROOF_NAMESPACE": keys.namespace,
            "FLOWER_BASIC_AUTH": f"{USER}:{place.password}",
        }
        self._child = Child("Flower", (*_WORDS, f"--port={place.port}"), env, module="celery")

    @property
    def pid(self) -> int:
        """Pid of the process that runs now, or ran last."""
        return self._child.pid

    def check(self) -> None:
        """Start it again if it was killed. Raises WorkerError if it dies again and again."""
        self._child.check()

    def wait(self, workers: Iterable[str], deadline_s: float) -> bool:
        """Wait until it hears all of these workers; False if the deadline comes first."""
        wanted, deadline = set(workers), time.monotonic() + deadline_s
        while not wanted <= self._place.heard():
            if time.monotonic() > deadline:
                return False
            self.check()
            time.sleep(_POLL_S)
        return True

    def close(self) -> None:
        """End it."""
        self._child.ask_to_stop()
        self._child.end(_END_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
