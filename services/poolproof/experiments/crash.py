"""The crash: one fault among innocent tasks on each side, and a wait for what comes back."""

from __future__ import annotations

import random
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from poolproof.experiments.sustained_load import AGAIN, SustainedLoad
from poolproof.produce.plan import Poison
from poolproof.produce.works import Observe
from poolproof.runner.broker_faults import BrokerFaultInjection, refuse, why_not
from poolproof_workers.errors import UsageError
from poolproof_workers.faults.catalogue import FAULTS, find
from poolproof_workers.pools import PoolSpec

if TYPE_CHECKING:
    from poolproof.produce.handle import BlockHandle
    from poolproof.produce.works import Workload
    from poolproof.runner.session import Session
    from poolproof.runner.side import Side
    from poolproof_workers.faults.fault import Fault

#: Seconds in which workers start anew and warm up, all sides at once.
_RESTART_S: Final = 5.0
_ROUNDS_BEFORE: Final = 4
#: About what a slot is fed in all.
_FED_ROUNDS: Final = 16
#: Celery retries what lost its slot three times. The visibility timeout may have brought a second
#: copy by then, which has three retries of its own: no more than eight strikes.
_RETRIED: Final = 9
_RECORDED_DEADLINE_S: Final = 30.0
#: Beyond the time after which whatever was stranded has come back.
_STILL_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Crash:
    """One fault, and the settings under which it is watched. All of it is in the run's history.

    The visibility timeout and the sweep are short, so that stranded tasks are seen to come back:
    with Celery's defaults (3600 s, and about 100 s between two looks) nobody would wait for it.
    """

    fault: str = "segfault"
    policy: str = "early"
    prefetch: int = 4
    visibility_timeout_s: float = 4.0
    restore_interval_s: float = 1.0
    restore_throttle: int = 1
    retry_delay_s: float = 1.0  #: of the policy late-retry
    task_s: float = 0.3  #: what an innocent task sleeps
    rounds: int = 8  #: tasks a slot to begin with; it is fed until the slots are back
    #: When to stop waiting for what may never come, beside the sweep. A child was seen to leave
    #: 30 s after its worker was told to stop (billiard waits so long for consumed messages).
    deadline_s: float = 90.0
    workers: int = 1  #: of each side, on one queue; one of them is struck
    restarts: bool = True  #: False: what the struck worker held is left to the others
    seed: int = 1  #: decides at which moment of a round a blow from outside comes

    def __post_init__(self) -> None:
        """Raise UsageError for a fault that is not in the table."""
        names = [fault.name for fault in FAULTS]
        if self.fault not in names:
            raise UsageError(f"There is no fault {self.fault!r}. Use one of: {', '.join(names)}.")

    def play(self, session: Session) -> None:
        """Crash every side; the workers have been started with `settings`."""
        for side in session.sides:
            session.listener.phase(f"warming up {side.label}")
            session.warm_up(side)
        if not self.strike_all(session):
            self.lay_still(session, session.sides[-1])

    def strike_all(self, session: Session) -> bool:
        """Crash every side, one after the other; True if the last came to rest. All slots are warm.

        A side that does not come to rest would disturb the next: its workers are sent away first.
        """
        rests = True
        for side in session.sides:
            rests = self.strike(session, side)
            if not rests and side != session.sides[-1]:
                session.send_away(side, f"{self.fault} does not end on {side.label}")
        return rests

    def lay_still(self, session: Session, side: Side) -> None:
        """Send the workers of a side away if its poison would strike while the books are closed.

        One that may never end is left: that it runs on is what the books are to say.
        """
        if not self._row.may_hang:
            session.send_away(side, f"{self.fault} does not end on {side.label}")

    @property
    def proxied(self) -> bool:
        """Whether a proxy has to stand between each worker and Redis."""
        return bool(self._row.trouble and self._row.trouble.on_the_way)

    def settings(self) -> dict[str, str]:
        """Return the settings of the workers, as their environment has them."""
        return {
            **self._row.settings,
            "POOLPROOF_POLICY": self.policy,
            "POOLPROOF_PREFETCH": str(self.prefetch),
            "POOLPROOF_VISIBILITY_TIMEOUT_S": str(self.visibility_timeout_s),
            "POOLPROOF_RESTORE_INTERVAL_S": str(self.restore_interval_s),
            "POOLPROOF_RESTORE_THROTTLE": str(self.restore_throttle),
            "POOLPROOF_RETRY_DELAY_S": str(self.retry_delay_s),
            **({} if self.restarts else {"POOLPROOF_RESTART_DELAY_S": "never"}),
        }

    def seconds(self, sides: int) -> float:
        """Return about how long it takes on so many sides."""
        return _RESTART_S + sides * (_FED_ROUNDS * self.task_s + self.visibility_timeout_s)

    def to_json(self) -> dict[str, Any]:
        """Return the crash as the history keeps it."""
        return {"name": "crash", **asdict(self)}

    @property
    def _row(self) -> Fault:
        return find(self.fault)[1]

    def _still_s(self, sweep_s: float) -> float | None:
        """Return how long nothing may move until a fault that may never end is given up."""
        return self.visibility_timeout_s + sweep_s + _STILL_S if self._row.may_hang else None

    def _sweep_s(self, session: Session, side: Side) -> float:
        """Return how long a side may take to look for overdue messages, whatever it is told."""
        return session.sweep_s(side) or self.restore_interval_s * self.restore_throttle

    def strike(self, session: Session, side: Side) -> bool:
        """Crash one side; True if everything came to rest, so that nothing disturbs the next."""
        reason = self._row.why_not(PoolSpec.parse(side.pool).pool) or session.refusal(side)
        if reason:
            session.listener.phase(f"{self.fault} cannot be done to {side.label}: {reason}")
            session.producer.op("not-applicable", side=side.label, fault=self.fault, reason=reason)
            return True
        session.listener.phase(f"{self.fault} on {side.label}: waiting for what comes back")
        after_s = self._moment_s(side)
        session.producer.op("strike", side=side.label, fault=self.fault, after_s=after_s)
        if reason := why_not(session, side, self._row):
            refuse(session, side, self._row, reason)
            return True
        if self._row.trouble and session.broker:
            session.broker.prepare(self._row.trouble)
        sweep_s = self._sweep_s(session, side)
        stretch = SustainedLoad(session, side, self._workload(session), self._again(side))
        sent = self._send(stretch, side)
        if self._row.blow:
            self._deal(session, side, sent, after_s)
        ordeal = self._befall(session, side, sent, after_s) if self._row.trouble else None
        stretch.until_struck(_RECORDED_DEADLINE_S)
        if self._row.revoked:
            self._revoke(session, side, sent)
        if ordeal:
            stretch.feed_through(ordeal)
        else:
            stretch.feed_until_back(self._prefetch(side) * side.concurrency)
        return stretch.end(self.deadline_s + sweep_s, self._still_s(sweep_s))

    def _send(self, stretch: SustainedLoad, side: Side) -> BlockHandle:
        poison = Poison(self._before(side), self.fault, self._moment_s(side))
        # At the fault the worker has all that it prefetches, and the queue is not empty.
        rounds = max(self.rounds, _ROUNDS_BEFORE + self._prefetch(side) + 3)
        return stretch.send(rounds, *((poison,) if self._row.do else ()))

    def _prefetch(self, side: Side) -> int:
        # A side's own 0, for no limit, is more than any number: ours will do.
        return int(side.settings.get("POOLPROOF_PREFETCH", 0)) or self.prefetch

    def _before(self, side: Side) -> int:
        # The first rounds tell the throughput before it.
        return _ROUNDS_BEFORE * side.concurrency

    def _workload(self, session: Session) -> Workload:
        if self._row.see:
            return Observe(self.fault, self.task_s)
        return session.workload(f"sleep:{round(self.task_s * 1000)}ms")

    def _again(self, side: Side) -> int:
        """Return after how many strikes, with no other task ending, a poison is given up."""
        bounded = self.policy == "late-retry" and PoolSpec.parse(side.pool).pool.slots == "process"
        return _RETRIED if bounded else AGAIN

    def _moment_s(self, side: Side) -> float:
        """Return when the fault comes, in seconds from the beginning of a round or of its task.

        A task does it in the middle: all its neighbours are in the middle of theirs. A blow from
        outside may hit any moment, and does: Celery acknowledges and fetches between two rounds.
        """
        if self._row.do:
            return self.task_s / 2
        of = (self.seed, self.fault, self.policy, self.prefetch, side.label)
        # Reproducible on purpose: nothing here is a secret.
        return random.Random(str(of)).uniform(0.0, self.task_s)  # noqa: S311

    def _until_steady(
        self, session: Session, side: Side, sent: BlockHandle, after_s: float
    ) -> None:
        enough = self._before(side)
        session.holds(lambda now: now.settled_in(sent) >= enough, _RECORDED_DEADLINE_S)
        time.sleep(after_s)

    def _deal(self, session: Session, side: Side, sent: BlockHandle, after_s: float) -> None:
        self._until_steady(session, side, sent, after_s)
        # One of them only: the others are there to survive it.
        session.order(side.workers[0], {"order": "fault", "fault": self.fault})

    def _befall(
        self, session: Session, side: Side, sent: BlockHandle, after_s: float
    ) -> BrokerFaultInjection | None:
        self._until_steady(session, side, sent, after_s)
        return BrokerFaultInjection.begin(session, side, self._row)

    def _revoke(self, session: Session, side: Side, sent: BlockHandle) -> None:
        session.producer.revoke(sent.first + self._before(side))
