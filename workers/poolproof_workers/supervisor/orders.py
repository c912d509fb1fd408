"""Settings that a run may order for a worker: its supervisor's successor goes on with them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from poolproof_workers.errors import UsageError
from poolproof_workers.pools import PoolSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis import Redis

    from poolproof_workers.contract import Keys

#: All that an order may change, for whoever reaches Redis may give orders: never what a worker
#: loads, whom it talks to, where it writes, or what it allows to be done to it.
CHANGEABLE: Final = frozenset(
    f"POOLPROOF_{name}"
    for name in (
        *("POOL", "POLICY", "PREFETCH", "EVENTS", "RESTART_DELAY_S", "RETRY_DELAY_S"),
        *("VISIBILITY_TIMEOUT_S", "RESTORE_INTERVAL_S", "RESTORE_THROTTLE"),
        *("SOFT_TIME_LIMIT_S", "TIME_LIMIT_S", "MAX_MEMORY_PER_CHILD_KB"),
    )
)


def checked(settings: object) -> dict[str, str]:
    """Return settings that an order may change. Raises UsageError for any other.

    What a value may be is checked by who makes `Settings` of them; a pool must be one of Celery's.
    """
    texts = settings if isinstance(settings, dict) else {}
    if other := sorted(str(name) for name in texts.keys() - CHANGEABLE):
        raise UsageError(f"an order cannot change {', '.join(map(repr, other))}.")
    if not all(isinstance(value, str) for value in texts.values()):
        raise UsageError("an order gives settings as text.")
    if (text := texts.get("POOLPROOF_POOL")) and PoolSpec.parse(text).pool.is_custom:
        raise UsageError(f"an order cannot change the pool to {text!r}.")
    return dict(texts)


def read(redis: Redis, keys: Keys, worker: str, run: str) -> dict[str, str]:
    """Return what `run` has ordered for a worker so far; what another run had ordered is void.

    So is what no order may change.
    """
    try:
        found = json.loads(redis.hget(keys.ordered, worker) or b"{}")
        is_of_run = isinstance(found, dict) and found.get("run") == run
        return checked(found.get("settings")) if is_of_run else {}
    except (ValueError, RecursionError, UsageError):
        return {}


def add(redis: Redis, keys: Keys, worker: str, run: str, settings: Mapping[str, str]) -> None:
    """Add settings to what `run` has ordered for a worker."""
    whole = {**read(redis, keys, worker, run), **settings}
    redis.hset(keys.ordered, worker, json.dumps({"run": run, "settings": whole}))
