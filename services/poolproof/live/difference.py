"""Where what Flower shows of a run and the page's books differ, by what both said of each task."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from poolproof.live.flower import Seen
from poolproof.live.stage import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from poolproof.live.stage import Stretch

#: Numbers, from the last that a task has: Flower keeps no more tasks than these, either.
COMPARED: Final = 100_000
_CODES: Final = 16  #: more than there are states of either kind

#: What Flower shows of a task whose state in the books is this, if it shows what is the case.
_TRUE: Final[Mapping[State, frozenset[Seen]]] = {
    State.QUEUED: frozenset({Seen.NEVER, Seen.RETRIED}),  # nobody tells it of what is only sent
    State.PREFETCHED: frozenset({Seen.RECEIVED}),
    State.RUNNING: frozenset({Seen.STARTED}),
    State.COMPLETED: frozenset({Seen.SUCCEEDED}),
    State.REPEATED: frozenset(),  # it keeps one end of a task
    State.FAILED: frozenset({Seen.FAILED, Seen.REVOKED}),
    State.CUT: frozenset(),
    State.STRANDED: frozenset(),
    State.LOST: frozenset(),
}


def agree(seen: Seen, state: State) -> bool:
    """Whether Flower shows of a task what the books say, or nothing that could be wrong."""
    return seen is Seen.OTHER or seen in _TRUE[state]


@dataclass(frozen=True, slots=True)
class Picture:
    """What both said at one moment, of the tasks from number `first` on."""

    first: int
    states: np.ndarray  #: of uint8: a `State` each, 0 for a number that no task has
    seen: np.ndarray  #: of uint8: a `Seen` each

    @classmethod
    def of(cls, first: int, states: bytes, seen: Mapping[int, Seen]) -> Picture:
        """Make one of the books and of Flower's tasks by number."""
        shown = np.zeros(len(states), np.uint8)
        numbers = np.fromiter(seen.keys(), np.int64, len(seen)) - first
        codes = np.fromiter(seen.values(), np.uint8, len(seen))
        inside = (numbers >= 0) & (numbers < len(states))
        shown[numbers[inside]] = codes[inside]
        return cls(first, np.frombuffer(states, np.uint8), shown)

    def same_in(self, earlier: Picture) -> np.ndarray:
        """Return of which tasks both said the same in an earlier picture."""
        found = np.zeros(len(self.states), bool)
        start = self.first - earlier.first
        shared = min(len(self.states), len(earlier.states) - start)
        if start >= 0 and shared > 0:
            before = slice(start, start + shared)
            found[:shared] = (self.states[:shared] == earlier.states[before]) & (
                self.seen[:shared] == earlier.seen[before]
            )
        return found


@dataclass(slots=True)
class Difference:
    """One side, as Flower shows it and as the books have it."""

    side: str
    counts: Counter[tuple[Seen, State]] = field(default_factory=Counter)
    young: int = 0  #: tasks of which either has said something new lately: not compared
    unwatched: int = 0  #: that Flower missed in stretches with task events off

    @property
    def compared(self) -> int:
        """How many tasks were compared."""
        return sum(self.counts.values())

    @property
    def differing(self) -> dict[tuple[Seen, State], int]:
        """The part of `counts` in which Flower and the books differ."""
        return {pair: count for pair, count in self.counts.items() if not agree(*pair)}

    @property
    def missed(self) -> int:
        """How many tasks Flower never heard of that have left the queue."""
        return sum(n for (seen, _), n in self.differing.items() if seen is Seen.NEVER)


def differences(
    now: Picture, before: Picture, stretches: Sequence[Stretch], sides: Iterable[str]
) -> dict[str, Difference]:
    """Compare the tasks of which both say the same as `before`; return a side each.

    How long ago that was must be longer than either lags behind: then what they say still differs
    because they differ, not because one has heard earlier.
    """
    found = {side: Difference(side) for side in sides}
    settled = now.same_in(before)
    pairs = now.seen.astype(np.int64) * _CODES + now.states
    for stretch, part in _parts(now, stretches):
        there = now.states[part] > 0
        side = found.setdefault(stretch.side, Difference(stretch.side))
        side.young += int((there & ~settled[part]).sum())
        counted = np.bincount(pairs[part][there & settled[part]])
        for code in np.flatnonzero(counted).tolist():
            pair = Seen(code // _CODES), State(code % _CODES)
            side.counts[pair] += int(counted[code])
            if pair[0] is Seen.NEVER and not stretch.events and not agree(*pair):
                side.unwatched += int(counted[code])
    return found


def _parts(now: Picture, stretches: Sequence[Stretch]) -> Iterator[tuple[Stretch, slice]]:
    """Yield the part of a picture that each stretch has."""
    ends = [stretch.first for stretch in stretches[1:]] + [now.first + len(now.states)]
    for stretch, end in zip(stretches, ends, strict=False):
        if end > now.first:
            yield stretch, slice(max(0, stretch.first - now.first), end - now.first)
