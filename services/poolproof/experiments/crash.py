"""The crash: one fault among innocent tasks on each side, and a wait for what comes back."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from poolproof.produce.plan import Block, Poison
from poolproof_workers.errors import UsageError
from poolproof_workers.faults import INSIDE, OUTSIDE

if TYPE_CHECKING:
    from poolproof.experiments.session import Session, Side

#: Seconds in which workers start anew and warm up, all sides at once.
_RESTART_S: Final = 5.0
_ROUNDS_BEFORE: Final = 4
_RECORDED_DEADLINE_S: Final = 30.0


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
    task_s: float = 0.3  #: what an innocent task sleeps
    rounds: int = 24  #: tasks a slot: prefork may take 5 s to see that a child is gone
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
            self._strike(session, side)

    def settings(self) -> dict[str, str]:
        """Return the settings of the workers, as their environment has them."""
        return {
            "POOLPROOF_POLICY": self.policy,
            "POOLPROOF_PREFETCH": str(self.prefetch),
            "POOLPROOF_VISIBILITY_TIMEOUT_S": str(self.visibility_timeout_s),
            "POOLPROOF_RESTORE_INTERVAL_S": str(self.restore_interval_s),
            "POOLPROOF_RESTORE_THROTTLE": str(self.restore_throttle),
        }

    def seconds(self, sides: int) -> float:
        """Return about how long it takes on so many sides."""
        return _RESTART_S + sides * (self.rounds * self.task_s + self.visibility_timeout_s)

    def to_json(self) -> dict[str, Any]:
        """Return the crash as the history keeps it."""
        return {"name": "crash", **asdict(self)}

    def _strike(self, session: Session, side: Side) -> None:
        session.listener.phase(f"{self.fault} on {side.label}: waiting for what comes back")
        inside = self.fault in INSIDE
        count = self.rounds * side.concurrency
        # The first rounds tell the throughput before it. In the middle of a task's sleep all its
        # neighbours are in the middle of theirs.
        before_it = _ROUNDS_BEFORE * side.concurrency
        poison = (Poison(before_it, self.fault, self.task_s / 2),) if inside else ()
        block = Block(side.label, f"sleep:{round(self.task_s * 1000)}ms", count, poison=poison)
        before = session.progress()
        sent = session.producer.enqueue(block, session.workload(block.workload))
        if not inside:
            session.holds(lambda now: now.settled_in(sent) >= before_it, _RECORDED_DEADLINE_S)
            for worker in side.workers:
                session.order(worker, {"order": "fault", "fault": self.fault})
        session.holds(lambda now: now.faults > before.faults, _RECORDED_DEADLINE_S)
        quiet = session.until_quiet(side, self.deadline_s)
        settled = session.progress().settled_in(sent) >= sent.count
        session.producer.end(sent, drained=quiet or settled)
