"""Task messages, made from one that Celery itself built by splicing in what differs."""

from __future__ import annotations

import base64
import binascii
import json
import re
import uuid
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from kombu.serialization import loads

from poolproof.produce.wire import bulk
from poolproof_workers.contract import MAX_NUMBER, task_id
from poolproof_workers.errors import PoolproofError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from celery import Celery
    from numpy.typing import NDArray
    from redis import Redis

    from poolproof_workers.contract import Keys

    Rows = NDArray[np.uint8]
    Arguments = Callable[[int], Sequence[object]]

#: Stands for the task's number in the arguments of the captured message: a JSON number that no
#: other part of a message can hold by chance.
NUMBER: Final = 7_305_918_264_530_917
_NUMBER: Final = b"%d" % NUMBER
_ID: Final = task_id(0xA5C3_96E1, 0x5EED_0123_4567).encode()
#: Content types of messages that can be made by splicing.
_TEXTS: Final = {"application/json", "application/x-yaml"}
_LONG: Final = 200  #: characters of an argument that are too many for a header
_HEX: Final = 12  #: digits of the number at the end of an id


class Unspliceable(PoolproofError):  # noqa: N818  says what the message is
    """Celery's message for a task is not one that can be made by splicing."""


@dataclass(frozen=True, slots=True)
class Original:
    """Celery's own messages for one task on one queue, as they arrive in Redis."""

    app: Celery
    redis: Redis
    keys: Keys
    queue: str
    task: str

    def message(self, arguments: Sequence[object], uid: str) -> bytes:
        """Let Celery send the task, and return what it put into Redis.

        It goes to the queue under a prefix that no worker listens to, and is gone afterwards.
        """
        prefix = f"{self.keys.namespace}:scratch:{uuid.uuid4().hex}:"
        options = {**self.app.conf.broker_transport_options, "global_keyprefix": prefix}
        with self.app.connection_for_write(transport_options=options) as connection:
            self.app.tasks[self.task].apply_async(
                args=list(arguments),
                task_id=uid,
                queue=self.queue,
                connection=connection,
                declare=(),  # a binding would stay behind under the scratch prefix
                **_shown(arguments),
            )
        message = self.redis.lpop(prefix + self.queue)
        if not isinstance(message, bytes):
            raise Unspliceable(f"Celery's message for {self.task} did not arrive in Redis.")
        return message


class Template:
    """The message of one task on one queue, ready for any number of one run.

    `arguments` gives those of a number, which may hold it once, unchanged, or not at all. Each
    message's delivery tag is its task id: unique, as kombu needs it, for a redelivered message
    keeps its tag. Raises Unspliceable if Celery's message is not of the form that we know.
    """

    def __init__(self, original: Original, arguments: Arguments, tag: int) -> None:
        self._original = original
        self._arguments = arguments
        self._tag = tag
        self._prefix = task_id(tag, 0)[:-_HEX].encode()
        message = original.message(arguments(NUMBER), _ID.decode())
        wire = json.loads(message)
        self._body = wire["body"].encode()
        self._body_json = base64.b64decode(self._body, validate=True)
        marks = (_ID, wire["properties"]["delivery_tag"].encode(), self._body, _NUMBER)
        self.message_bytes = len(message)  #: about
        #: Text, mark, text, mark, ..., text.
        self._parts = _split(message, marks)
        self._check_form([self._parts[1::2].count(mark) for mark in marks])
        self._frames: dict[int, _Frame] = {}

    def frames(self, numbers: Sequence[int], values: Sequence[int] | None = None) -> list[Rows]:
        """Return the messages of the numbers, in order, as words of a Redis command.

        Each array has one message a row; all rows of all arrays are the messages. `values` stand
        in the arguments in place of the numbers.
        """
        ids = _hex(numbers)
        if not self._numbered:
            return [self._frame(0).fill(ids, None)]
        return [
            self._frame(digits.shape[1]).fill(ids[start : start + len(digits)], digits)
            for start, digits in _decimals(numbers if values is None else values)
        ]

    def splice(self, numbers: Sequence[int], values: Sequence[int] | None = None) -> list[bytes]:
        """Return the messages of the numbers, in order, as Redis is to keep them."""
        return [
            row.tobytes().partition(b"\r\n")[2][:-2]
            for rows in self.frames(numbers, values)
            for row in rows
        ]

    def self_check(self, numbers: Iterable[int] = (0, 10, MAX_NUMBER)) -> None:
        """Compare spliced messages with those that Celery makes for the same ids and arguments.

        Raises Unspliceable, which names the fields that differ.
        """
        for number in numbers:
            uid = task_id(self._tag, number)
            ours = decode(self.splice([number])[0])
            theirs = decode(self._original.message(self._arguments(number), uid))
            theirs["properties"]["delivery_tag"] = uid
            if ours != theirs:
                names = ", ".join(sorted(_differing(ours, theirs)))
                raise Unspliceable(f"A spliced message differs from Celery's own in: {names}.")

    @property
    def _numbered(self) -> bool:
        return _NUMBER in self._parts[1::2]

    def _check_form(self, counts: list[int]) -> None:
        ids, tags, bodies, numbers = counts
        given = self._body_json.count(_NUMBER)
        # Plain, it is in how the message shows its arguments: twice if it was told how (`_shown`).
        known = given <= 1 and numbers in {given, 2 * given}
        if (ids, tags, bodies) != (3, 1, 1) or not known:
            raise Unspliceable(
                f"Celery's message has {ids} ids, {tags} delivery tags, {bodies} bodies and its "
                f"number {given} and {numbers} times where 3, 1, 1 and once are known."
            )

    def _frame(self, width: int) -> _Frame:
        if width not in self._frames:
            self._frames[width] = self._build(width)
        return self._frames[width]

    def _build(self, width: int) -> _Frame:
        message = bytearray()
        places: dict[bytes, list[int]] = {}
        before, _, after = self._body_json.partition(_NUMBER)
        body_json = before + b"0" * width + after
        for index, part in enumerate(self._parts):
            if index % 2 == 0:
                message += part
            elif part == self._body:
                places[part] = [len(message)]
                message += base64.b64encode(body_json)
            elif part == _NUMBER:
                places.setdefault(part, []).append(len(message))
                message += bytes(width)
            else:
                message += self._prefix
                places.setdefault(_ID, []).append(len(message))
                message += bytes(_HEX)
        framed = bulk(bytes(message))
        shift = framed.index(b"\n") + 1
        # Base64 works on groups of three bytes: those that the number touches, and all before.
        touched = -(-(len(before) + width) // 3) * 3
        return _Frame(
            row=np.frombuffer(framed, np.uint8),
            ids=tuple(shift + at for at in places[_ID]),
            numbers=tuple(shift + at for at in places.get(_NUMBER, [])),
            body=shift + places[self._body][0],
            head=np.frombuffer(body_json[:touched], np.uint8),
            digits=len(before),
        )


@dataclass(frozen=True, slots=True)
class _Frame:
    """A framed message whose number has a certain width: what is left is to fill columns."""

    row: Rows
    ids: tuple[int, ...]  #: where the hexadecimal number stands
    numbers: tuple[int, ...]  #: where the decimal number stands in plain text
    body: int  #: where the base64 of the body begins
    head: Rows  #: the first bytes of the body, up to a whole group of base64 after the number
    digits: int  #: where the decimal number stands in `head`

    def fill(self, ids: Rows, digits: Rows | None) -> Rows:
        rows = np.tile(self.row, (len(ids), 1))
        for at in self.ids:
            rows[:, at : at + _HEX] = ids
        if digits is None:
            return rows
        width = digits.shape[1]
        for at in self.numbers:
            rows[:, at : at + width] = digits
        heads = np.tile(self.head, (len(ids), 1))
        heads[:, self.digits : self.digits + width] = digits
        # Each head is a whole number of groups, so the base64 of all is all their base64.
        encoded = binascii.b2a_base64(heads.tobytes(), newline=False)
        body = np.frombuffer(encoded, np.uint8).reshape(len(ids), -1)
        rows[:, self.body : self.body + body.shape[1]] = body
        return rows


def decode(message: bytes) -> dict[str, Any]:
    """Return a message of Celery's on Redis with its body decoded."""
    decoded: dict[str, Any] = json.loads(message)
    kind, encoding = decoded["content-type"], decoded["content-encoding"]
    # Only what is text: pickle is never among it.
    decoded["body"] = loads(  # type: ignore[no-untyped-call]
        base64.b64decode(decoded["body"]), kind, encoding, accept=_TEXTS
    )
    return decoded


def _shown(arguments: Sequence[object]) -> dict[str, str]:
    """Return the option that says how the message shows its arguments, where they are long.

    Celery would cut them off at a number of characters, and so depending on the task's number.
    """
    long = [isinstance(each, str) and len(each) > _LONG for each in arguments]
    if not any(long):
        return {}
    words = [
        f"'...' ({len(str(each)):,} characters)" if is_long else repr(each)
        for each, is_long in zip(arguments, long, strict=True)
    ]
    return {"argsrepr": f"[{', '.join(words)}]"}


def _split(message: bytes, marks: tuple[bytes, bytes, bytes, bytes]) -> list[bytes]:
    uid, tag, body, number = marks
    # Apart from the rest: a body may have megabytes, too many for a pattern.
    before, found, after = message.partition(body)
    pattern = b"(%b)" % b"|".join(map(re.escape, (uid, tag, number)))
    parts = re.split(pattern, before)
    return [*parts, found, *re.split(pattern, after)] if found else parts


def _differing(ours: dict[str, Any], theirs: dict[str, Any]) -> Iterator[str]:
    for name in ours.keys() | theirs.keys():
        mine, other = ours.get(name), theirs.get(name)
        if isinstance(mine, dict) and isinstance(other, dict):
            yield from (f"{name}.{inner}" for inner in _differing(mine, other))
        elif mine != other:
            yield name


def _hex(numbers: Sequence[int]) -> Rows:
    text = np.asarray(numbers, dtype=">u8").tobytes().hex().encode()
    return np.frombuffer(text, np.uint8).reshape(len(numbers), 16)[:, -_HEX:]


def _decimals(values: Iterable[int]) -> Iterator[tuple[int, Rows]]:
    """Yield (start, digits) of each stretch of values that have equally many digits."""
    start = 0
    for width, stretch in groupby(map(str, values), key=len):
        digits = np.frombuffer("".join(stretch).encode(), np.uint8).reshape(-1, width)
        yield start, digits
        start += len(digits)
