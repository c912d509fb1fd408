"""A Flower of our own beside the workers of a run: it ends with us, and only looks."""

from __future__ import annotations

import base64
import http.client
import importlib.util
import json
import secrets
import time
import urllib.request
from typing import TYPE_CHECKING, Final, Self

from poolproof.fleet.child import Child
from poolproof.fleet.place import bound
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


class LocalFlower:
    """A Flower on a free port of the loopback, with a password of its own. From the main thread.

    A context manager: ends it.
    """

    def __init__(self, redis_url: str, keys: Keys) -> None:
        """Start it. Raises UsageError where Flower is not installed."""
        if importlib.util.find_spec("flower") is None:
            raise UsageError("Flower is not installed here: pip install 'poolproof[flower]'.")
        # Kept as long as we are: it is started again on the same port if it is killed.
        self._place = bound(0)
        self._password = secrets.token_urlsafe(12)
        self._at = f"127.0.0.1:{self._place.getsockname()[1]}"
        env = {
            "POOLPROOF_REDIS_URL": redis_url,
            "POOLPROOF_NAMESPACE": keys.namespace,
            "FLOWER_BASIC_AUTH": f"{USER}:{self._password}",
        }
        words = (*_WORDS, f"--port={self._at.rpartition(':')[2]}")
        self._child = Child("Flower", words, env, module="celery")

    @property
    def url(self) -> str:
        """Where it is, with its user and password."""
        return f"http://{USER}:{self._password}@{self._at}"

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
        while not wanted <= self._heard():
            if time.monotonic() > deadline:
                return False
            self.check()
            time.sleep(_POLL_S)
        return True

    def close(self) -> None:
        """End it."""
        self._child.ask_to_stop()
        self._child.end(_END_S)
        self._place.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _heard(self) -> set[str]:
        """Return the workers of which it has had an event; none while it does not answer."""
        word = base64.b64encode(f"{USER}:{self._password}".encode()).decode()
        request = urllib.request.Request(
            f"http://{self._at}/workers?json=1", headers={"Authorization": f"Basic {word}"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_ASK_S) as answer:
                return {each["hostname"] for each in json.load(answer)["data"]}
        except (OSError, http.client.HTTPException, ValueError, KeyError):
            return set()
