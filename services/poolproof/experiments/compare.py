"""The comparison: the same work on every side in turn, then one crash on each, in a budget."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from poolproof.experiments.crash import Crash
from poolproof.experiments.measurement import OPEN_SHARE, ROUNDS, Measurement, Terms, shares
from poolproof.produce.plan import BlockSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from poolproof.runner.listener import Listener
    from poolproof.runner.session import Session


#: Tasks a slot of each workload that Flower gets to see: all that it takes in is soon worked off.
_SHOWN_ROUNDS: Final = 2
_ENDING_S: Final = 2.0
#: A worker, in which it starts anew and warms up; they all do at once, and take turns on the cores.
_ANEW_S: Final = 0.6
#: Only what is longer by so much is worth a word, and then only what is longer again.
_OVER: Final = 1.25

Latency = Literal["first", "all", "none"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is measured. All of it is in the run's history."""

    workloads: tuple[str, ...] = ("square", "sleep:50ms", "cpu:5ms")
    rounds: int = 6  #: of each workload, at least
    tasks: int | None = None  #: a block; None: as many as fit the budget
    budget_s: float = 60.0
    precision: float = 0.05  #: when the ratio is known so well, nothing more is measured
    latency: Latency = "first"  #: which workloads are measured in an open loop too
    sweep: tuple[int, ...] = ()  #: the sides are one pool with each of these concurrencies
    seed: int = 1
    fresh: bool = True  #: all workers are started anew before each round of blocks
    crash: Crash | None = field(default_factory=Crash)
    events: bool = False  #: Celery's task events stay on while it is measured

    def play(self, session: Session) -> None:
        """Measure, then crash. The run is begun and ended by the caller."""
        deadline = time.monotonic() + self.budget_s - self._after_s(session)
        each = {name: Measurement(session, name, self._terms()) for name in self.workloads}
        course = Course(session.listener, self.budget_s)

        def tell(anew_s: float) -> None:
            course.expect(self._left_s(each.values(), anew_s) + self._after_s(session))

        tell(self._anew_s(session))
        for side in session.sides:
            session.listener.phase(f"warming up {side.label}")
            session.warm_up(side)
        together = [each] if self.fresh else [{name: one} for name, one in each.items()]
        for index, some in enumerate(together):
            seconds = (deadline - time.monotonic()) / (len(together) - index)
            self._measure(session, some, time.monotonic() + seconds, tell)
        session.weigh_all("sample")
        if self.crash is not None:
            session.listener.phase("starting the workers anew, with a short visibility timeout")
            session.restart(session.sides, self.crash.settings())
            self.crash.strike_all(session)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as the history keeps it."""
        return {
            "name": "compare",
            "workloads": list(self.workloads),
            "rounds": self.rounds,
            "tasks": self.tasks,
            "budget_s": self.budget_s,
            "precision": self.precision,
            "latency": self.latency,
            "sweep": {"concurrency": list(self.sweep)} if self.sweep else None,
            "seed": self.seed,
            "fresh": self.fresh,
            "events": self.events,
            "crash": None if self.crash is None else self.crash.to_json(),
        }

    def _measure(
        self,
        session: Session,
        each: Mapping[str, Measurement],
        deadline: float,
        tell: Callable[[float], None],
    ) -> None:
        """Measure workloads on all sides, round by round, each round on fresh workers if wanted.

        Two processes of one programme differ by some percent, by their memory layout alone, for as
        long as they live: on the same workers that would look like a difference of the sides.
        `tell` is told after each step how long it takes to start the workers anew.
        """
        silent = session.watched and not self.events
        open_s = (deadline - time.monotonic()) * OPEN_SHARE / len(each)
        ends = deadline - open_s * sum(map(self._is_open, each))
        anew_s = self._anew_s(session)
        blocks_s = max(0.0, ends - time.monotonic() - ROUNDS * anew_s)
        for workload, measurement in each.items():
            if silent:
                self._show(session, workload)
            measurement.prepare(blocks_s / len(each))
            tell(anew_s)
        took_s = 0.0
        rounds = max(ROUNDS, self.rounds)
        while left := [one for one in each.values() if not one.is_over(ends - took_s)]:
            began = time.monotonic()
            if self.fresh:
                session.listener.phase("starting the workers anew, for the next round")
                session.restart(session.sides, {}, at_once=True)
                anew_s = time.monotonic() - began
                session.weigh_all()
            of_round_s = (ends - began) / max(1, rounds) - anew_s
            rounds -= 1
            for measurement, share in zip(left, shares([m.scatter for m in left]), strict=True):
                measurement.allot(share * of_round_s)
                measurement.play_round()
            took_s = time.monotonic() - began
            tell(anew_s)
        for workload, measurement in each.items():
            if self._is_open(workload):
                measurement.play_open(open_s)
                tell(anew_s)
        if silent:  # the answers say that they were off all the while
            session.switch_events(on=False)

    def _is_open(self, workload: str) -> bool:
        """Tell whether a workload is sent at a set rate too."""
        is_first = workload == self.workloads[0] and not self.sweep
        return self.latency == "all" or (self.latency == "first" and is_first)

    def _terms(self) -> Terms:
        return Terms(
            rounds=self.rounds,
            tasks=self.tasks,
            precision=self.precision,
            seed=self.seed,
            events=self.events,
            by_concurrency=bool(self.sweep),
        )

    def _show(self, session: Session, workload: str) -> None:
        """Play a little of a workload, not counted, with task events on; off is what they are then.

        Once a workload, not before every block: each time takes as long as a short block. And a
        little only: what Flower had left to take in would be done in the measured blocks.
        """
        session.switch_events(on=True)
        for side in session.sides:
            session.listener.phase(f"{workload} on {side.label}: some for Flower")
            count = _SHOWN_ROUNDS * side.concurrency
            block = BlockSpec(side.label, workload, count, warmup=True, events=True)
            session.play(block, 60.0 + 20.0 * count * session.workload(workload).seconds)
        session.switch_events(on=False)

    def _anew_s(self, session: Session) -> float:
        """Return about how long a round's workers take to start, before that was seen."""
        return _ANEW_S * sum(len(side.workers) for side in session.sides) if self.fresh else 0.0

    def _left_s(self, each: Collection[Measurement], anew_s: float) -> float:
        """Return about how long the rounds take that there must still be."""
        rounds = max(one.rounds_left for one in each)
        return rounds * anew_s + sum(one.left_s for one in each)

    def _after_s(self, session: Session) -> float:
        """Return about how long all takes that comes after the measurements."""
        crash_s = 0.0 if self.crash is None else self.crash.seconds(len(session.sides))
        return crash_s + _ENDING_S


class Course:
    """A run that was given so many seconds, from now on."""

    def __init__(
        self, listener: Listener, budget_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._listener = listener
        self._budget_s = budget_s
        self._clock = clock
        self._began = clock()
        self._told_s = budget_s

    def expect(self, left_s: float) -> None:
        """Tell how far the run is, if at least so many seconds are left; at once if it is late."""
        done_s = self._clock() - self._began
        total_s = max(self._budget_s, done_s + left_s)
        self._listener.step(round(done_s), round(total_s))
        if total_s > _OVER * self._told_s:
            self._told_s = total_s
            self._listener.note(
                f"This will take about {total_s:.0f} s, more than the budget of "
                f"{self._budget_s:g} s: the fewest rounds that tell anything take so long."
            )
