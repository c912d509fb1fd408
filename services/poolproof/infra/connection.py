"""A checked connection to a Redis, and what may be asked of any Redis."""

from __future__ import annotations

import itertools
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import redis

from poolproof_workers import connection
from poolproof_workers.errors import BrokerError, RedisUnreachable, UsageError
from poolproof_workers.settings import URL_SHAPE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from poolproof_workers.contract import Keys

#: The oldest that has what Celery and the history need. Valkey counts as the Redis it says it is.
OLDEST: Final = (6, 2)
_TIMEOUT_S: Final = 10.0
_CONNECT_S: Final = 5.0

#: Errors of redis-py and of reading what is no INFO; the narrow before the wide.
_REASONS: Final[tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...]] = (
    (
        redis.AuthenticationError,
        "wrong or missing password; put it into the URL, redis://:PASSWORD@HOST:PORT",
    ),
    (
        redis.exceptions.NoPermissionError,
        "its rules do not allow us INFO; poolproof needs a user who may do all",
    ),
    (redis.BusyLoadingError, "it is still loading its data; try again"),
    (redis.TimeoutError, "it does not answer"),
    (
        (redis.exceptions.InvalidResponse, KeyError, ValueError, AttributeError),
        "what answers there is not a Redis",
    ),
)


@dataclass(frozen=True, slots=True)
class ServerVersion:
    """What a server really is: Valkey calls itself Redis 7.2.4 for the sake of old clients."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def connect(url: str, timeout_s: float = _TIMEOUT_S) -> redis.Redis:
    """Return a client that has spoken with a server that is new enough; the caller closes it.

    It never sends a command again by itself: what was sent may have been done already, and a
    message put into a queue twice would be a task too many. It gives up on a server that is silent
    for `timeout_s`: keep a blocking command shorter than that.

    Raises UsageError for a bad URL, RedisUnreachable if there is no use in going on.
    """
    client = open_client(url, timeout_s)
    try:
        _check(client, url)
    except BaseException:
        client.close()
        raise
    return client


def open_client(url: str, timeout_s: float = _TIMEOUT_S) -> redis.Redis:
    """Return a client like that of `connect`, of a server that was not asked anything yet.

    Raises UsageError for a bad URL.
    """
    try:
        return connection.client(url, timeout_s, min(timeout_s, _CONNECT_S))
    except ValueError as error:
        raise UsageError(
            f"What was given is not the URL of a Redis, which looks like {URL_SHAPE}."
        ) from error


def describe(url: str) -> ServerVersion:
    """Return name and version of the server at `url`. Raises as `connect` does."""
    with connect(url) as client:
        return server_version(client)


def server_version(client: redis.Redis) -> ServerVersion:
    """Return name and version of the server behind `client`. Raises redis.RedisError."""
    return _server_version(_info(client))


def sweep(url: str, keys: Keys) -> int:
    """Delete every key under the namespace of `keys`, and no other; return how many there were.

    Raises as `connect` does.
    """
    prefix = f"{keys.namespace}:".encode()
    deleted = 0
    with connect(url) as client:
        # A namespace with a `*` in it must not match more than itself.
        found = (
            key for key in client.scan_iter(keys.pattern, count=1000) if key.startswith(prefix)
        )
        for batch in _batches(found, 1000):
            deleted += int(client.unlink(*batch))
    return deleted


@contextmanager
def swept(url: str, keys: Keys) -> Iterator[None]:
    """Leave no key behind; if the run failed, what it failed of is what is told."""
    try:
        yield
    except BaseException:
        with suppress(BrokerError):
            sweep(url, keys)
        raise
    sweep(url, keys)


def where(url: str) -> str:
    """Return the address in `url`, without user and password."""
    parts = urlsplit(url)
    return parts.path if parts.scheme == "unix" else parts.netloc.rpartition("@")[2]


def _check(client: redis.Redis, url: str) -> None:
    try:
        info = _info(client)
        version = tuple(int(part) for part in info["redis_version"].split(".")[:2])
    except (KeyError, ValueError, AttributeError, redis.RedisError) as error:
        raise RedisUnreachable(
            f"cannot use the Redis at {where(url)}: {_reason(error)}."
        ) from error
    if version < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise RedisUnreachable(
            f"cannot use the Redis at {where(url)}: it is {_server_version(info)}, "
            f"and {oldest} or later is needed."
        )


def _info(client: redis.Redis) -> dict[str, Any]:
    info: dict[str, Any] = client.info("server")
    return info


def _server_version(info: dict[str, Any]) -> ServerVersion:
    for field, name in (("valkey_version", "Valkey"), ("dragonfly_version", "Dragonfly")):
        if field in info:
            return ServerVersion(name, str(info[field]))
    return ServerVersion("Redis", str(info["redis_version"]))


def _reason(error: Exception) -> str:
    for kinds, reason in _REASONS:
        if isinstance(error, kinds):
            return reason
    return (
        f"{_cause(error)}; start it, or correct its address"
        if isinstance(error, redis.ConnectionError)
        else f"it says {error}"
    )


def _cause(error: BaseException) -> str:
    # redis-py says "Error 111 connecting to HOST:PORT. Connection refused."; the end is enough.
    cause = error.__cause__ or error.__context__
    reason = cause.strerror if isinstance(cause, OSError) else None
    return (reason or str(error)).rstrip(".")


def _batches(items: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
