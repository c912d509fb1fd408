"""Redis transactions as ready bytes: what redis-py would pack, without packing each message."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import hiredis
from redis.exceptions import ResponseError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from redis.connection import AbstractConnection

Buffer = bytes | memoryview

_MULTI: Final[bytes] = hiredis.pack_command(("MULTI",))
_EXEC: Final[bytes] = hiredis.pack_command(("EXEC",))


def xadd(key: str, fields: Mapping[Any, Any]) -> list[Buffer]:
    """Return one XADD of an entry with these fields."""
    return [hiredis.pack_command(("XADD", key, "*", *chain.from_iterable(fields.items())))]


def lpush(key: str, frames: Iterable[Buffer], count: int) -> list[Buffer]:
    """Return one LPUSH of `count` values; `frames` are the values, each framed by `bulk`."""
    head = b"*%d\r\n%b%b" % (count + 2, bulk(b"LPUSH"), bulk(key.encode()))
    return [head, *frames]


def bulk(value: bytes) -> bytes:
    """Return a value framed as a word of a command."""
    return b"$%d\r\n%b\r\n" % (len(value), value)


def transact(connection: AbstractConnection, *commands: Sequence[Buffer]) -> list[Any]:
    """Do the commands (each a list of buffers) in one MULTI, and return their replies.

    Nothing is sent twice: a lost connection raises, and then the commands were done all or not at
    all. Raises redis.exceptions.RedisError.
    """
    parts = [_MULTI, *chain.from_iterable(commands), _EXEC]
    connection.send_packed_command(parts)  # type: ignore[no-untyped-call]
    replies = [_reply(connection) for _ in range(len(commands) + 2)]
    failed = next((reply for reply in replies if isinstance(reply, Exception)), None)
    done = replies[-1] if failed is None else []
    failed = failed or next((reply for reply in done if isinstance(reply, Exception)), None)
    if failed is not None:
        raise failed
    return list(done)


def _reply(connection: AbstractConnection) -> Any:
    # A refused command must not leave the answers of the others unread.
    try:
        return connection.read_response()
    except ResponseError as error:
        return error
