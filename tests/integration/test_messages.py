"""Spliced messages are Celery's own, to the field, and every pool takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from poolproof.produce import workloads, works
from poolproof.produce.host_resources import AssumedResources
from poolproof.produce.messages import Original, Template, Unspliceable, decode
from poolproof_workers.app import make_app
from poolproof_workers.contract import MAX_NUMBER, Keys, task_id
from poolproof_workers.faults.task import FAULT
from poolproof_workers.settings import Settings
from poolproof_workers.workloads.tasks import SQUARE

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

    from poolproof.infra.redis_server import RedisServer

TAG = 0x0BADCAFE
QUEUE = "prefork:4"


@pytest.fixture
def original(redis_server: RedisServer, redis: Redis) -> Original:
    settings = Settings.from_env({"POOLPROOF_REDIS_URL": redis_server.url})
    return Original(make_app(settings), redis, Keys(), QUEUE, SQUARE)


@pytest.mark.parametrize("text", ["square", "sleep:50ms", "cpu:5ms"])
def test_a_spliced_message_equals_celerys_own_at_every_width(original: Original, text: str) -> None:
    workload = workloads.parse(text, AssumedResources())

    template = Template(original, workload.arguments, TAG)

    template.self_check([0, 9, 10, 99, 100, 12_345, 10**6, 10**7 - 1, 2**32, 10**12, MAX_NUMBER])


def test_a_message_without_a_number_can_be_spliced_too(original: Original) -> None:
    poison = Original(original.app, original.redis, original.keys, QUEUE, FAULT)

    template = Template(poison, lambda _number: ("segfault", 0.2), TAG)

    template.self_check()
    assert len(template.splice(range(3))) == 3


def test_messages_of_one_call_are_in_order_and_may_differ_in_width(original: Original) -> None:
    template = Template(original, works.Square("square").arguments, TAG)

    messages = [decode(each) for each in template.splice(range(8, 103))]

    assert [each["headers"]["id"] for each in messages] == [task_id(TAG, n) for n in range(8, 103)]
    assert [each["body"][0][0] for each in messages] == list(range(8, 103))
    assert len({each["properties"]["delivery_tag"] for each in messages}) == 95


def test_values_stand_in_the_arguments_in_place_of_the_numbers(original: Original) -> None:
    template = Template(original, works.Square("square").arguments, TAG)

    messages = [decode(each) for each in template.splice(range(3), [5, -77, 10**20])]

    assert [each["body"][0][0] for each in messages] == [5, -77, 10**20]
    assert [each["headers"]["argsrepr"] for each in messages] == [
        "[5, 0.0, 0]",
        "[-77, 0.0, 0]",
        "[100000000000000000000, 0.0, 0]",
    ]


def test_capturing_leaves_nothing_in_redis(original: Original, redis: Redis) -> None:
    Template(original, works.Square("square").arguments, TAG).self_check()

    assert redis.keys("*") == []


@pytest.mark.parametrize(
    "arguments",
    [lambda number: (number % 7, 0.0, 0), lambda number: (-number, 0.0, 0), lambda n: (n, n)],
    ids=["computed", "negated", "twice"],
)
def test_arguments_that_do_more_than_hold_the_number_are_refused(
    original: Original, arguments: Callable[[int], tuple[object, ...]]
) -> None:
    with pytest.raises(Unspliceable):
        Template(original, arguments, TAG).self_check()
