"""The demonstration: work flows to every side, and people at the live page break things."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from poolproof.experiments.compare import Comparison
from poolproof.experiments.crash import Crash
from poolproof.produce.plan import BlockSpec, Poison
from poolproof_workers.errors import PoolproofError, UsageError
from poolproof_workers.faults.catalogue import find
from poolproof_workers.pools import PoolSpec

if TYPE_CHECKING:
    from poolproof.produce.trickle import Trickle
    from poolproof.runner.live_orders import Orders
    from poolproof.runner.session import Session
    from poolproof.runner.side import Side

_TICK_S: Final = 0.05
#: Numbers a block has to give away: a new one begins when they are used up.
_BLOCK: Final = 20_000
#: While a queue is longer than this many seconds of the rate no side is fed: that side is
#: overloaded, and if the other went on alone it would seem to be faster.
_BACKLOG_S: Final = 10.0
MAX_PER_S: Final = 5_000.0
#: What a comparison may take, as everywhere.
_DAY_S: Final = 86_400


@dataclass(slots=True)
class _Feed:
    """The work that flows to one side."""

    side: Side
    trickle: Trickle | None = None


@dataclass(slots=True)
class Demonstration:
    """An open loop on every side until somebody stops it. Its settings change while it runs.

    Orders are `{"do": "rate", "per_s": 20}`, `{"do": "workload", "text": "sleep:300ms"}`,
    `{"do": "fault", "side": S, "fault": F}`, `{"do": "slots", "side": S, "count": N}`,
    `{"do": "compare", "seconds": 30}` and `{"do": "stop"}`; the last two end it.
    """

    orders: Orders
    per_s: float = 10.0  #: tasks a second, for each side: four slots do 13.3 of the first workload
    workload: str = "sleep:300ms"
    events: bool = False  #: the workers have Celery's task events on
    crash: Crash = field(default_factory=lambda: Crash(visibility_timeout_s=8.0))
    asked: Comparison | None = None  #: after it was played: what people want to see next
    pools: dict[str, str] = field(default_factory=dict)  #: label -> the pool that it ended with
    _stopped: bool = False
    _owed: float = 0.0  #: tasks due on each side, with the part of one that is not whole yet
    _waits_for: str = ""  #: the side that is overloaded

    def play(self, session: Session) -> None:
        """Feed every side and do what is asked, until it is stopped."""
        feeds = {side.label: _Feed(side) for side in session.sides}
        for side in session.sides:
            session.listener.phase(f"warming up {side.label}")
            session.warm_up(side)
        session.listener.phase("work flows; the page has the controls")
        last = time.monotonic()
        while not self._stopped:
            for order in self.orders.take():
                self._obey(session, feeds, order)
            now = time.monotonic()
            self._feed_all(session, feeds, now - last)
            last = now
            session.health()
            time.sleep(_TICK_S)
        self.pools = {label: feed.side.pool for label, feed in feeds.items()}
        self._end(session, feeds)

    def settings(self) -> dict[str, str]:
        """Return the settings of the workers, as their environment has them."""
        return self.crash.settings()

    def to_json(self) -> dict[str, Any]:
        """Return it as the history keeps it."""
        return {
            "name": "demonstration",
            "per_s": self.per_s,
            "workload": self.workload,
            "events": self.events,
            "crash": self.crash.to_json(),
        }

    # --- orders -------------------------------------------------------------------------------

    def _obey(self, session: Session, feeds: dict[str, _Feed], order: dict[str, Any]) -> None:
        """Do what the page asks; what cannot be done is said in the history and on the page."""
        try:
            self._do(session, feeds, order)
        except PoolproofError as error:
            session.producer.op("phase", name=str(error))
        else:
            session.producer.op("phase", name=_said(order))

    def _do(self, session: Session, feeds: dict[str, _Feed], order: dict[str, Any]) -> None:
        match order:
            case {"do": "stop"}:
                self._stopped = True
            case {"do": "compare", "seconds": float() | int() as seconds} if 1 <= seconds <= _DAY_S:
                self.asked = Comparison(workloads=(self.workload,), budget_s=float(seconds))
                self._stopped = True
            case {"do": "rate", "per_s": float() | int() as per_s} if 0 <= per_s <= MAX_PER_S:
                self.per_s = float(per_s)
            case {"do": "workload", "text": str() as text}:
                session.workload(text)  # raises for one that is not known
                self.workload = text
                for feed in feeds.values():
                    self._end_block(session, feed)
            case {"do": "fault", "side": str() as label, "fault": str() as fault} if label in feeds:
                self._strike(session, feeds[label], fault)
            case {"do": "slots", "side": str() as label, "count": int() as count} if label in feeds:
                self._resize(session, feeds[label], count)
            case _:
                raise UsageError(f"The page asked for {order}, which nobody understands.")

    def _strike(self, session: Session, feed: _Feed, name: str) -> None:
        _, fault = find(replace(self.crash, fault=name).fault)  # raises for one that is not known
        side = feed.side
        if reason := fault.why_not(PoolSpec.parse(side.pool).pool):
            raise UsageError(f"{name} cannot be done to {side.label}: {reason}.")
        if fault.where == "broker":
            raise UsageError(f"{name} is done to the broker: use `poolproof crash --fault {name}`.")
        # A blow is not aimed: it comes as soon as the supervisor hears of it.
        after_s = None if fault.blow else self.crash.task_s / 2
        session.producer.op("strike", side=side.label, fault=name, after_s=after_s)
        if fault.blow:
            for worker in side.workers:
                session.order(worker, {"order": "fault", "fault": name})
            return
        poison = Poison(0, name, self.crash.task_s / 2)
        block = BlockSpec(
            side.label, self.workload, 1, events=self.events, poison=(poison,), continues=True
        )
        session.producer.enqueue(block, session.workload(self.workload))

    def _resize(self, session: Session, feed: _Feed, count: int) -> None:
        wanted = replace(PoolSpec.parse(feed.side.pool), concurrency=count)
        spec = PoolSpec.parse(wanted.text)  # raises for a number that the pool does not take
        if spec.pool.is_custom:
            raise UsageError(f"No order changes the pool of {feed.side.label}: it is custom.")
        changed = replace(feed.side, pool=spec.text, concurrency=spec.concurrency)
        session.restart((changed,), {"POOLPROOF_POOL": spec.text})
        feed.side = changed

    # --- work ---------------------------------------------------------------------------------

    def _feed_all(self, session: Session, feeds: dict[str, _Feed], seconds: float) -> None:
        """Send every side as much, or none of them anything."""
        self._owed = min(self._owed + self.per_s * seconds, self.per_s)
        due = int(self._owed)
        if not due:
            return
        self._owed -= due
        waiting = {label: session.queued(feed.side) for label, feed in feeds.items()}
        longest = max(waiting, key=lambda label: waiting[label])
        is_over = waiting[longest] > self.per_s * _BACKLOG_S
        self._say_whom_all_wait_for(session, longest if is_over else "")
        for feed in () if is_over else feeds.values():
            self._feed(session, feed, due)

    def _say_whom_all_wait_for(self, session: Session, label: str) -> None:
        if label and not self._waits_for:
            about = f"{label} does not keep up: no side gets more work until it has caught up"
            session.producer.op("phase", name=about)
        elif self._waits_for and not label:
            about = f"{self._waits_for} has caught up: work flows again"
            session.producer.op("phase", name=about)
        self._waits_for = label

    def _feed(self, session: Session, feed: _Feed, due: int) -> None:
        if feed.trickle is None or not feed.trickle.left:
            self._end_block(session, feed)
            block = BlockSpec(feed.side.label, self.workload, _BLOCK, events=self.events)
            feed.trickle = session.producer.trickle(block, session.workload(self.workload))
        feed.trickle.send(due)

    def _end_block(self, session: Session, feed: _Feed) -> None:
        if feed.trickle is not None:
            sent = feed.trickle.sent
            drained = session.progress().settled_in(sent) >= sent.count
            session.producer.end(sent, drained=drained, why="the page asked for other work")
            feed.trickle = None

    def _end(self, session: Session, feeds: dict[str, _Feed]) -> None:
        session.listener.phase("waiting for what still runs or comes back")
        for feed in feeds.values():
            session.until_quiet(
                feed.side, self.crash.deadline_s, self.crash.visibility_timeout_s * 2
            )
            self._end_block(session, feed)


def _said(order: dict[str, Any]) -> str:
    match order["do"]:
        case "fault":
            return f"{order['fault']} on {order['side']}"
        case "rate":
            return f"{order['per_s']:g} tasks a second for each side"
        case "workload":
            return f"the work is {order['text']} now"
        case "slots":
            return f"{order['side']} has {order['count']} slots now"
        case "compare":
            return "a measured comparison comes next"
        case _:
            return "stopped from the page"
