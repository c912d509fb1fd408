"""What the producer puts into a real Redis, and what it says when Redis does not play along."""

from __future__ import annotations

import _thread
import threading
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis as Client

from poolproof.produce import works
from poolproof.produce.batches import BATCH
from poolproof.produce.messages import decode
from poolproof.produce.plan import BlockSpec, Poison
from poolproof.produce.producer import BrokerLost, BrokerRefused, Producer
from poolproof_workers.app import make_app
from poolproof_workers.contract import Entry, Keys, task_id
from poolproof_workers.settings import Settings

if TYPE_CHECKING:
    from redis import Redis

    from poolproof.infra.redis_server import RedisServer
    from tests.conftest import Eventually

TAG = 0x0BADCAFE
SIDE = "threads:2"
KEYS = Keys()
QUEUE = KEYS.queue(SIDE)
SQUARE = works.Square("square")


@pytest.fixture
def producer(redis_server: RedisServer, redis: Redis) -> Producer:
    settings = Settings.from_env({"POOLPROOF_REDIS_URL": redis_server.url})
    return Producer(redis, KEYS, make_app(settings), TAG)


def ops(redis: Redis, name: str) -> list[dict[str, Any]]:
    entries = [Entry.from_fields(fields) for _, fields in redis.xrange(KEYS.history)]
    return [entry.op for entry in entries if entry.op["op"] == name]


def queued(redis: Redis) -> list[dict[str, Any]]:
    return [decode(message) for message in reversed(redis.lrange(QUEUE, 0, -1))]


def test_a_block_is_announced_and_its_tasks_wait_in_order(producer: Producer, redis: Redis) -> None:
    sent = producer.enqueue(BlockSpec(SIDE, "square", BATCH + 1, measured=True), SQUARE)
    producer.end(sent, drained=True)

    numbers = range(BATCH + 1)
    assert sent.numbers == numbers
    assert [each["headers"]["id"] for each in queued(redis)] == [task_id(TAG, n) for n in numbers]
    (begin,) = ops(redis, "block-begin")
    assert (begin["side"], begin["first"], begin["count"]) == (SIDE, 0, BATCH + 1)
    assert (begin["measured"], begin["warmup"], begin["workload"]) == (True, False, "square")
    assert [(each["first"], each["count"]) for each in ops(redis, "enqueued")] == [
        (0, BATCH),
        (BATCH, 1),
    ]
    assert [each["block"] for each in ops(redis, "block-end")] == [0]


def test_numbers_and_blocks_count_on_and_ops_have_no_gap(producer: Producer, redis: Redis) -> None:
    first = producer.enqueue(BlockSpec(SIDE, "square", 3), SQUARE)
    second = producer.enqueue(BlockSpec("solo", "square", 4), SQUARE)
    producer.clock()

    assert (second.block, second.numbers) == (first.block + 1, range(3, 7))
    entries = [Entry.from_fields(fields) for _, fields in redis.xrange(KEYS.history)]
    assert [entry.sequence for entry in entries] == list(range(1, len(entries) + 1))
    assert len({entry.source for entry in entries}) == 1


def test_a_block_may_hold_poison_where_it_was_asked_for(producer: Producer, redis: Redis) -> None:
    poison = (Poison(0, "segfault"), Poison(2, "os-exit", 0.5))

    producer.enqueue(BlockSpec(SIDE, "square", 4, poison=poison), SQUARE)

    assert [each["headers"]["task"] for each in queued(redis)] == [
        "poolproof.fault",
        "poolproof.square",
        "poolproof.fault",
        "poolproof.square",
    ]
    assert [each["headers"]["id"] for each in queued(redis)] == [task_id(TAG, n) for n in range(4)]
    assert [each["body"][0] for each in queued(redis)][2] == ["os-exit", 0.5]
    assert [each["faults"] for each in ops(redis, "enqueued")] == [
        {"0": "segfault", "2": "os-exit"}
    ]


def test_values_reach_the_tasks_and_the_history(producer: Producer, redis: Redis) -> None:
    producer.enqueue(BlockSpec(SIDE, "square", 3), SQUARE, values=[30, 1, 200])

    assert [each["body"][0][0] for each in queued(redis)] == [30, 1, 200]
    assert ops(redis, "block-begin")[0]["parameters"]["values"] == [30, 1, 200]


def test_an_open_loop_sends_no_task_before_its_time_and_says_when_that_was(
    producer: Producer, redis: Redis
) -> None:
    sent = producer.enqueue(BlockSpec(SIDE, "square", 40, rate_per_s=400.0), SQUARE)

    enqueued = ops(redis, "enqueued")
    meant = [
        each["begin_ns"] + i * each["interval_ns"]
        for each in enqueued
        for i in range(each["count"])
    ]
    assert meant == [sent.began_ns + i * 2_500_000 for i in range(40)]
    for each in enqueued:
        assert each["begin_ns"] + (each["count"] - 1) * each["interval_ns"] <= each["t_ns"]
    assert sent.ended_ns - sent.began_ns >= 39 * 2_500_000


def test_messages_and_their_op_appear_together(
    producer: Producer, redis_server: RedisServer, eventually: Eventually
) -> None:
    seen: list[tuple[int, int]] = []
    stop = threading.Event()

    def watch() -> None:
        with Client.from_url(redis_server.url) as other:
            while not stop.is_set():
                waiting, history = other.pipeline().llen(QUEUE).xrange(KEYS.history).execute()
                found = [Entry.from_fields(fields).op for _, fields in history]
                seen.append((waiting, sum(op["count"] for op in found if op["op"] == "enqueued")))

    def send_more() -> bool:
        producer.enqueue(BlockSpec(SIDE, "square", 10 * BATCH), SQUARE)
        return len(set(seen)) > 5

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        eventually(send_more)
    finally:
        stop.set()
        watcher.join()

    assert [pair for pair in seen if pair[0] != pair[1]] == []


def test_a_redis_that_goes_away_is_named(producer: Producer, redis_server: RedisServer) -> None:
    producer.enqueue(BlockSpec(SIDE, "square", 1), SQUARE)
    redis_server.close()

    with pytest.raises(BrokerLost):
        producer.enqueue(BlockSpec(SIDE, "square", 1), SQUARE)


def test_a_redis_that_is_gone_before_the_first_block_is_named(
    producer: Producer, redis_server: RedisServer
) -> None:
    redis_server.close()

    with pytest.raises(BrokerLost):
        producer.enqueue(BlockSpec(SIDE, "square", 1), SQUARE)


def test_a_full_redis_takes_a_batch_whole_or_not_at_all(producer: Producer, redis: Redis) -> None:
    producer.enqueue(BlockSpec(SIDE, "square", 1), SQUARE)
    redis.config_set("maxmemory", redis.info("memory")["used_memory"] + 3_000_000)

    with pytest.raises(BrokerRefused):
        producer.enqueue(BlockSpec(SIDE, "square", 20_000), SQUARE)

    redis.config_set("maxmemory", 0)
    assert redis.llen(QUEUE) == sum(each["count"] for each in ops(redis, "enqueued")) < 20_001
    assert producer.enqueue(BlockSpec(SIDE, "square", 1), SQUARE).first == 20_001


def test_an_interrupted_producer_can_still_write(
    producer: Producer, redis: Redis, redis_server: RedisServer, eventually: Eventually
) -> None:
    def interrupt() -> None:
        with Client.from_url(redis_server.url) as other:
            eventually(lambda: other.llen(QUEUE) > 100)
        _thread.interrupt_main()

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        producer.enqueue(BlockSpec(SIDE, "square", 100_000, rate_per_s=2_000.0), SQUARE)
    interrupter.join()
    producer.op("run-end", reason="interrupted")

    assert [each["reason"] for each in ops(redis, "run-end")] == ["interrupted"]
    assert _numbers(redis) == [*range(1, len(_numbers(redis)) + 1)]
    assert redis.llen(QUEUE) == sum(each["count"] for each in ops(redis, "enqueued"))


def test_an_op_that_had_a_number_and_was_never_sent_leaves_no_gap(
    producer: Producer, redis: Redis
) -> None:
    producer.op("run-begin")
    assert producer._ops
    producer._ops.entry("enqueued", {"count": 500})  # Ctrl-C came before it was on its way

    producer.op("run-end", reason="interrupted")

    found = [Entry.from_fields(fields) for _, fields in redis.xrange(KEYS.history)]
    assert [each.op["op"] for each in found] == ["run-begin", "void", "run-end"]
    assert _numbers(redis) == [1, 2, 3]


def test_an_op_that_arrived_though_its_sender_was_interrupted_is_not_voided(
    producer: Producer, redis: Redis
) -> None:
    assert producer._ops
    entry = producer._ops.entry("phase", {"name": "here"})
    redis.xadd(KEYS.history, entry.fields())  # type: ignore[arg-type]

    producer.op("run-end", reason="interrupted")

    assert _numbers(redis) == [1, 2]


def _numbers(redis: Redis) -> list[int]:
    return [Entry.from_fields(fields).sequence for _, fields in redis.xrange(KEYS.history)]
