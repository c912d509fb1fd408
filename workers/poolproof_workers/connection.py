"""A connection to Redis for those who have to notice when it is lost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from redis import Redis
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ConnectionError,  # noqa: A004
    NoPermissionError,
    OutOfMemoryError,
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004
)
from redis.retry import Retry

from poolproof_workers.errors import RedisUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")

_TIMEOUT_S: Final = 5.0
_CONNECT_S: Final = 2.0
_PAUSE_S: Final = 0.25
#: Answers that do not get better by waiting.
_REFUSALS: Final = (AuthenticationError, AuthorizationError, NoPermissionError, ResponseError)


def client(url: str, timeout_s: float = _TIMEOUT_S, connect_s: float = _CONNECT_S) -> Redis:
    """Return a client that never tries again by itself. Raises ValueError for a bad URL.

    redis-py's own retries would hide that a connection was lost, and with it what was sent: then
    it has to be sent again from what is known to be saved.
    """
    return Redis.from_url(
        url,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=timeout_s,
        socket_connect_timeout=connect_s,
    )


def noticing(redis: Redis) -> Redis:
    """Let a client tell of every lost connection, also of one that was lost between two commands.

    redis-py would make that one anew without a word, and a Redis that came back empty in the
    meantime would be taken for the one that has what was sent. The command that finds the
    connection lost is not sent and raises redis.ConnectionError; the next one connects.
    """
    pool = redis.connection_pool
    pool.disconnect()
    pool.reset()
    pool.connection_class = type("Noticing", (_Noticing, pool.connection_class), {})
    return redis


class _Noticing(AbstractConnection):
    """What `noticing` puts before the class of a connection, whichever that is."""

    _lost = False

    def can_read(self, timeout: float = 0) -> bool:
        # The pool asks this before each command: an idle connection that can be read has ended.
        self._lost = True
        self._lost = super().can_read(timeout)
        return self._lost

    def connect(self) -> None:
        if self._lost:
            self._lost = False
            raise ConnectionError("the connection was lost")
        super().connect()  # type: ignore[no-untyped-call]


def wait_until_reachable(
    redis: Redis, url: str, patience_s: float, sleep: Callable[[float], Any] = time.sleep
) -> None:
    """Return as soon as Redis answers. Raises RedisUnreachable if it refuses us or stays silent."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            redis.ping()
        except BusyLoadingError as error:
            problem: RedisError = error
        except _REFUSALS as error:
            raise RedisUnreachable(f"Redis at {place(url)} refuses us: {error}.") from error
        except RedisError as error:
            problem = error
        else:
            return
        if time.monotonic() >= deadline:
            raise RedisUnreachable(
                f"No Redis answers at {place(url)} ({problem})."
                " Start one, or set POOLPROOF_REDIS_URL."
            ) from problem
        sleep(_PAUSE_S)


def persevere(
    action: Callable[[], _T],
    patience_s: float,
    *,
    again: Callable[[], object] = lambda: None,
    sleep: Callable[[float], Any] = time.sleep,
) -> _T:
    """Do `action`, again for as long as Redis may come back; before each new try `again`.

    A command whose answer was lost is then done twice. Raises RedisUnreachable if Redis refuses us,
    or stays away for `patience_s`.
    """
    deadline = time.monotonic() + patience_s
    is_lost = False
    while True:
        try:
            if is_lost:
                again()
            return action()
        except (AuthenticationError, AuthorizationError) as error:
            raise RedisUnreachable(f"Redis refuses us: {error}") from error
        except (ConnectionError, TimeoutError) as error:
            if time.monotonic() > deadline:
                raise RedisUnreachable(
                    f"Redis went away and did not come back within {patience_s:.0f} s: {error}"
                ) from error
        is_lost = True
        sleep(_PAUSE_S)


def trouble(error: RedisError) -> str:
    """Say what is wrong with Redis, in words that end without a full stop."""
    match error:
        case OutOfMemoryError():
            return (
                "Redis is full: it holds all that its maxmemory allows. "
                "Make room in it, raise that limit, or name another Redis"
            )
        case ResponseError():
            return f"Redis refuses what it is asked: {error}"
        case _:
            return f"Redis went away: {error}"


def place(url: str) -> str:
    """Return host and port of a URL, without the password."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 6379}"
