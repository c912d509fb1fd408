"""A collector of few lines: reads the stream, drops what it has, confirms what it took."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from poolproof_workers.contract import RECORD, RECORD_BYTES, Entry, Event, Keys

if TYPE_CHECKING:
    from redis import Redis


class Seen(NamedTuple):
    source: str
    sequence: int
    number: int
    event: Event
    detail: int
    pid: int


class HistoryReader:
    """`records` and `ops` hold each (source, sequence) once; `gaps` what was jumped over."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self.redis = redis
        self.keys = keys
        self.records: list[Seen] = []
        self.ops: list[dict[str, Any]] = []
        self.gaps: list[tuple[str, int, int]] = []
        self.sent_twice = 0
        self.highest: dict[str, int] = defaultdict(int)
        self._last_id = "0-0"

    def read(self, *, save: bool = True) -> HistoryReader:
        """Take what is new; with `save`, confirm it and trim the stream as the collector does."""
        for stream_id, fields in self.redis.xrange(self.keys.history, f"({self._last_id}"):
            self._last_id = stream_id.decode()
            self._take(Entry.from_fields(fields))
        if save and self.highest:
            self.redis.hset(self.keys.saved, mapping=dict(self.highest))
            self.redis.xtrim(self.keys.history, minid=self._last_id, approximate=False)
        return self

    def begin_again(self) -> None:
        """The stream was made anew: read it from its beginning."""
        self._last_id = "0-0"

    def named(self, name: str, **fields: Any) -> list[dict[str, Any]]:
        """The ops of a name whose fields have these values."""
        return [op for op in self.ops if op["op"] == name and fields.items() <= op.items()]

    def numbers(self, event: Event) -> Counter[int]:
        """Task number -> how often the event was recorded."""
        return Counter(seen.number for seen in self.records if seen.event is event)

    def _take(self, entry: Entry) -> None:
        expected = self.highest[entry.source] + 1
        end = entry.sequence + entry.count
        if entry.sequence > expected:
            self.gaps.append((entry.source, expected, entry.sequence - 1))
        new = range(max(expected, entry.sequence), end)
        self.sent_twice += entry.count - len(new)
        if not new:
            return
        self.highest[entry.source] = new[-1]
        if entry.kind == "op":
            self.ops.append(entry.op)
            return
        for sequence in new:
            at = (sequence - entry.sequence) * RECORD_BYTES
            number, _, detail, _, pid, _, event, _, last = RECORD.unpack_from(entry.data, at)
            assert last == sequence
            self.records.append(Seen(entry.source, sequence, number, Event(event), detail, pid))
