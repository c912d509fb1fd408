"""The tasks of one block, as words of a Redis command."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from poolproof.produce.messages import Template
    from poolproof.produce.wire import Buffer


@dataclass(frozen=True, slots=True)
class Load:
    """What a block sends: the same work for every number but those that are poisoned."""

    block: int  #: index of the block
    side: str
    numbers: range
    work: Template
    values: Sequence[int] | None = None  #: stand in the arguments in place of the numbers
    poison: Mapping[int, Template] = field(default_factory=dict)  #: by offset in the block
    faults: Mapping[int, str] = field(default_factory=dict)  #: names of the poison, by offset

    def words(self, start: int, stop: int) -> list[Buffer]:
        """Return the messages of the offsets, in order, framed as `wire.lpush` takes them."""
        return list(self._words(start, stop))

    def fields(self, start: int, stop: int, begin_ns: int, interval_ns: int) -> dict[str, Any]:
        """Return the fields of the op `enqueued` for the offsets."""
        first = self.numbers.start
        fields = {
            "block": self.block,
            "side": self.side,
            "first": first + start,
            "count": stop - start,
            "begin_ns": begin_ns,
            "interval_ns": interval_ns,
        }
        # JSON has texts for keys.
        faults = {str(first + at): name for at, name in self.faults.items() if start <= at < stop}
        return {**fields, "faults": faults} if faults else fields

    def _words(self, start: int, stop: int) -> Iterator[Buffer]:
        for at in sorted(offset for offset in self.poison if start <= offset < stop):
            yield from self._work(start, at)
            yield from _buffers(self.poison[at], self.numbers[at : at + 1], None)
            start = at + 1
        yield from self._work(start, stop)

    def _work(self, start: int, stop: int) -> Iterator[Buffer]:
        if start < stop:
            values = None if self.values is None else self.values[start:stop]
            yield from _buffers(self.work, self.numbers[start:stop], values)


def _buffers(template: Template, numbers: range, values: Sequence[int] | None) -> Iterator[Buffer]:
    for rows in template.frames(numbers, values):
        yield rows.reshape(-1).data
