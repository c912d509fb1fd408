"""Where each task of a run is: a byte a task, so that hours of running fit."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from poolproof.live.side import State

if TYPE_CHECKING:
    from poolproof.live.side import Side

#: In a task's byte: its state, and beside it what is final (it ran to its end once, or failed in a
#: slot), or holds until it is received again (the main process reported or refused it).
_STATE: Final = 0x0F
_REPORTED: Final = 0x10
_SUCCEEDED: Final = 0x40
_FAILED: Final = 0x80
_FINAL: Final = _SUCCEEDED | _FAILED
_FLAGS: Final = {State.COMPLETED: _SUCCEEDED, State.FAILED: _FAILED}
#: The state of each byte.
_STATES: Final = bytes(byte & _STATE for byte in range(256))


@dataclass(frozen=True, slots=True)
class NumberRange:
    """The numbers that a block was given: from `first` to where the next stretch begins."""

    first: int
    side: str
    events: bool  #: Celery's task events were on


class Tasks:
    """The states of all tasks by number. What changes one changes the counts of its side too."""

    def __init__(self) -> None:
        self.stretches: list[NumberRange] = []
        self._bytes = bytearray()

    def __len__(self) -> int:
        """Return the number after the last that a task has."""
        return len(self._bytes)

    def __contains__(self, number: int) -> bool:
        """Tell whether a task with this number was enqueued."""
        return 0 <= number < len(self._bytes) and self._bytes[number] > 0

    def state_of(self, number: int) -> State:
        """Return the state of a task that was enqueued."""
        return State(self._bytes[number] & _STATE)

    def states(self, first: int) -> bytes:
        """Return the state of each task from number `first` on; 0: no task has that number."""
        return bytes(self._bytes[first:].translate(_STATES))

    def in_state(self, side: Side, state: State) -> list[int]:
        """Return a side's tasks in a state that is rare, of those that were enqueued last.

        Without those of which more is known than the state.
        """
        return self._with(side, state) if side.counts[state] else []

    def only_reported(self, side: Side) -> list[int]:
        """Return those that failed by what the main process said of them, not by their own end."""
        return self._with(side, State.FAILED | _REPORTED) if side.counts[State.FAILED] else []

    def _with(self, side: Side, byte: int) -> list[int]:
        found, at = [], self._bytes.find(byte)
        while at >= 0:
            if self._owner(at) == side.label:
                found.append(at)
            at = self._bytes.find(byte, at + 1)
        return found

    def _owner(self, number: int) -> str:
        place = bisect_right(self.stretches, number, key=lambda s: s.first)
        return self.stretches[place - 1].side if place else ""

    # --- what happens to them -----------------------------------------------------------------

    def enqueue(self, side: Side, first: int, count: int) -> None:
        """Note tasks that were sent."""
        # Numbers may have been given to a block that has not sent them yet: they are no tasks.
        self._bytes += bytes(max(0, first + count - len(self._bytes)))
        self._bytes[first : first + count] = bytes([State.QUEUED]) * count
        side.counts[State.QUEUED] += count

    def receive(self, side: Side, number: int, worker: str) -> None:
        """Note that a worker was given one."""
        self._bytes[number] &= ~_REPORTED
        if not (self._bytes[number] & _FINAL or side.attempts[number]):
            self.put(side, number, State.PREFETCHED)
            side.holders[number] = worker
            side.left.discard(number)

    def run(self, side: Side, number: int) -> None:
        """Note that a slot runs one."""
        if self.state_of(number) != State.REPEATED:
            self.put(side, number, State.RUNNING)

    def report(self, side: Side, number: int) -> None:
        """Note that the main process refused one, or reported its end."""
        self._bytes[number] |= _REPORTED
        # What a slot still runs fails when that is over, if it was that.
        if not (self._bytes[number] & _FINAL or side.attempts[number]):
            self.put(side, number, State.FAILED)

    def settle(self, side: Side, number: int, state: State) -> None:
        """Note how an attempt ended: what it says of the task depends on the others."""
        final = self._bytes[number] & _FINAL
        again = {State.COMPLETED: final, State.FAILED: final & _SUCCEEDED}.get(state)
        self._bytes[number] |= _FLAGS.get(state, 0)
        if again or self.state_of(number) == State.REPEATED:
            self.put(side, number, State.REPEATED)
        elif side.attempts[number]:
            self.put(side, number, State.RUNNING)
        elif self._bytes[number] & _SUCCEEDED:
            self.put(side, number, State.COMPLETED)
        elif self._bytes[number] & (_FAILED | _REPORTED):
            self.put(side, number, State.FAILED)
        else:
            self.put(side, number, state)

    def put(self, side: Side, number: int, state: State) -> None:
        """Change the state of one, and what its side says of it."""
        before = self.state_of(number)
        if before == state:
            return
        side.counts[before] -= 1
        side.counts[state] += 1
        self._bytes[number] = self._bytes[number] & ~_STATE | state
        if before == State.STRANDED:
            side.due_ns.pop(number, None)
        if before == State.PREFETCHED:
            side.holders.pop(number, None)
            side.left.discard(number)
        if number in side.poison:
            side.poison_lost += (state == State.LOST) - (before == State.LOST)
