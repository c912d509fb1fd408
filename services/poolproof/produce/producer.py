"""The producer: sends blocks of tasks into queues, and says so in the history."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError, ResponseError

from poolproof.produce import wire
from poolproof.produce.load import Load
from poolproof.produce.messages import NUMBER, Original, Template
from poolproof_workers.clock import boot_id, offset_to_redis
from poolproof_workers.contract import Entry, task_id
from poolproof_workers.errors import BrokerError
from poolproof_workers.poison import FAULT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from celery import Celery
    from redis import Redis
    from redis.connection import AbstractConnection

    from poolproof.produce.messages import Arguments
    from poolproof.produce.plan import Block
    from poolproof.produce.workloads import Workload
    from poolproof_workers.contract import Keys

#: Messages in one transaction: about half a megabyte.
BATCH: Final = 500
#: Shortest pause of an open loop: what falls due in it is sent together.
TICK_S: Final = 0.002


class BrokerLost(BrokerError):  # noqa: N818  says what happened
    """Redis went away while the producer wrote to it."""


class BrokerRefused(BrokerError):  # noqa: N818  says what happened
    """Redis answered that it will not do what the producer asks."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A block whose tasks are all in Redis."""

    block: int  #: its index in the history
    side: str
    first: int
    count: int
    began_ns: int  #: monotonic
    ended_ns: int
    late_ns: int  #: the most that a task of an open loop was sent after its intended time

    @property
    def numbers(self) -> range:
        """Numbers of its tasks."""
        return range(self.first, self.first + self.count)

    @property
    def per_s(self) -> float:
        """Tasks a second at which it was sent."""
        return self.count * 1e9 / max(1, self.ended_ns - self.began_ns)


class Producer:
    """Sends the tasks of one run, which has one producer: numbers and blocks are counted here.

    If it is not `recorded` it only sends, and the history knows nothing of its tasks.

    Its methods raise BrokerLost or BrokerRefused. The transaction that was under way is then in
    Redis as a whole, messages and `enqueued` op, or not at all.
    """

    def __init__(
        self, redis: Redis, keys: Keys, app: Celery, tag: int, *, recorded: bool = True
    ) -> None:
        self._next_number = 0
        self._next_block = 0
        self._redis = redis
        self._keys = keys
        self._app = app
        self._tag = tag
        self._ops = _Ops("producer") if recorded else None
        self._templates: dict[tuple[object, ...], Template] = {}

    def op(self, op: str, **fields: Any) -> None:
        """Append an op to the history."""
        if self._ops is None:
            return
        entry = self._ops.entry(op, fields)
        with _broker_errors():
            # redis-py may send it twice; a reader drops the second by its sequence.
            self._redis.xadd(self._keys.history, cast("dict[Any, Any]", entry.fields()))

    def clock(self) -> None:
        """Append the offset of this host's clock to that of Redis."""
        with _broker_errors():
            offset = offset_to_redis(self._redis)
        self.op("clock", offset_ns=offset.offset_ns, error_ns=offset.error_ns)

    def enqueue(
        self, block: Block, workload: Workload, values: Sequence[int] | None = None
    ) -> Sent:
        """Begin a block and send its tasks: as fast as possible, or at the block's rate.

        `workload` is what `block.workload` says, parsed. With `values`, the task at offset i has
        values[i] in its arguments in place of its number. Raises Unspliceable, before anything is
        sent, if Celery's own message for the task is not what would be made here.
        """
        load = self._load(block, workload, values)
        self._begin(block, workload, load)
        with self._connection() as connection:
            batches = _Batches(connection, self._keys, self._ops, load)
            began_ns = time.monotonic_ns()
            late_ns = batches.send_all(began_ns, block.rate_per_s)
            ended_ns = time.monotonic_ns()
        return Sent(
            load.block, block.side, load.numbers.start, block.count, began_ns, ended_ns, late_ns
        )

    def end(self, sent: Sent, *, drained: bool, why: str = "") -> None:
        """Append that a block is over: all its tasks are settled, or it was given up, and why."""
        self.op("block-end", block=sent.block, drained=drained, **({"why": why} if why else {}))

    def revoke(self, number: int) -> None:
        """Tell all workers to end a task now, also one that runs (Celery's `terminate`)."""
        with _broker_errors(), self._app.connection_for_write() as connection:
            self._app.control.revoke(
                task_id(self._tag, number), connection=connection, terminate=True, signal="SIGKILL"
            )

    def _load(self, block: Block, workload: Workload, values: Sequence[int] | None) -> Load:
        if block.count < 1 or (values is not None and len(values) != block.count):
            raise ValueError(f"{block.count} tasks with {values and len(values)} values")
        template = self._template
        return Load(
            self._next_block,
            block.side,
            range(self._next_number, self._next_number + block.count),
            template(block.side, workload.task, workload.arguments),
            values,
            {
                each.offset: template(block.side, FAULT, _constant(each.fault, each.after_s))
                for each in block.poison
            },
            {each.offset: each.fault for each in block.poison},
        )

    def _template(self, side: str, task: str, arguments: Arguments) -> Template:
        key = (side, task, *arguments(NUMBER))
        if key not in self._templates:
            original = Original(self._app, self._redis, self._keys, side, task)
            with _broker_errors():
                template = Template(original, arguments, self._tag)
                template.self_check()
            self._templates[key] = template
        return self._templates[key]

    def _begin(self, block: Block, workload: Workload, load: Load) -> None:
        parameters = {**workload.parameters(), "rate_per_s": block.rate_per_s}
        if load.values is not None:
            parameters["values"] = list(load.values)
        self.op(
            "block-begin",
            block=load.block,
            side=block.side,
            workload=workload.text,
            first=load.numbers.start,
            count=block.count,
            warmup=block.warmup,
            measured=block.measured,
            parameters=parameters,
            events=block.events,
            continues=block.continues,
        )
        # Also if sending then fails: a number that may be in Redis is never given to another task.
        self._next_block += 1
        self._next_number += block.count

    @contextmanager
    def _connection(self) -> Iterator[AbstractConnection]:
        pool = self._redis.connection_pool
        with _broker_errors():
            connection = pool.get_connection()
            try:
                yield connection
            except BaseException:
                # Answers may be unread: whoever takes it from the pool next must connect anew.
                connection.disconnect()  # type: ignore[no-untyped-call]
                raise
            finally:
                pool.release(connection)


class _Ops:
    """A source of ops."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._source = f"{name}#{os.getpid()}-{time.monotonic_ns()}"
        self._boot = boot_id()
        self._sequence = 0

    def entry(self, op: str, fields: dict[str, Any]) -> Entry:
        self._sequence += 1
        content = {"op": op, "t_ns": time.monotonic_ns(), "boot": self._boot, **fields}
        return Entry.of_op(self._name, self._source, self._sequence, content)


class _Batches:
    """Sends a load over one connection, a transaction a batch."""

    def __init__(
        self, connection: AbstractConnection, keys: Keys, ops: _Ops | None, load: Load
    ) -> None:
        self._sent = 0
        self._connection = connection
        self._history = keys.history
        self._queue = keys.queue(load.side)
        self._ops = ops
        self._load = load

    def send_all(self, began_ns: int, rate_per_s: float | None) -> int:
        """Send everything; return by how much the latest task of an open loop was late."""
        return self._flood() if rate_per_s is None else self._pace(began_ns, rate_per_s)

    def _flood(self) -> int:
        count = len(self._load.numbers)
        while self._sent < count:
            self._send(min(self._sent + BATCH, count), time.monotonic_ns(), 0)
        return 0

    def _pace(self, began_ns: int, rate_per_s: float) -> int:
        count, interval_ns, late_ns = len(self._load.numbers), 1e9 / rate_per_s, 0
        while self._sent < count:
            next_ns = began_ns + round(self._sent * interval_ns)
            if (pause_ns := next_ns - time.monotonic_ns()) > 0:
                time.sleep(max(pause_ns / 1e9, TICK_S))
            now_ns = time.monotonic_ns()
            late_ns = max(late_ns, now_ns - next_ns)
            due = int((now_ns - began_ns) / interval_ns) + 1
            self._send(min(due, self._sent + BATCH, count), next_ns, round(interval_ns))
        return late_ns

    def _send(self, stop: int, begin_ns: int, interval_ns: int) -> None:
        load, start = self._load, self._sent
        push = wire.lpush(self._queue, load.words(start, stop), stop - start)
        if self._ops is None:
            wire.transact(self._connection, push)
        else:
            fields = load.fields(start, stop, begin_ns, interval_ns)
            entry = self._ops.entry("enqueued", fields)
            wire.transact(self._connection, push, wire.xadd(self._history, entry.fields()))
        self._sent = stop


def _constant(*arguments: object) -> Arguments:
    return lambda _number: arguments


@contextmanager
def _broker_errors() -> Iterator[None]:
    try:
        yield
    except ResponseError as error:
        raise BrokerRefused(f"Redis refuses what the producer writes: {error}.") from error
    except (RedisError, OperationalError) as error:
        raise BrokerLost(f"Redis went away while tasks were sent: {error}.") from error
