"""Brings rings and ops into the history stream, and brings orders back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from redis.exceptions import RedisError

from poolproof_workers.contract import parsed, saved_sequence
from poolproof_workers.supervisor import orders as ordered
from poolproof_workers.supervisor.clock import Offset, offset_to_redis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from redis import Redis

    from poolproof_workers.contract import Entry, Keys
    from poolproof_workers.supervisor.outbox import Outbox
    from poolproof_workers.supervisor.ring_cursor import RingCursor

_T = TypeVar("_T")

#: A registration outlives its supervisor by at most this.
REGISTRATION_S: Final = 6
_ORDERS_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class News:
    """What Redis had for a supervisor."""

    run: str | None
    flush: str | None
    orders: list[dict[str, Any]]


class Shipper:
    """Sends entries in order, and again after whatever may have lost them.

    The collector's `saved` is the only acknowledgement. After a lost connection, or when the stream
    was made anew, all that is not saved is sent again; whoever reads drops what it has. While
    Redis is away every method returns None, and nothing is lost: call it again later.
    """

    def __init__(self, redis: Redis, keys: Keys, worker: str, outbox: Outbox) -> None:
        self._redis = redis
        self._keys = keys
        self._worker = worker
        self._outbox = outbox
        self._in_step = False
        self._run: str | None = None
        self._added = 0

    def exchange(self, run: str | None, tapes: Iterable[RingCursor]) -> News | None:
        """Do one round trip: ship what belongs to `run` if that is still on, and take the news."""
        return self._attempt(lambda: self._exchange(run, list(tapes)))

    def register(self, registration: dict[str, Any]) -> bool | None:
        """Renew the registration; also see whether the stream lost what it had."""
        return self._attempt(lambda: self._register(json.dumps(registration)))

    def is_closed(self, run: str) -> bool | None:
        """Tell whether the collector has closed this run."""
        return self._attempt(lambda: self._is_closed(run))

    def unregister(self) -> bool | None:
        """Take the registration back."""
        return self._attempt(lambda: bool(self._redis.delete(self._keys.worker(self._worker))))

    def ordered(self) -> dict[str, str] | None:
        """Return the settings that the run in progress has ordered for the worker."""
        return self._attempt(self._ordered)

    def offset(self) -> Offset | None:
        """Measure the offset of Redis's clock to ours."""
        return self._attempt(lambda: offset_to_redis(self._redis))

    def _ordered(self) -> dict[str, str]:
        run = self._redis.get(self._keys.run)
        if not isinstance(run, bytes):
            return {}
        return ordered.read(self._redis, self._keys, self._worker, run.decode(errors="replace"))

    def _attempt(self, action: Callable[[], _T]) -> _T | None:
        try:
            return action()
        except RedisError:
            self._in_step = False
            self._redis.close()
            return None

    def _exchange(self, run: str | None, tapes: list[RingCursor]) -> News:
        if not self._in_step:
            self._rewind(tapes)
        on = run is not None and run == self._run
        # The first op says from where on the rings count: it goes ahead of them.
        records = [(tape, tape.batches()) for tape in tapes] if on and self._outbox.sent else []
        ops = self._outbox.unsent() if on else []
        if not records:
            for tape in tapes:
                tape.look()
        seen = [tape.seen for tape in tapes]
        news = self._ship([entry for _, batch in records for entry in batch] + ops, tapes)
        for tape, batch in records:
            tape.mark_sent(batch)
        self._outbox.mark_sent(ops)
        if news.run in {run, None}:
            for tape, count in zip(tapes, seen, strict=True):
                tape.mark_old(count)
        self._run = news.run
        return news

    def _ship(self, entries: list[Entry], tapes: list[RingCursor]) -> News:
        pipe = self._redis.pipeline(transaction=False)
        for entry in entries:
            fields: dict[Any, Any] = {**entry.fields()}
            pipe.xadd(self._keys.history, fields)
        pipe.hmget(self._keys.saved, self._sources(tapes))
        pipe.get(self._keys.run)
        pipe.get(self._keys.flush)
        pipe.lpop(self._keys.orders(self._worker), _ORDERS_AT_ONCE)
        *_, saved, run, flush, orders = pipe.execute()
        self._outbox.mark_saved(saved_sequence(saved[0]))
        for tape, text in zip(tapes, saved[1:], strict=True):
            tape.saved = max(tape.saved, saved_sequence(text))
        return News(_text(run), _text(flush), [_order(order) for order in orders or []])

    def _rewind(self, tapes: list[RingCursor]) -> None:
        saved: list[Any] = self._redis.hmget(self._keys.saved, self._sources(tapes))
        self._outbox.rewind(saved_sequence(saved[0]))
        for tape, text in zip(tapes, saved[1:], strict=True):
            tape.rewind(saved_sequence(text))
        # A Redis that came back may have forgotten the run: ship nothing before it says.
        self._run = None
        self._added = 0
        self._in_step = True

    def _sources(self, tapes: list[RingCursor]) -> list[str]:
        return [self._outbox.source, *(tape.name for tape in tapes)]

    def _register(self, registration: str) -> bool:
        pipe = self._redis.pipeline(transaction=False)
        pipe.set(self._keys.worker(self._worker), registration, ex=REGISTRATION_S)
        pipe.xinfo_stream(self._keys.history)
        _, stream = pipe.execute(raise_on_error=False)
        # Redis 6.2 does not count what was added; there only a missing stream is noticed.
        added = stream.get("entries-added", 1) if isinstance(stream, dict) else 0
        if added < self._added:
            self._in_step = False
        self._added = added
        return True

    def _is_closed(self, run: str) -> bool:
        progress = parsed(self._redis.get(self._keys.progress))
        return progress.get("run") == run and bool(progress.get("closed"))


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")


def _order(text: bytes) -> dict[str, Any]:
    try:
        order = json.loads(text)
    except (ValueError, RecursionError):
        order = None
    return order if isinstance(order, dict) else {"order": text.decode(errors="replace")}
