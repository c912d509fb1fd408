"""A real Redis for every test that asks for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from poolproof.infra.connection import connect
from poolproof.infra.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A fresh, empty embedded Redis; its address is `.url`."""
    with RedisServer.start() as server:
        yield server


@pytest.fixture
def redis(redis_server: RedisServer) -> Iterator[Redis]:
    """A client of `redis_server`."""
    with connect(redis_server.url) as client:
        yield client
