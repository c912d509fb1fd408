"""A Redis that goes away and comes back costs nothing; one that stays away is named."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
import redis as redis_py

from poolproof.infra.connection import open_client
from poolproof.infra.proxy import Proxy
from poolproof.produce import workloads
from poolproof.produce.plan import BlockSpec
from poolproof.produce.producer import BrokerLost, Producer
from poolproof_workers.app import make_app
from poolproof_workers.connection import persevere
from poolproof_workers.contract import Entry, Keys, parse_task_id
from poolproof_workers.errors import RedisUnreachable
from poolproof_workers.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from poolproof.infra.redis_server import RedisServer

KEYS = Keys("patience")
SIDE = "side"
TASKS = 60_000
CUTS = 6


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[Proxy]:
    with Proxy(redis_server.url) as found:
        yield found


def producer(client: Redis, url: str, patience_s: float) -> Producer:
    settings = Settings.from_env(
        {"POOLPROOF_REDIS_URL": url, "POOLPROOF_NAMESPACE": KEYS.namespace, "POOLPROOF_SIDE": SIDE}
    )
    return Producer(client, KEYS, make_app(settings), 7, patience_s=patience_s)


class Cuts:
    """Cuts the way to Redis again and again, from a thread."""

    def __init__(self, proxy: Proxy, redis: Redis, count: int, tasks: int = TASKS) -> None:
        self._proxy = proxy
        self._redis = redis
        self._queued = [tasks * number // (count + 1) for number in range(1, count + 1)]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        for queued in self._queued:
            # In the middle of the sending, at whatever point of a transaction that is.
            while self._redis.llen(KEYS.queue(SIDE)) < queued:
                if self._over.wait(0.0005):
                    return
            self._proxy.cut()
            self._proxy.mend()

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._over.set()
        self._thread.join()


def test_a_producer_whose_connection_is_cut_sends_each_task_once(
    proxy: Proxy, redis: Redis
) -> None:
    client = open_client(proxy.url)
    workload = workloads.parse("square", lambda: 1.0)

    with client, Cuts(proxy, redis, CUTS):
        sent = producer(client, proxy.url, 20.0).enqueue(BlockSpec(SIDE, "square", TASKS), workload)

    queued = Counter(_numbers(redis))
    ops = _enqueued(redis)
    assert sent.count == TASKS
    assert queued == dict.fromkeys(range(TASKS), 1)
    # An op may be there twice, which a reader drops by its number; but the ops agree on the tasks.
    told = [(op["first"], op["count"]) for _, op in sorted(ops.items())]
    assert sum(count for _, count in told) == TASKS
    assert [first for first, _ in told] == sorted({first for first, _ in told})


def test_its_patience_is_for_each_loss_and_not_for_all_of_the_sending(
    proxy: Proxy, redis: Redis
) -> None:
    client, patience_s, tasks = open_client(proxy.url), 2.0, 900
    block = BlockSpec(SIDE, "square", tasks, rate_per_s=200.0)
    workload = workloads.parse("square", lambda: 1.0)

    with client, Cuts(proxy, redis, 3, tasks):
        sent = producer(client, proxy.url, patience_s).enqueue(block, workload)

    assert sent.ended_ns - sent.began_ns > 2 * patience_s * 1e9
    assert Counter(_numbers(redis)) == dict.fromkeys(range(tasks), 1)


def _numbers(redis: Redis) -> Iterator[int]:
    for message in redis.lrange(KEYS.queue(SIDE), 0, -1):
        yield parse_task_id(json.loads(message)["headers"]["id"])[1]


def _enqueued(redis: Redis) -> dict[int, dict[str, int]]:
    entries = [Entry.from_fields(fields) for _, fields in redis.xrange(KEYS.history)]
    return {each.sequence: each.op for each in entries if each.op["op"] == "enqueued"}


def test_a_producer_is_patient_for_as_long_as_it_was_told_and_then_says_so(
    proxy: Proxy, redis: Redis
) -> None:
    client = open_client(proxy.url)
    patient = producer(client, proxy.url, 0.5)
    patient.op("phase", name="before")
    began = time.monotonic()

    proxy.cut()
    with pytest.raises(BrokerLost, match="Redis went away"):
        patient.op("phase", name="lost")

    assert time.monotonic() - began >= 0.5
    assert redis.xlen(KEYS.history) == 1
    client.close()


def test_who_perseveres_gets_its_answer_when_redis_is_back(proxy: Proxy) -> None:
    reminded = []
    client = open_client(proxy.url)
    client.set("a", 1)
    proxy.cut()
    threading.Timer(0.3, proxy.mend).start()

    answer = persevere(lambda: client.get("a"), 20.0, again=lambda: reminded.append(client.ping()))

    assert answer == b"1"
    assert reminded == [True]
    client.close()


def test_who_perseveres_in_vain_says_for_how_long(proxy: Proxy) -> None:
    client = open_client(proxy.url)
    proxy.cut()

    with pytest.raises(RedisUnreachable, match="did not come back within 0 s"):
        persevere(client.ping, 0.2)
    client.close()


def test_a_refusal_does_not_get_better_by_waiting(redis_server: RedisServer) -> None:
    client = redis_py.Redis.from_url(redis_server.url.replace("redis://:", "redis://:wrong"))

    with pytest.raises(RedisUnreachable, match="refuses us"):
        persevere(client.ping, 60.0)
    client.close()
