"""What the broker holds of a run's tasks: a side's queue and its `unacked`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from poolproof.history.form import TASKS, is_number
from poolproof_workers.contract import parse_task_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from redis import Redis

    from poolproof_workers.contract import Keys

#: A queue up to this long is read in one transaction with `unacked`: 15 MB, 10 ms of Redis's time.
_AT_ONCE: Final = 20_000
#: The `id` header of a message as Celery's JSON has it, also as a string within JSON.
_ID: Final = re.compile(rb'\\?"id\\?":\s*\\?"([0-9a-f-]{36})\\?"')


@dataclass(frozen=True, slots=True)
class Holding:
    """What one side's keys held at one time; numbers are sorted and without doubles."""

    queue: tuple[int, ...]
    unacked: tuple[tuple[int, float], ...]  #: (number, Unix time in seconds at which it was taken)
    foreign: int  #: messages that are not of this run

    def fields(self) -> dict[str, Any]:
        """Return the fields of a `broker` op."""
        return {
            "queue": ranges(self.queue),
            "unacked": [list(each) for each in self.unacked],
            "foreign": self.foreign,
        }


def look(redis: Redis, keys: Keys, side: str, tag: int) -> Holding:
    """Read what a side's keys hold. A message that moves meanwhile is seen at least once."""
    queue = keys.queue(side)
    if redis.llen(queue) > _AT_ONCE:
        before = _pair(redis.pipeline(), keys, side).execute()
        numbers = [_number(message, tag) for message in _in_parts(redis, queue)]
        return _holding(numbers, [before, _pair(redis.pipeline(), keys, side).execute()], tag)
    pipe = redis.pipeline(transaction=True)
    pipe.lrange(queue, 0, -1)
    messages, *pair = _pair(pipe, keys, side).execute()
    return _holding([_number(message, tag) for message in messages], [pair], tag)


def _pair(pipe: Any, keys: Keys, side: str) -> Any:
    pipe.hgetall(keys.unacked(side))
    pipe.zrange(keys.unacked_index(side), 0, -1, withscores=True)
    return pipe


def _in_parts(redis: Redis, queue: str) -> Iterator[bytes]:
    # From the left, the newer end: what is taken meanwhile goes at the right, and what is put in
    # at the left moves the rest, so a part may be read twice but nothing is passed over.
    start = 0
    while part := redis.lrange(queue, start, start + _AT_ONCE - 1):
        yield from cast("list[bytes]", part)
        start += len(part)


def _holding(numbers: list[int | None], pairs: list[Any], tag: int) -> Holding:
    queue = {number for number in numbers if number is not None}
    taken = [
        (_number(messages[delivery], tag) if is_number(when) else None, when)
        for messages, index in pairs
        for delivery, when in index
        if delivery in messages
    ]
    unacked = {(number, when) for number, when in taken if number is not None}
    foreign = numbers.count(None) + sum(number is None for number, _ in taken) // len(pairs)
    return Holding(tuple(sorted(queue)), tuple(sorted(unacked)), foreign)


def _number(message: bytes, tag: int) -> int | None:
    """Return the number of the task of a message of the run `tag`, None for a foreign one."""
    found = _ID.search(message)
    if not found:
        return None
    try:
        run, number = parse_task_id(found[1].decode())
    except ValueError:
        return None
    return number if run == tag and 0 <= number <= TASKS else None


def ranges(numbers: Iterable[int]) -> list[list[int]]:
    """Return sorted numbers as [first, last] of each uninterrupted stretch."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found
