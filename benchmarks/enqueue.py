"""What sending costs: spliced messages against Celery's `apply_async` and against a bare LPUSH."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from poolproof.infra.connection import connect
from poolproof.infra.redis_server import RedisServer
from poolproof.produce.batches import BATCH
from poolproof.produce.messages import Original, Template
from poolproof.produce.plan import BlockSpec, Run
from poolproof.produce.producer import Producer
from poolproof.produce.works import Square
from poolproof_workers.app import make_app
from poolproof_workers.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery
    from redis import Redis

    from poolproof_workers.contract import Keys

_MESSAGES: Final = 20_000
#: `apply_async` is far slower: fewer of them take as long.
_CALLS: Final = 400
_WORK: Final = Square("square")


def measure(rounds: int) -> dict[str, Any]:
    """Send in each way in turn, `rounds` times, and return rates, their ratios and the raw rounds.

    `bare` is one LPUSH of 500 ready-made messages after the other: the fastest that redis-py can
    do. `bare_singles` is the same messages as 500 LPUSHs in one pipeline. Both have the messages
    made before the clock starts; neither writes a history. A ratio is the median of the rounds'.
    """
    with RedisServer.start() as server, connect(server.url) as redis:
        settings = Settings.from_env({"POOLPROOF_REDIS_URL": server.url})
        arms = _Arms.prepare(redis, settings.keys, settings.side, make_app(settings))
        arms.play(0)  # connections, caches and the server's memory
        raw = [arms.play(turn) for turn in range(rounds)]
        figures = _figures(raw) | {"message_bytes": float(len(arms.ready[0]))}
    return {"bench": "enqueue", "figures": figures, "rounds": raw}


@dataclass(frozen=True, slots=True)
class _Arms:
    """The ways of sending that are compared; each returns how many messages it sent."""

    redis: Redis
    queue: str
    producer: Producer
    app: Celery
    side: str
    ready: list[bytes]

    @classmethod
    def prepare(cls, redis: Redis, keys: Keys, side: str, app: Celery) -> _Arms:
        run = Run.new()
        original = Original(app, redis, keys, side, _WORK.task)
        # As many digits as the spliced ones soon have, which are counted from 0: the same size.
        numbers = range(100_000, 100_000 + _MESSAGES)
        ready = Template(original, _WORK.arguments, run.tag).splice(numbers)
        return cls(redis, keys.queue(side), Producer(redis, keys, app, run.tag), app, side, ready)

    @property
    def all(self) -> dict[str, Callable[[], int]]:
        return {
            "spliced": self.spliced,
            "bare": self.bare,
            "apply_async": self.apply_async,
            "bare_singles": self.bare_singles,
        }

    def play(self, turn: int) -> dict[str, float]:
        """Return messages a second of each way, beginning with another one each turn."""
        ways = list(self.all.items())
        turn %= len(ways)
        return {f"{name}_per_s": self._rate(arm) for name, arm in ways[turn:] + ways[:turn]}

    def _rate(self, arm: Callable[[], int]) -> float:
        began = time.perf_counter()
        sent = arm()
        rate = sent / (time.perf_counter() - began)
        if (arrived := self.redis.llen(self.queue)) != sent:
            raise RuntimeError(f"{arrived} of {sent} messages arrived")
        self.redis.delete(self.queue)
        return rate

    def spliced(self) -> int:
        return self.producer.enqueue(BlockSpec(self.side, _WORK.text, _MESSAGES), _WORK).count

    def bare(self) -> int:
        for start in range(0, _MESSAGES, BATCH):
            self.redis.lpush(self.queue, *self.ready[start : start + BATCH])
        return _MESSAGES

    def bare_singles(self) -> int:
        for start in range(0, _MESSAGES, BATCH):
            pipeline = self.redis.pipeline(transaction=False)
            for message in self.ready[start : start + BATCH]:
                pipeline.lpush(self.queue, message)
            pipeline.execute()
        return _MESSAGES

    def apply_async(self) -> int:
        task = self.app.tasks[_WORK.task]
        for number in range(_CALLS):
            task.apply_async(args=_WORK.arguments(number), queue=self.side)
        return _CALLS


def _figures(raw: list[dict[str, float]]) -> dict[str, float]:
    def ratio(other: str) -> float:
        return median(each["spliced_per_s"] / each[f"{other}_per_s"] for each in raw)

    return {
        "ratio_to_apply_async": ratio("apply_async"),
        "ratio_to_bare_lpush": ratio("bare"),
        "ratio_to_bare_singles": ratio("bare_singles"),
        **{name: median(each[name] for each in raw) for name in raw[0]},
    }
