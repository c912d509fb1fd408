"""Round trips to the Redis that the tasks themselves come from."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from poolproof_workers.connection import client
from poolproof_workers.contract import KEPT, fold

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

    from poolproof_workers.settings import Settings

#: How long a key stays if the run does not delete it at its end.
_EXPIRE_S: Final = 60


def trips_to(settings: Settings) -> Callable[[int, int], int]:
    """Return the task for the Redis of these settings."""

    def round_trips(number: int, trips: int) -> int:
        """Write to a key and read it, in turn; return the sum of all that was answered."""
        redis, key = _redis(settings.redis_url), settings.keys.work(number)
        value, total = fold(number, trips), 0
        for trip in range(trips):
            total += _read(redis, key) if trip % 2 else _write(redis, key, value)
        return total & KEPT

    return round_trips


def _write(redis: Redis, key: str, value: int) -> int:
    return value if redis.set(key, value, ex=_EXPIRE_S) else 0


def _read(redis: Redis, key: str) -> int:
    return int(redis.get(key) or 0)


@cache
def _redis(url: str) -> Redis:
    # One pool of connections a process: redis-py drops what a child inherited from its parent.
    return client(url)
