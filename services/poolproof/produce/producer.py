"""The producer: sends blocks of tasks into queues, and says so in the history."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError, ResponseError

from poolproof.produce.batches import Batches, Ops
from poolproof.produce.handle import BlockHandle
from poolproof.produce.load import Load
from poolproof.produce.messages import NUMBER, Original, Template
from poolproof.produce.trickle import Trickle
from poolproof_workers.connection import trouble
from poolproof_workers.contract import Entry, saved_sequence, task_id
from poolproof_workers.errors import BrokerError
from poolproof_workers.faults.task import FAULT
from poolproof_workers.supervisor.clock import offset_to_redis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from celery import Celery
    from redis import Redis
    from redis.connection import AbstractConnection

    from poolproof.produce.messages import Arguments
    from poolproof.produce.plan import BlockSpec
    from poolproof.produce.works import Workload
    from poolproof_workers.contract import Keys

_T = TypeVar("_T")

#: A worker with nothing to do answers its remote control within milliseconds.
_ANSWER_DEADLINE_S: Final = 5.0
#: Between two tries to reach a Redis that went away.
_RETRY_S: Final = 0.1


class BrokerLost(BrokerError):  # noqa: N818  says what happened
    """Redis went away while the producer wrote to it."""


class BrokerRefused(BrokerError):  # noqa: N818  says what happened
    """Redis answered that it will not do what the producer asks."""


class Producer:
    """Sends the tasks of one run, which has one producer: numbers and blocks are counted here.

    If it is not `recorded` it only sends, and the history knows nothing of its tasks.

    Its methods raise BrokerLost or BrokerRefused. The transaction that was under way is then in
    Redis as a whole, messages and `enqueued` op, or not at all.
    """

    def __init__(  # noqa: PLR0913
        self,
        redis: Redis,
        keys: Keys,
        app: Celery,
        tag: int,
        *,
        recorded: bool = True,
        apps: Mapping[str, Celery] | None = None,
        patience_s: float = 0.0,
        health: Callable[[], object] = lambda: None,
    ) -> None:
        """`apps` has the application of each side whose messages differ from those of `app`.

        `patience_s` is how long Redis may be away: what it did not get is sent again when it is
        back, nothing of it twice. Only a recorded producer can tell, so only it has patience.
        `health` raises when there is no use in waiting.
        """
        self._patience_s = patience_s if recorded else 0.0
        self._health = health
        self._next_number = 0
        self._next_block = 0
        self._redis = redis
        self._keys = keys
        self._app = app
        self._apps = dict(apps or {})
        self._tag = tag
        self._ops = Ops("producer") if recorded else None
        self._templates: dict[tuple[object, ...], Template] = {}

    def op(self, op: str, **fields: Any) -> None:
        """Append an op to the history."""
        if self._ops is None:
            return
        if self._ops.owed is not None:
            self._settle(self._ops, self._ops.owed)
        self._append(self._ops.entry(op, fields))
        self._ops.owed = None

    def _settle(self, ops: Ops, owed: Entry) -> None:
        """Fill the number of an op that was not sent: whoever was to do it was interrupted."""
        if not self._patiently(lambda: self._has(owed)):
            self._append(ops.void(owed))

    def _append(self, entry: Entry) -> None:
        content: dict[Any, Any] = {**entry.fields()}
        # It may come twice; a reader drops the second by its sequence.
        self._patiently(lambda: self._redis.xadd(self._keys.history, content))

    def clock(self) -> None:
        """Append the offset of this host's clock to that of Redis."""
        offset = self._patiently(lambda: offset_to_redis(self._redis))
        self.op("clock", offset_ns=offset.offset_ns, error_ns=offset.error_ns)

    def enqueue(
        self, block: BlockSpec, workload: Workload, values: Sequence[int] | None = None
    ) -> BlockHandle:
        """Begin a block and send its tasks: as fast as possible, or at the block's rate.

        `workload` is what `block.workload` says, parsed. With `values`, the task at offset i has
        values[i] in its arguments in place of its number. Raises Unspliceable, before anything is
        sent, if Celery's own message for the task is not what would be made here.
        """
        load = self._patiently(lambda: self._load(block, workload, values))
        self._begin(block, workload, load)
        batches = Batches(self._keys, self._ops, load)
        began_ns = time.monotonic_ns()
        late_ns = self._send(batches, began_ns, block.rate_per_s)
        ended_ns = time.monotonic_ns()
        return BlockHandle(
            load.block, block.side, load.numbers.start, block.count, began_ns, ended_ns, late_ns
        )

    def trickle(self, block: BlockSpec, workload: Workload) -> Trickle:
        """Begin a block whose tasks are sent a few at a time, as long as it has any left.

        Raises as `enqueue` does.
        """
        load = self._patiently(lambda: self._load(block, workload, None))
        self._begin(block, workload, load)
        return Trickle(load, self._send_some)

    def _send_some(self, load: Load, start: int, stop: int) -> None:
        self._send(Batches(self._keys, self._ops, load, start), time.monotonic_ns(), None, stop)

    def _send(
        self, batches: Batches, began_ns: int, rate_per_s: float | None, stop: int | None = None
    ) -> int:
        def send() -> int:
            with self._connection() as connection:
                return batches.send_all(connection, self._has, began_ns, rate_per_s, stop)

        return self._patiently(send, lambda: batches.sent)

    def _has(self, entry: Entry) -> bool:
        """Tell whether an entry is in the history, or was: the collector saves, then trims."""
        entries: Any = self._redis.xrange(self._keys.history)
        for _, fields in entries:
            there = Entry.if_ours(fields)
            if there and (there.source, there.sequence) == (entry.source, entry.sequence):
                return True
        saved: Any = self._redis.hget(self._keys.saved, entry.source)
        return saved_sequence(saved) >= entry.sequence

    def _patiently(self, action: Callable[[], _T], progress: Callable[[], int] = lambda: 0) -> _T:
        """Do what may be done twice, again while Redis may still come back.

        It is away since the first failure after the last that came any further.
        """
        came, lost_at = -1, 0.0
        while True:
            try:
                with _broker_errors():
                    return action()
            except BrokerLost:
                if progress() > came:
                    came, lost_at = progress(), time.monotonic()
                if time.monotonic() - lost_at >= self._patience_s:
                    raise
                self._health()
                time.sleep(_RETRY_S)

    def end(self, sent: BlockHandle, *, drained: bool, why: str = "") -> None:
        """Append that a block is over: all its tasks are settled, or it was given up, and why."""
        reason = {"why": why} if why else {}
        self.op("block-end", block=sent.block, drained=drained, **reason, **self._costs())

    def revoke(self, number: int) -> None:
        """Tell all workers to end a task now, also one that runs (Celery's `terminate`)."""
        with _broker_errors(), self._app.connection_for_write() as connection:
            self._app.control.revoke(
                task_id(self._tag, number), connection=connection, terminate=True, signal="SIGKILL"
            )

    def switch_events(self, workers: Sequence[str], *, on: bool) -> None:
        """Switch Celery's task events of some workers, and append what each answered."""
        with _broker_errors(), self._app.connection_for_write() as connection:
            answers = self._app.control.broadcast(
                "enable_events" if on else "disable_events",
                destination=list(workers),
                connection=connection,
                reply=True,
                timeout=_ANSWER_DEADLINE_S,
                limit=len(workers),
            )
        said = {name: text for answer in answers or () for name, text in answer.items()}
        self.op("events", on=on, answers={name: said.get(name) for name in workers})

    def _load(self, block: BlockSpec, workload: Workload, values: Sequence[int] | None) -> Load:
        if block.count < 1 or (values is not None and len(values) != block.count):
            raise ValueError(f"{block.count} tasks with {values and len(values)} values")
        template = self._template
        return Load(
            self._next_block,
            block.side,
            range(self._next_number, self._next_number + block.count),
            workload,
            tuple(template(block.side, work.task, work.arguments) for work in workload.works),
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
            app = self._apps.get(side, self._app)
            original = Original(app, self._redis, self._keys, side, task)
            with _broker_errors():
                template = Template(original, arguments, self._tag)
                template.self_check()
            self._templates[key] = template
        return self._templates[key]

    def _begin(self, block: BlockSpec, workload: Workload, load: Load) -> None:
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
            round=block.round,
            **self._costs(),
        )
        # Also if sending then fails: a number that may be in Redis is never given to another task.
        self._next_block += 1
        self._next_number += block.count

    def _costs(self) -> dict[str, float | None]:
        """Return the CPU time that we and Redis have taken so far; None if Redis does not say."""
        if self._ops is None:
            return {}
        said: Any = self._patiently(lambda: self._redis.info("cpu"))
        # Commands are done by one thread: it is the one that can be at its limit.
        kind = "_main_thread" if "used_cpu_user_main_thread" in said else ""
        times = [said.get(f"used_cpu_{part}{kind}") for part in ("user", "sys")]
        redis_s = None if None in times else round(sum(map(float, times)), 6)
        return {"own_cpu_s": round(time.process_time(), 6), "redis_cpu_s": redis_s}

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


def _constant(*arguments: object) -> Arguments:
    return lambda _number: arguments


@contextmanager
def _broker_errors() -> Iterator[None]:
    try:
        yield
    except (RedisError, OperationalError) as error:
        # kombu has words of its own for what redis-py raised.
        origin = error if isinstance(error, RedisError) else error.__cause__
        if isinstance(origin, ResponseError):
            raise BrokerRefused(f"{trouble(origin)}.") from error
        raise BrokerLost(f"Redis went away while tasks were sent: {error}.") from error
