"""The comparison: the same work on every side in turn, then one crash on each."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from poolproof.experiments.crash import Crash
from poolproof.produce.plan import Block, block_size, interleave
from poolproof_workers.host import cores

if TYPE_CHECKING:
    from poolproof.experiments.session import Session, Side

#: What a bare Celery worker does at most, whatever its pool: bounds the first guess at a rate.
_CELERY_PER_S: Final = 1_000.0
_PILOT_S: Final = 0.5
_LEAST_BLOCK_S: Final = 0.4
#: From the last task's end to the next block's first: mostly the collector's news.
_BETWEEN_BLOCKS_S: Final = 0.25
_ENDING_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is measured. All of it is in the run's history."""

    workloads: tuple[str, ...] = ("square", "sleep:50ms", "cpu:5ms")
    blocks: int = 5  #: a side and workload
    tasks: int | None = None  #: a block; None: as many as fit the budget
    budget_s: float = 60.0
    seed: int = 1
    crash: Crash | None = field(default_factory=Crash)
    events: bool = False  #: Celery's task events stay on while it is measured

    def play(self, session: Session) -> None:
        """Measure, then crash. The run is begun and ended by the caller."""
        deadline = time.monotonic() + self.budget_s - self._crash_s(session) - _ENDING_S
        for side in session.sides:
            session.listener.phase(f"warming up {side.label}")
            session.warm_up(side)
        for index, workload in enumerate(self.workloads):
            seconds = (deadline - time.monotonic()) / (len(self.workloads) - index)
            self._measure(session, workload, seconds)
        if self.crash is not None:
            session.listener.phase("starting the workers anew, with a short visibility timeout")
            session.restart(session.sides, self.crash.settings())
            self.crash.strike_all(session)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as the history keeps it."""
        return {
            "name": "compare",
            "workloads": list(self.workloads),
            "blocks": self.blocks,
            "tasks": self.tasks,
            "budget_s": self.budget_s,
            "seed": self.seed,
            "events": self.events,
            "crash": None if self.crash is None else self.crash.to_json(),
        }

    def _measure(self, session: Session, workload: str, seconds: float) -> None:
        """Play interleaved blocks of one workload, all of one size, for about `seconds`."""
        ends = time.monotonic() + seconds
        rates = {side.label: self._pilot(session, side, workload) for side in session.sides}
        turns = interleave(tuple(rates), self.blocks, self.seed)
        count = self._size(session, rates, (ends - time.monotonic()) / len(turns))
        patience_s = 30.0 + 10.0 * count / min(rates.values())
        for done, label in enumerate(turns):
            session.listener.phase(f"{workload} on {label}: {count} tasks")
            session.listener.step(done, len(turns))
            block = Block(label, workload, count, measured=True, events=self.events)
            session.play(block, patience_s)

    def _pilot(self, session: Session, side: Side, workload: str) -> float:
        """Return the tasks a second that a short block, not counted, did."""
        session.listener.phase(f"{workload} on {side.label}: a first look")
        work_s = session.workload(workload).seconds
        # CPU work gets no more than the cores that there are, however many slots want one.
        slots = min(side.concurrency, cores()) if workload.startswith("cpu") else side.concurrency
        guess = min(_CELERY_PER_S, slots / work_s) if work_s else _CELERY_PER_S
        count = block_size(guess, _PILOT_S, side.concurrency, rounds=2)
        block = Block(side.label, workload, count, warmup=True, events=self.events)
        _, took_s = session.play(block, 60.0 + 20.0 * count * work_s)
        return count / took_s

    def _size(self, session: Session, rates: dict[str, float], block_s: float) -> int:
        """Return the tasks a block, the same on every side: the slower one keeps to the time."""
        if self.tasks is not None:
            return self.tasks
        slots = max(side.concurrency for side in session.sides)
        return block_size(
            min(rates.values()), max(_LEAST_BLOCK_S, block_s - _BETWEEN_BLOCKS_S), slots
        )

    def _crash_s(self, session: Session) -> float:
        return 0.0 if self.crash is None else self.crash.seconds(len(session.sides))
