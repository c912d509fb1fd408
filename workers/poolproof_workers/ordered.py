"""Settings that a run has ordered for a worker: its supervisor's successor goes on with them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis import Redis

    from poolproof_workers.contract import Keys


def read(redis: Redis, keys: Keys, worker: str, run: str) -> dict[str, str]:
    """Return what `run` has ordered for a worker so far; what another run had ordered is void."""
    try:
        found = json.loads(redis.hget(keys.ordered, worker) or b"{}")
    except ValueError:
        return {}
    is_of_run = isinstance(found, dict) and found.get("run") == run
    return dict(found["settings"]) if is_of_run else {}


def add(redis: Redis, keys: Keys, worker: str, run: str, settings: Mapping[str, str]) -> None:
    """Add settings to what `run` has ordered for a worker."""
    whole = {**read(redis, keys, worker, run), **settings}
    redis.hset(keys.ordered, worker, json.dumps({"run": run, "settings": whole}))
