"""The tasks of one block, as words of a Redis command."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from poolproof.produce.messages import Rows, Template
    from poolproof.produce.wire import Buffer
    from poolproof.produce.works import Workload


@dataclass(frozen=True, slots=True)
class Load:
    """What a block sends: the same work for every number but those that are poisoned."""

    block: int  #: index of the block
    side: str
    numbers: range
    workload: Workload
    templates: tuple[Template, ...]  #: of the workload's works
    values: Sequence[int] | None = None  #: stand in the arguments in place of the numbers
    poison: Mapping[int, Template] = field(default_factory=dict)  #: by offset in the block
    faults: Mapping[int, str] = field(default_factory=dict)  #: names of the poison, by offset

    @property
    def message_bytes(self) -> int:
        """Bytes of the largest of its messages, about."""
        return max(each.message_bytes for each in (*self.templates, *self.poison.values()))

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
        if start >= stop:
            return
        numbers, values = self.numbers[start:stop], self._values(start, stop)
        dealt = self.workload.deal(range(start, stop))
        if dealt is None:
            yield from _buffers(self.templates[0], numbers, values)
        else:
            yield from self._dealt(dealt, numbers, values)

    def _dealt(
        self, dealt: Sequence[int], numbers: range, values: Sequence[int] | None
    ) -> Iterator[Buffer]:
        """Yield the messages in order, though those of each template are made together."""
        places: list[list[int]] = [[] for _ in self.templates]
        for place, index in enumerate(dealt):
            places[index].append(place)
        rows = [
            _rows(
                template,
                [numbers[place] for place in mine],
                None if values is None else [values[place] for place in mine],
            )
            for template, mine in zip(self.templates, places, strict=True)
        ]
        for index in dealt:
            yield next(rows[index]).data

    def _values(self, start: int, stop: int) -> Sequence[int] | None:
        if self.values is not None:
            return self.values[start:stop]
        return self.workload.values(range(start, stop))


def _buffers(
    template: Template, numbers: Sequence[int], values: Sequence[int] | None
) -> Iterator[Buffer]:
    for rows in template.frames(numbers, values):
        yield rows.reshape(-1).data


def _rows(
    template: Template, numbers: Sequence[int], values: Sequence[int] | None
) -> Iterator[Rows]:
    for rows in template.frames(numbers, values):
        yield from rows
