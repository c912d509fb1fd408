"""A run in progress: plays steps on workers, and waits for what the collector says came of them."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from poolproof.infra.workers import registered
from poolproof.produce import workloads
from poolproof.produce.host_resources import MeasuredResources
from poolproof.runner.progress import Progress
from poolproof.runner.warming import WarmUp, patience_s
from poolproof_workers.connection import persevere
from poolproof_workers.contract import parsed
from poolproof_workers.errors import WorkerError
from poolproof_workers.supervisor import orders

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from redis import Redis

    from poolproof.infra.broker import Broker
    from poolproof.produce.handle import BlockHandle
    from poolproof.produce.host_resources import HostResources
    from poolproof.produce.plan import BlockSpec, Run
    from poolproof.produce.producer import Producer
    from poolproof.produce.works import Workload
    from poolproof.runner.listener import Listener
    from poolproof.runner.side import Side
    from poolproof_workers.contract import Keys

_T = TypeVar("_T")

#: A step of the collector's news that is worth waiting for is about 50 ms away.
_POLL_S: Final = 0.01
_AWAY_DEADLINE_S: Final = 60.0
#: How long Redis may be away in mid-run.
PATIENCE_S: Final = 15.0
#: From the end of the last task until its message is acknowledged.
_EMPTY_S: Final = 2.0
#: A broker that holds nothing, with no task running, for so long: nothing more will come.
_SILENCE_S: Final = 0.6


@dataclass(frozen=True, slots=True)
class Session:
    """Everything that a run needs while it is played. Made by `experiments.local` or `play`."""

    redis: Redis
    keys: Keys
    run: Run
    producer: Producer
    sides: tuple[Side, ...]
    listener: Listener
    health: Callable[[], None]  #: raises when a collector or a supervisor cannot go on
    broker: Broker | None = None  #: None: no trouble can be made for it
    means: HostResources = field(
        default_factory=MeasuredResources
    )  #: of this machine, for the workloads
    watched: bool = False  #: by Flower: task events are switched on for it between measurements

    def begin(self, **facts: Any) -> None:
        """Open the run's history and wait until every worker has joined it and takes tasks."""
        self.producer.op("run-begin", run=self.run.id, tag=self.run.tag, **facts)
        self.producer.clock()
        self.redis.set(self.keys.run, self.run.id)
        self.listener.step(0, 0)
        self.listener.phase("starting the workers")
        names = {name for side in self.sides for name in side.workers}
        self.wait(
            lambda now: names <= now.ready,
            _ready_s(self.sides),
            lambda now: f"workers that did not get ready: {', '.join(sorted(names - now.ready))}",
        )

    def end(self, reason: str = "done", deadline_s: float = 30.0) -> Progress | None:
        """Close the run's history; return what the collector said when it confirmed that.

        None if it did not before the deadline.
        """
        self.producer.op("run-end", reason=reason)
        self.listener.phase("closing the books")
        return self._until(lambda now: now.closed, deadline_s)

    # --- waiting ------------------------------------------------------------------------------

    def progress(self) -> Progress:
        """Ask the collector's latest news of this run."""
        news = parsed(self._ask(lambda: self.redis.get(self.keys.progress)))
        return Progress.of(news) if news.get("run") == self.run.id else Progress()

    def holds(self, true_of: Callable[[Progress], bool], deadline_s: float) -> bool:
        """Wait until it is true; False if the deadline comes first."""
        return self._until(true_of, deadline_s) is not None

    def wait(
        self,
        true_of: Callable[[Progress], bool],
        deadline_s: float,
        complaint: Callable[[Progress], str],
    ) -> None:
        """Wait until it is true. Raises WorkerError, with the complaint, at the deadline."""
        if not self.holds(true_of, deadline_s):
            raise WorkerError(f"After {deadline_s:.0f} s: {complaint(self.progress())}.")

    def _until(self, true_of: Callable[[Progress], bool], deadline_s: float) -> Progress | None:
        """Return the first news of which it is true; None if the deadline comes first."""
        deadline = time.monotonic() + deadline_s
        while not true_of(now := self.progress()):
            if time.monotonic() > deadline:
                return None
            self.health()
            time.sleep(_POLL_S)
        return now

    # --- steps --------------------------------------------------------------------------------

    def workload(self, text: str) -> Workload:
        """Read a workload; its work is calibrated on this machine, once a run."""
        return workloads.parse(text, self.means)

    def warm_up(self, side: Side) -> None:
        """Have every slot of a side run a task. Raises WorkerError if one never does."""
        WarmUp(self, side).play()

    def play(self, block: BlockSpec, deadline_s: float) -> tuple[BlockHandle, float]:
        """Send a block and wait until its tasks have settled; return it and the seconds it took."""
        began = time.monotonic()
        sent = self.producer.enqueue(block, self.workload(block.workload))
        drained = self.holds(lambda now: now.settled_in(sent) >= sent.count, deadline_s)
        self.producer.end(sent, drained=drained)
        return sent, time.monotonic() - began

    def switch_events(self, *, on: bool) -> None:
        """Switch Celery's task events of all workers; the history has what each answered."""
        self.producer.switch_events([name for side in self.sides for name in side.workers], on=on)

    def restart(
        self, sides: tuple[Side, ...], settings: Mapping[str, str], *, at_once: bool = False
    ) -> None:
        """Start the workers of some sides anew with some settings changed, and warm them up.

        What a side has of its own it keeps. `at_once` kills them instead of a warm shutdown, which
        takes seconds, and starts them without mingle, if they hold no message.
        """
        at_once = at_once and self.holds(lambda _: not any(map(self.left, sides)), _EMPTY_S)
        before = self.progress()
        names = [name for side in sides for name in side.workers]
        for name, own in {name: side.settings for side in sides for name in side.workers}.items():
            # What a side has of its own its supervisor knows; some of it no order may change.
            wanted = {key: value for key, value in settings.items() if key not in own}
            # A supervisor that a fault takes along has a successor, who must go on with them.
            self._ask(partial(orders.add, self.redis, self.keys, name, self.run.id, wanted))
            self.order(name, {"order": "restart", "settings": wanted, "at_once": at_once})
        self.wait(
            lambda now: (
                all(
                    now.lives.get(name, 0) > before.lives.get(name, 0) and name in now.ready
                    for name in names
                )
                and not any(now.slots.get(side.label) for side in sides)
            ),
            _ready_s(sides),
            lambda now: f"not all of {', '.join(names)} came back (ready: {sorted(now.ready)})",
        )
        for side in sides:
            self.warm_up(side)

    def refusal(self, side: Side) -> str | None:
        """Return why the workers of a side are not to be broken; None if they may be."""
        there = self._registered()
        # One that is away just now has not said no.
        off = [n for n in side.workers if n in there and not there[n]["allow_faults"]]
        if not off:
            return None
        return f"faults are off on {' and '.join(off)}: start it with --allow-faults 1"

    def sweep_s(self, side: Side) -> float | None:
        """Return the longest time between two looks of a side's workers for messages to restore.

        As they say it of the kombu that they run on; None if none of them is there.
        """
        there = self._registered()
        return max((there[name]["sweep_s"] for name in side.workers if name in there), default=None)

    def weigh_all(self, what: str = "effort") -> None:
        """Have all workers say so, and wait until each was told; what they say then comes."""
        for side in self.sides:
            self.weigh(side, what)
        self.until_obeyed()

    def weigh(self, side: Side, what: str = "effort") -> None:
        """Have the workers of a side say what they have done so far, or (`sample`) hold, too.

        They do so within about 0.1 s, and before they obey any later order.
        """
        for worker in side.workers:
            self.order(worker, {"order": what})

    def send_away(self, side: Side, why: str) -> None:
        """Stop the workers of a side for the rest of the run; the history says why.

        Their supervisors' last words and what the broker holds of the side stay in the books.
        """
        self.producer.op("sent-away", side=side.label, why=why)
        for worker in side.workers:
            self.order(worker, {"order": "stop"})
        self.wait(
            lambda _: self._registered().keys().isdisjoint(side.workers),
            _AWAY_DEADLINE_S,
            lambda _: f"the workers of {side.label} did not stop",
        )

    def until_obeyed(self, deadline_s: float = 2.0) -> None:
        """Wait until no order waits for a supervisor, or the deadline: what they then say comes."""
        names = [self.keys.orders(name) for side in self.sides for name in side.workers]
        self.holds(lambda _: not self._ask(lambda: self.redis.exists(*names)), deadline_s)

    def order(self, worker: str, order: Mapping[str, Any]) -> None:
        """Tell the supervisor of a worker to do something."""
        # A worker that is away takes it when it is back, perhaps in another run.
        text = json.dumps({**order, "run": self.run.id})
        self._ask(lambda: self.redis.rpush(self.keys.orders(worker), text))

    def until_quiet(
        self,
        side: Side,
        deadline_s: float,
        still_s: float | None = None,
        enough: Callable[[Progress], bool] = lambda _: False,
    ) -> bool:
        """Wait until a side's broker holds nothing and nothing runs: whatever can end has ended.

        With `still_s`, where something may never end, it also gives up (False) when nothing at all
        has moved for so long, and in any case when `enough` has happened.
        """
        deadline = time.monotonic() + deadline_s
        quiet_since = moved = time.monotonic()
        last: object = None
        while time.monotonic() - quiet_since < _SILENCE_S:
            now, left = self.progress(), self.left(side)
            standing = side.standing(now)
            if not standing and not now.running and left:
                return False
            busy = now.running or now.unreported or not now.ready.issuperset(standing)
            if busy or left:
                quiet_since = time.monotonic()
            if (now, left) != last:
                last, moved = (now, left), time.monotonic()
            if time.monotonic() > deadline or enough(now):
                return False
            if still_s is not None and busy and time.monotonic() - moved > still_s:
                return False
            self.health()
            time.sleep(_POLL_S)
        return True

    def queued(self, side: Side) -> int:
        """Return how many tasks wait in a side's queue."""
        return self._ask(lambda: self.redis.llen(self.keys.queue(side.label)))

    def left(self, side: Side) -> int:
        """Return how many tasks a side's broker holds: in its queue, or taken and not acked."""

        def count() -> int:
            pipeline = self.redis.pipeline(transaction=False)
            pipeline.llen(self.keys.queue(side.label))
            pipeline.hlen(self.keys.unacked(side.label))
            return sum(pipeline.execute())

        return self._ask(count)

    def _registered(self) -> dict[str, dict[str, Any]]:
        return self._ask(lambda: registered(self.redis, self.keys))

    def _ask(self, action: Callable[[], _T]) -> _T:
        """Ask Redis, which may be away for a while. Raises RedisUnreachable."""
        return persevere(action, PATIENCE_S, again=self._remind)

    def _remind(self) -> None:
        # One that came back empty has forgotten which run is on: then nobody would ship anything.
        self.health()
        self.redis.set(self.keys.run, self.run.id, nx=True)


def _ready_s(sides: tuple[Side, ...]) -> float:
    """Return how long the workers of some sides may take to start, all at once."""
    return patience_s(sum(side.concurrency for side in sides))
