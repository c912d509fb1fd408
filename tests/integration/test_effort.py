"""What a worker's processes have done and hold, told when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.supervised import Supervised

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from redis import Redis

    from poolproof.infra.redis_server import RedisServer

    Make = Callable[[str], Supervised]


@pytest.fixture
def supervise(
    redis: Redis, redis_server: RedisServer, tmp_path: Path, eventually: Any
) -> Iterator[Make]:
    made: list[Supervised] = []

    def make(pool: str) -> Supervised:
        made.append(Supervised(redis, redis_server.url, tmp_path, eventually, POOL=pool))
        return made[-1]

    yield make
    for each in made:
        if each.process and each.process.poll() is None:
            each.process.kill()
            each.process.wait()


@pytest.mark.parametrize("pool", ["prefork:2", "threads:2", "solo"])
def test_an_effort_that_is_ordered_says_what_all_processes_of_the_worker_did(
    supervise: Make, pool: str
) -> None:
    worker = supervise(pool)
    worker.begin_run()
    worker.start().ready()

    worker.order("effort")
    worker.order("sample")
    worker.order("effort")

    first, second = worker.until(
        lambda seen: seen.named("effort") if len(seen.named("effort")) == 2 else None
    )
    assert first["processes"] == len(worker.tree()) == (3 if pool == "prefork:2" else 1)
    assert 0 < first["cpu_s"] <= second["cpu_s"]
    assert first["own_cpu_s"] > 0
    assert first["host"]["cpu_s"] is None or first["host"]["cpu_s"] > 0
    # In the order in which they were asked for.
    between = [
        op for op in worker.history.named("sample") if first["t_ns"] < op["t_ns"] < second["t_ns"]
    ]
    assert between
    assert between[0]["rss_bytes"] > 0
