"""The work that a side has around a fault, and the wait for what comes of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from poolproof.produce.plan import BlockSpec

if TYPE_CHECKING:
    from poolproof.produce.handle import BlockHandle
    from poolproof.produce.plan import Poison
    from poolproof.produce.works import Workload
    from poolproof.runner.broker_faults import BrokerFaultInjection
    from poolproof.runner.progress import Progress
    from poolproof.runner.session import Session
    from poolproof.runner.side import Side

#: Prefork was seen to take 5 s until it noticed that a child was gone.
_BACK_WITHIN_S: Final = 8.0
#: Until a death that nobody has noticed yet shows in the collector's news.
_NOTICED_S: Final = 1.0
#: Rounds over all slots that wait for them: three tell the throughput after a fault.
_ROUNDS_AHEAD: Final = 4
_ROUNDS_MORE: Final = 2
#: Celery tries to connect again 2 s after it failed, then 4 s after that.
_CONNECTED_S: Final = 3.0
_POLL_S: Final = 0.1
#: A poison that struck so often while no other task came to its end will do so for ever.
AGAIN: Final = 3


class SustainedLoad:
    """Blocks that a side is fed one after the other: to its pool they are one."""

    def __init__(
        self, session: Session, side: Side, workload: Workload, again: int = AGAIN
    ) -> None:
        self._session = session
        self._again = again
        self._side = side
        self._workload = workload
        self._sent: list[BlockHandle] = []
        self._poisoned = False
        self._before = session.progress()
        self._open_then = self._strikes_then = 0

    def send(self, rounds: int, *poison: Poison) -> BlockHandle:
        """Send so many tasks a slot."""
        block = BlockSpec(
            self._side.label,
            self._workload.text,
            rounds * self._side.concurrency,
            poison=poison,
            continues=bool(self._sent),
        )
        self._poisoned = self._poisoned or bool(poison)
        self._sent.append(self._session.producer.enqueue(block, self._workload))
        return self._sent[-1]

    def until_struck(self, deadline_s: float) -> bool:
        """Wait until the fault is done; False if all tasks were over first, or at the deadline."""
        self._session.holds(lambda now: self._strikes(now) > 0 or not self._open(now), deadline_s)
        return self._strikes(self._session.progress()) > 0

    def feed_until_back(self, reserved: int) -> None:
        """Keep all slots in work until they are back, or will not come back soon.

        `reserved` is how many tasks a worker that lives has taken in beside those that run.
        """
        began = harmless_since = time.monotonic()
        was_gone = False
        while time.monotonic() - began < _BACK_WITHIN_S:
            now = self._session.progress()
            was_gone = was_gone or not self._is_whole(now) or self._has_ended(now)
            # Where a child's death is not noticed yet, its poison has not settled either. A blow
            # from outside has no poison: only a slot that was gone can be seen to be back.
            if not self._poisoned or now.poison_open > self._before.poison_open:
                harmless_since = time.monotonic()
            harmless = time.monotonic() - harmless_since > _NOTICED_S
            # Where nobody comes back, the others are kept in work while they rescue what was left.
            will_be_back = self._side.restarts or not was_gone
            if (was_gone or harmless) and self._is_whole(now) and will_be_back:
                return
            held = reserved if now.lives == self._before.lives else 0
            # A worker holds what it may only as long as the queue is not empty.
            ahead = max(1, _ROUNDS_AHEAD - held // self._side.concurrency)
            self._feed(ahead)
            self._session.health()
            time.sleep(_POLL_S)

    def feed_through(self, ordeal: BrokerFaultInjection) -> None:
        """Keep all slots in work until a trouble is over, and tasks end again as they did before.

        What a worker holds of earlier may end without its broker; so it is given time to run that.
        """
        while not ordeal.is_over():
            self._feed(_ROUNDS_AHEAD)
            time.sleep(_POLL_S)
        ordeal.end()
        over = time.monotonic()
        while time.monotonic() - over < _BACK_WITHIN_S:
            self._feed(_ROUNDS_AHEAD)
            if time.monotonic() - over > _CONNECTED_S and self._is_whole(self._session.progress()):
                return
            self._session.health()
            time.sleep(_POLL_S)

    def _feed(self, rounds: int) -> None:
        if self._session.queued(self._side) < rounds * self._side.concurrency:
            self.send(_ROUNDS_MORE)

    def end(self, deadline_s: float, still_s: float | None) -> bool:
        """Wait until nothing more will happen, and end the blocks; True if all came to rest."""
        session = self._session
        began = time.monotonic()
        quiet = session.until_quiet(self._side, deadline_s, still_s, self._only_comes_back)
        now = session.progress()
        if quiet:
            why = "everything came to rest"
        elif self._only_comes_back(now):
            why = f"the poison struck {self._strikes(now)} times and comes back again"
        elif time.monotonic() - began < deadline_s:
            why = "nothing moved any more"
        else:
            why = f"the deadline of {deadline_s:.0f} s"
        for sent in self._sent:
            drained = quiet or now.settled_in(sent) >= sent.count
            session.producer.end(sent, drained=drained, why=why)
        return quiet

    def _strikes(self, now: Progress) -> int:
        return now.faults - self._before.faults

    def _open(self, now: Progress) -> int:
        return sum(sent.count - now.settled_in(sent) for sent in self._sent)

    def _has_ended(self, now: Progress) -> bool:
        return now.lives != self._before.lives or now.exits != self._before.exits

    def _is_whole(self, now: Progress) -> bool:
        side = self._side
        standing = side.standing(now)
        slots = side.concurrency * len(standing) // len(side.workers)
        return now.ready.issuperset(standing) and now.slots.get(side.label, 0) >= slots

    def _only_comes_back(self, now: Progress) -> bool:
        """Tell whether nothing happens any more but that the poison strikes."""
        if (open_now := self._open(now)) != self._open_then:
            self._open_then, self._strikes_then = open_now, self._strikes(now)
        return self._strikes(now) >= self._strikes_then + self._again
