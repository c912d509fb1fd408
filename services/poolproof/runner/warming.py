"""The warm-up: holds the slots of a side until each of them has run a task."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from poolproof.produce.plan import BlockSpec
from poolproof.produce.units import duration_text
from poolproof_workers.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from poolproof.produce.handle import BlockHandle
    from poolproof.runner.listener import Listener
    from poolproof.runner.progress import Progress
    from poolproof.runner.side import Side

#: What a first task sleeps, and what it takes to hand a slot one where nothing is in the way.
_FIRST_S: Final = 0.05
_HAND_OUT_S: Final = 0.004
_MOST_FIRST_S: Final = 10.0
#: Tasks a slot where several workers take from one queue, which they do not share evenly: at first,
#: and then more than all but one of them can hold (prefetch 4 beside the one that runs).
_SHARED: Final = 2
_RESERVED: Final = 6
#: Seconds that anything with slots may take on a busy machine, or far away from Redis.
_LEAST_PATIENCE_S: Final = 60.0
_PATIENCE_A_SLOT_S: Final = 2.0
_MOST_PATIENCE_S: Final = 1_200.0


class Player(Protocol):
    """What a warm-up needs of a session."""

    @property
    def listener(self) -> Listener:
        """Who is told how far it is."""

    def play(self, block: BlockSpec, deadline_s: float) -> tuple[BlockHandle, float]:
        """Send a block and wait until its tasks have settled; return it and the seconds it took."""

    def progress(self) -> Progress:
        """Return what came of all blocks so far."""

    def left(self, side: Side) -> int:
        """Return how many tasks the broker holds for a side."""


def patience_s(slots: int) -> float:
    """Return how long so many slots may take until they are there, or have run a task."""
    return min(_LEAST_PATIENCE_S + _PATIENCE_A_SLOT_S * slots, _MOST_PATIENCE_S)


@dataclass(frozen=True, slots=True)
class WarmUp:
    """Rounds of tasks that all sleep: all slots are to be taken at one time.

    A pool of threads makes one only when all others are taken. So a round in which that did not
    happen is followed by one whose tasks last as long as this one took to hand out, or twice as
    long. A time limit of the workers may end those, and their processes with them: then it begins
    anew with short ones.
    """

    player: Player
    side: Side
    clock: Callable[[], float] = time.monotonic

    def play(self) -> None:
        """Go on until every slot has run a task. Raises WorkerError if one never does."""
        side, patience = self.side, patience_s(self.side.concurrency)
        deadline = self.clock() + patience
        first = seconds = min(max(_FIRST_S, _HAND_OUT_S * side.concurrency), _MOST_FIRST_S)
        before = 0
        alone = len(side.workers) == 1
        each = 1 if alone else _SHARED
        while True:
            sent, took_s = self._round(each, seconds, deadline - self.clock())
            now = self.player.progress()
            ran, settled = now.slots.get(side.label, 0), now.settled_in(sent)
            if ran >= side.concurrency and settled >= sent.count:
                return
            if settled < sent.count or self.clock() > deadline:
                raise WorkerError(self._why(now, ran, sent.count - settled, patience))
            # Slots that have run a task are lost only with their process.
            too_long = ran < max(before, 1)
            seconds = first if too_long else min(max(2 * seconds, took_s - seconds), patience)
            before = ran
            each = 1 if alone else _RESERVED
            self.player.listener.phase(
                f"warming up {side.label}: {ran} of {side.concurrency} slots have run a task; "
                f"now with tasks of {duration_text(round(seconds, 3))}"
            )

    def _round(self, each: int, seconds: float, left_s: float) -> tuple[BlockHandle, float]:
        """Play a round of so many tasks a slot, each so long."""
        workload = f"sleep:{duration_text(round(seconds, 3))}"
        block = BlockSpec(self.side.label, workload, each * self.side.concurrency, warmup=True)
        # A round that has begun is not cut short: the next is never longer than four of it.
        return self.player.play(block, left_s + 4 * seconds)

    def _why(self, now: Progress, ran: int, open_: int, patience: float) -> str:
        side = self.side
        said = f"{side.label}: {ran} of {side.concurrency} slots ran a task"
        if open_ and not (now.running or now.unreported or self.player.left(side)):
            # Neither the broker has them nor does any worker of ours run them.
            missing = f"{open_} of the warm-up's tasks went missing"
            return f"{said}, and {missing}. Is another worker taking from the same queue?"
        return (
            f"{said} within {patience:.0f} s: this machine is too busy, or Redis too far away, "
            "for so many slots, or a time limit ends their tasks. Free it, or ask for fewer."
        )
