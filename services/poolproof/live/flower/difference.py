"""Where what Flower shows of a run and the page's books differ, by what both said of each task."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from poolproof.live.flower.client import Seen
from poolproof.live.side import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from poolproof.live.tasks import NumberRange

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
    def of(cls, first: int, states: bytes, seen: bytes) -> Picture:
        """Make one of a state each in the books, and of what Flower says of as many, or fewer."""
        shown = seen[: len(states)].ljust(len(states), b"\0")
        return cls(first, np.frombuffer(states, np.uint8), np.frombuffer(shown, np.uint8))

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
    #: of those that Flower never heard of: in stretches with task events off, so it could not
    unheard: Counter[State] = field(default_factory=Counter)

    @property
    def compared(self) -> int:
        """How many tasks were compared."""
        return sum(self.counts.values())

    @property
    def differing(self) -> dict[tuple[Seen, State], int]:
        """The part of `counts` in which Flower and the books differ."""
        return {pair: count for pair, count in self.counts.items() if not agree(*pair)}

    @property
    def unwatched(self) -> int:
        """How many tasks Flower missed since task events were off."""
        return self.unheard.total()

    @property
    def missed(self) -> int:
        """How many tasks Flower never heard of that have left the queue."""
        return sum(n for (seen, _), n in self.differing.items() if seen is Seen.NEVER)


def differences(
    now: Picture, before: Picture, stretches: Sequence[NumberRange], sides: Iterable[str]
) -> dict[str, Difference]:
    """Compare the tasks of which both say the same as `before`; return a side each.

    How long ago that was must be longer than either lags behind: then what they say still differs
    because they differ, not because one has heard earlier.
    """
    found = {side: Difference(side) for side in sides}
    kinds = list(dict.fromkeys((stretch.side, stretch.events) for stretch in stretches))
    if not kinds:
        return found
    owners = _owners(now, stretches, kinds)
    there, settled = now.states > 0, now.same_in(before)
    for kind, count in _counted(owners[there & ~settled]):
        found[kinds[kind][0]].young += count
    codes = (owners * _CODES + now.seen) * _CODES + now.states
    for code, count in _counted(codes[there & settled]):
        (label, events), seen = kinds[code // _CODES**2], Seen(code // _CODES % _CODES)
        state, side = State(code % _CODES), found[label]
        side.counts[seen, state] += count
        if seen is Seen.NEVER and not events and not agree(seen, state):
            side.unheard[state] += count
    return found


def _owners(
    now: Picture, stretches: Sequence[NumberRange], kinds: Sequence[tuple[str, bool]]
) -> np.ndarray:
    """Return for each task of a picture the index of the kind of stretch that it is in."""
    places = {kind: index for index, kind in enumerate(kinds)}
    end = now.first + len(now.states)
    # What comes before the first stretch is no task, so it may count as the first one's.
    bounds = [now.first, *(stretch.first for stretch in stretches[1:]), end]
    lengths = np.diff(np.clip(bounds, now.first, end))
    return np.repeat([places[each.side, each.events] for each in stretches], lengths)


def _counted(codes: np.ndarray) -> Iterator[tuple[int, int]]:
    counts = np.bincount(codes)
    for code in np.flatnonzero(counts).tolist():
        yield code, int(counts[code])
