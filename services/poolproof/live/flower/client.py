"""Asks a Flower over HTTP what Celery's task events have told it of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlencode, urlsplit, urlunsplit

from tornado.escape import json_decode
from tornado.httpclient import AsyncHTTPClient, HTTPClientError

from poolproof_workers.contract import parse_task_id, task_id
from poolproof_workers.errors import PoolproofError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

#: Tasks in one answer: Flower makes it in about 0.1 s of its time, and it is read in 5 ms of ours.
PAGE: Final = 1_000
_CONNECT_S: Final = 2.0
_ANSWER_S: Final = 5.0
#: Events of several workers come in out of order by less than this.
_OVERLAP_S: Final = 5.0
#: No run comes to so many tasks: a number above is an id that somebody made up.
_MOST: Final = 1 << 27


class NoAnswerError(PoolproofError):
    """Flower did not say what it knows; the text says why, as the end of a sentence."""


class Seen(IntEnum):
    """What Flower says of a task: the last that task events told it."""

    NEVER = 0  #: it never heard of it
    RECEIVED = 1
    STARTED = 2
    SUCCEEDED = 3
    FAILED = 4
    RETRIED = 5
    REVOKED = 6
    OTHER = 7  #: a state that tells neither way: sent, rejected, or one of the task's own


_STATES: Final = {
    "RECEIVED": Seen.RECEIVED,
    "STARTED": Seen.STARTED,
    "SUCCESS": Seen.SUCCEEDED,
    "FAILURE": Seen.FAILED,
    "RETRY": Seen.RETRIED,
    "REVOKED": Seen.REVOKED,
}


@dataclass(frozen=True, slots=True)
class Flower:
    """Where a Flower is, and who may ask it. `login` is a file that holds USER:PASSWORD."""

    url: str  #: for people's browsers; a USER:PASSWORD@ in it is told to them, too
    api: str = ""  #: where the page asks it, if that is another way to it
    login: Path | None = None

    @property
    def link(self) -> str:
        """Its URL, without user and password."""
        parts = urlsplit(self.url)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))

    @property
    def told(self) -> tuple[str, str] | None:
        """User and password as the URL has them, for people to see; None if it has none."""
        parts = urlsplit(self.url)
        if parts.username is None or parts.password is None:
            return None
        return unquote(parts.username), unquote(parts.password)

    async def tasks(self, tag: int, offset: int) -> dict[str, Any]:
        """Return at most `PAGE` tasks of the run `tag` by id, after the `offset` newest.

        Never takes longer than a few seconds, and blocks nobody. Raises NoAnswerError.
        """
        # The run's part of its tasks' ids: Flower finds it in the text of a task.
        asked = urlencode({"limit": PAGE, "offset": offset, "search": task_id(tag, 0)[:24]})
        user, password = self._login()
        try:
            answer = await AsyncHTTPClient().fetch(
                f"{(self.api or self.link).rstrip('/')}/api/tasks?{asked}",
                auth_username=user,
                auth_password=password,
                connect_timeout=_CONNECT_S,
                request_timeout=_ANSWER_S,
                follow_redirects=False,
            )
            found = json_decode(answer.body)
        except HTTPClientError as error:
            raise NoAnswerError(_reason(error)) from error
        except OSError as error:
            raise NoAnswerError(f"cannot be reached ({error.strerror or error})") from error
        except ValueError as error:
            raise NoAnswerError("does not answer in JSON") from error
        if not isinstance(found, dict):
            raise NoAnswerError("answers with something that is no list of tasks")
        return found

    def _login(self) -> tuple[str | None, str | None]:
        if self.login is None:
            return self.told or (None, None)
        try:
            # Each time: a Flower that is started anew may have made up another.
            user, _, password = self.login.read_text("utf-8").rstrip("\n").partition(":")
        except (OSError, ValueError) as error:
            raise NoAnswerError(f"has not left its password in {self.login}") from error
        return user, password


@dataclass(slots=True)
class Heard:
    """All that a Flower has told of one run, from answers that begin with its newest task."""

    tag: int
    seen: bytearray = field(default_factory=bytearray)  #: by task number: a `Seen`
    newest_s: float = 0.0  #: Unix time of the latest event that it told of
    offset: int = 0  #: what to ask for next; 0: all that it knows has been read
    _top_s: float = 0.0
    _read_s: float = 0.0  # all that was older has been read

    def take(self, tasks: Mapping[str, Any]) -> None:
        """Learn from the answer for `offset`."""
        if not self.offset:
            self._top_s = self.newest_s
            if len(tasks) < PAGE:
                # All that it knows: one that was started anew has forgotten the rest.
                self.seen.clear()
        oldest_s = math.inf
        for number, seen, last_s in self._ours(tasks):
            self.seen.extend(bytes(max(0, number + 1 - len(self.seen))))
            self.seen[number] = seen
            self._top_s, oldest_s = max(self._top_s, last_s), min(oldest_s, last_s)
        if len(tasks) < PAGE or oldest_s < self._read_s:
            self._read_s = self._top_s - _OVERLAP_S
            self.newest_s, self.offset = self._top_s, 0
        else:
            self.offset += len(tasks)

    def _ours(self, tasks: Mapping[str, Any]) -> Iterator[tuple[int, Seen, float]]:
        for uuid, task in tasks.items():
            try:
                tag, number = parse_task_id(uuid)
                state, last_s = task["state"], float(task["timestamp"] or 0.0)
            except (ValueError, TypeError, KeyError):
                continue
            if tag == self.tag and number <= _MOST and uuid == task_id(tag, number):
                yield number, _STATES.get(state, Seen.OTHER), last_s


def _reason(error: HTTPClientError) -> str:
    if error.code in {401, 403}:
        return "refuses the page's user and password"
    if error.code == 599:
        return f"does not answer ({error.message})"
    return f"answers with {error.code} {error.message}"
