"""A client that must notice a lost connection, and redis-py's own, which does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from redis.connection import SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError  # noqa: A004

from poolproof_workers.connection import client, noticing

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

    from poolproof.infra.redis_server import RedisServer


def cut_by_server(ours: Redis, redis: Redis) -> None:
    redis.client_kill_filter(_id=ours.client_id())


def test_without_it_a_connection_lost_between_two_commands_is_made_anew_in_silence(
    redis: Redis, redis_server: RedisServer
) -> None:
    with client(redis_server.url) as ours:
        before = ours.client_id()
        cut_by_server(ours, redis)

        assert ours.client_id() != before


@pytest.mark.parametrize(
    "use",
    [
        lambda ours: ours.set("a", 1),
        lambda ours: ours.pipeline(transaction=False).set("a", 1).get("a").execute(),
        lambda ours: ours.pipeline().set("a", 1).execute(),
    ],
    ids=["command", "pipeline", "transaction"],
)
def test_it_is_told_once_by_a_command_that_is_not_sent(
    redis: Redis, redis_server: RedisServer, use: Callable[[Redis], object]
) -> None:
    with noticing(client(redis_server.url)) as ours:
        ours.ping()
        cut_by_server(ours, redis)

        with pytest.raises(ConnectionError):
            use(ours)
        assert not redis.exists("a")
        use(ours)

    assert redis.get("a") == b"1"


def test_what_was_closed_by_us_is_no_loss(redis: Redis, redis_server: RedisServer) -> None:
    with noticing(client(redis_server.url)) as ours:
        for _ in range(3):
            assert ours.ping()
            ours.close()


def test_a_redis_that_came_back_empty_between_two_commands_is_told(
    redis: Redis, redis_server: RedisServer
) -> None:
    with noticing(client(redis_server.url)) as ours:
        redis.set("a", 1)
        assert ours.get("a")

        redis_server.restart()

        with pytest.raises(ConnectionError):
            ours.get("a")
        assert ours.get("a") is None


def test_the_kind_of_connection_stays() -> None:
    for url, kind in (("unix:///a", UnixDomainSocketConnection), ("rediss://a", SSLConnection)):
        with noticing(client(url)) as ours:
            made = ours.connection_pool.make_connection()

        assert isinstance(made, kind)
        assert type(made)._connect is kind._connect
