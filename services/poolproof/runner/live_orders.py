"""What people at the live page ask for, on its way to whoever plays the run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from poolproof_workers.connection import persevere

if TYPE_CHECKING:
    from redis import Redis

_AT_ONCE: Final = 100
_PATIENCE_S: Final = 15.0


class Orders:
    """A list of JSON in Redis: `{"do": "fault", "side": S, "fault": F}`; the page appends to it."""

    def __init__(self, redis: Redis, key: str) -> None:
        self._redis = redis
        self._key = key

    def take(self) -> list[dict[str, Any]]:
        """Return what was asked since, the oldest first. Raises RedisUnreachable."""
        found = persevere(lambda: self._redis.lpop(self._key, _AT_ONCE), _PATIENCE_S)
        return [order for each in found or () if (order := _parse(each))]


def _parse(text: Any) -> dict[str, Any]:
    """Return an order; nothing where somebody pushed something else."""
    try:
        order = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return order if isinstance(order, dict) else {}
