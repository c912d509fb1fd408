"""The crash: one fault among innocent tasks on each side, and a wait for what comes back."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from poolproof.experiments.stretch import Stretch
from poolproof.produce.plan import Poison
from poolproof.produce.workloads import Observe
from poolproof_workers.errors import UsageError
from poolproof_workers.faults import INSIDE, OUTSIDE, find
from poolproof_workers.pools import PoolSpec

if TYPE_CHECKING:
    from poolproof.experiments.session import Session, Side
    from poolproof.produce.producer import Sent
    from poolproof.produce.workloads import Workload
    from poolproof_workers.fault import Fault

#: Seconds in which workers start anew and warm up, all sides at once.
_RESTART_S: Final = 5.0
_ROUNDS_BEFORE: Final = 4
#: About what a slot is fed in all.
_FED_ROUNDS: Final = 16
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
    deadline_s: float = 45.0  #: when to stop waiting for what may never come

    def __post_init__(self) -> None:
        """Raise UsageError for a fault that is not in the table."""
        if self.fault not in INSIDE + OUTSIDE:
            names = ", ".join(INSIDE + OUTSIDE)
            raise UsageError(f"There is no fault {self.fault!r}. Use one of: {names}.")

    def play(self, session: Session) -> None:
        """Crash every side; the workers have been started with `settings`."""
        for side in session.sides:
            session.listener.phase(f"warming up {side.label}")
            session.warm_up(side)
        self.strike_all(session)

    def strike_all(self, session: Session) -> None:
        """Crash every side, one after the other. All slots are warm."""
        for side in session.sides:
            self.strike(session, side)

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

    @property
    def _still_s(self) -> float | None:
        """Return how long nothing may move until a fault that may never end is given up."""
        sweep_s = self.restore_interval_s * self.restore_throttle
        return self.visibility_timeout_s + sweep_s + _STILL_S if self._row.may_hang else None

    def strike(self, session: Session, side: Side) -> bool:
        """Crash one side; True if everything came to rest, so that nothing disturbs the next."""
        if reason := self._row.why_not(PoolSpec.parse(side.pool).pool):
            session.listener.phase(f"{self.fault} cannot be done to {side.label}: {reason}")
            session.producer.op("not-applicable", side=side.label, fault=self.fault, reason=reason)
            return True
        session.listener.phase(f"{self.fault} on {side.label}: waiting for what comes back")
        session.producer.op("strike", side=side.label, fault=self.fault)
        stretch = Stretch(session, side, self._workload(session))
        sent = self._send(stretch, side)
        if self._row.blow:
            self._deal(session, side, sent)
        stretch.until_struck(_RECORDED_DEADLINE_S)
        if self._row.revoked:
            self._revoke(session, side, sent)
        stretch.feed_until_back(self.prefetch * side.concurrency)
        return stretch.end(self.deadline_s, self._still_s)

    def _send(self, stretch: Stretch, side: Side) -> Sent:
        # In the middle of a task's sleep all its neighbours are in the middle of theirs.
        poison = Poison(self._before(side), self.fault, self.task_s / 2)
        # At the fault the worker has all that it prefetches, and the queue is not empty.
        rounds = max(self.rounds, _ROUNDS_BEFORE + self.prefetch + 3)
        return stretch.send(rounds, *(() if self._row.blow else (poison,)))

    def _before(self, side: Side) -> int:
        # The first rounds tell the throughput before it.
        return _ROUNDS_BEFORE * side.concurrency

    def _workload(self, session: Session) -> Workload:
        if self._row.see:
            return Observe(self.fault, self.task_s)
        return session.workload(f"sleep:{round(self.task_s * 1000)}ms")

    def _deal(self, session: Session, side: Side, sent: Sent) -> None:
        enough = self._before(side)
        session.holds(lambda now: now.settled_in(sent) >= enough, _RECORDED_DEADLINE_S)
        for worker in side.workers:
            session.order(worker, {"order": "fault", "fault": self.fault})

    def _revoke(self, session: Session, side: Side, sent: Sent) -> None:
        session.producer.revoke(sent.first + self._before(side))
