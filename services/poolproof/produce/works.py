"""What the tasks of a block do, and what the history must say of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from poolproof_workers.faults.shared_state import TURNS
from poolproof_workers.faults.task import OBSERVE
from poolproof_workers.workloads.answers import SQUARE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: What the messages of one block may take in Redis, which has them all at once.
_QUEUED_BYTES: Final = 512_000_000


class Work(Protocol):
    """One kind of task. The same number gives the same work on every side."""

    @property
    def task(self) -> str:
        """Name of the Celery task."""

    def arguments(self, number: int) -> tuple[object, ...]:
        """Return the arguments; `number` stands in them once, as it is, or not at all."""


class Workload(Protocol):
    """What the tasks of a block do: one kind of work, or several."""

    @property
    def text(self) -> str:
        """The workload as a person writes it, and its name in the summary: `sleep:50ms`."""

    @property
    def seconds(self) -> float:
        """What one task costs a slot that has a core for itself, without Celery's own cost."""

    @property
    def core_s(self) -> float:
        """How much of that needs a core: no more of it is done at a time than there are cores."""

    @property
    def most(self) -> int | None:
        """How many of its tasks Redis should hold at once; None: any number."""

    @property
    def works(self) -> tuple[Work, ...]:
        """The kinds of its tasks."""

    def deal(self, places: range) -> Sequence[int] | None:
        """Return which of `works` each place in a block gets; None: all get the only one."""

    def values(self, places: range) -> Sequence[int] | None:
        """Return what stands in the arguments at each place, if it is not the task's number."""

    def parameters(self) -> dict[str, Any]:
        """Return what a result must say of the work, as JSON: `judge.results` goes by it."""


def fastest_per_s(workload: Workload, slots: int, cores: int, most_per_s: float) -> float:
    """Return the tasks a second that so many slots cannot exceed."""
    rates = [most_per_s]
    if workload.seconds:
        rates.append(slots / workload.seconds)
    if workload.core_s:
        rates.append(min(slots, cores) / workload.core_s)
    return min(rates)


class _Alone:
    """A workload of one kind of task, which is its own only work."""

    __slots__ = ()

    @property
    def works(self) -> tuple[Any, ...]:
        """Itself."""
        return (self,)

    @property
    def core_s(self) -> float:
        """Nothing that counts."""
        return 0.0

    @property
    def most(self) -> int | None:
        """Any number: its messages are small."""
        return None

    def deal(self, places: range) -> None:  # noqa: ARG002
        """All are alike."""
        return

    def values(self, places: range) -> Sequence[int] | None:  # noqa: ARG002
        """The numbers stand for themselves."""
        return None


@dataclass(frozen=True, slots=True)
class Square(_Alone):
    """`n * n`, after a sleep or a stretch of pure Python that needs the CPU."""

    text: str
    sleep_s: float = 0.0
    spins: int = 0
    cpu_s: float = 0.0  #: what `spins` took when they were calibrated

    @property
    def task(self) -> str:
        """The square job."""
        return SQUARE

    @property
    def seconds(self) -> float:
        """Sleep and CPU together."""
        return self.sleep_s + self.cpu_s

    @property
    def core_s(self) -> float:
        """The CPU time."""
        return self.cpu_s

    def arguments(self, number: int) -> tuple[object, ...]:
        """Return n, the sleep and the spins: the work itself, so that every side gets the same."""
        return (number, self.sleep_s, self.spins)

    def parameters(self) -> dict[str, Any]:
        """Return sleep, spins and the CPU time that they were meant to take."""
        facts = {"sleep_s": self.sleep_s, "spins": self.spins, "cpu_s": self.cpu_s}
        return {"task": SQUARE, **facts}


@dataclass(frozen=True, slots=True)
class Observe(_Alone):
    """What innocent tasks do where a fault touches state: look for it, sleep, look again."""

    fault: str
    sleep_s: float

    @property
    def text(self) -> str:
        """The workload's name in the history."""
        return f"observe:{self.fault}"

    @property
    def task(self) -> str:
        """The task that looks."""
        return OBSERVE

    @property
    def seconds(self) -> float:
        """The sleep."""
        return self.sleep_s

    def arguments(self, number: int) -> tuple[object, ...]:  # noqa: ARG002
        """Return the fault and the sleep: all look for the same."""
        return (self.fault, self.sleep_s)

    def parameters(self) -> dict[str, Any]:
        """Return the sleep, and how often a look at a counter adds to it."""
        turns = TURNS.get(self.fault, 0)
        return {"task": OBSERVE, "fault": self.fault, "sleep_s": self.sleep_s, "turns": turns}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(_Alone):
    """A task that is given its number and always the same besides."""

    text: str
    task: str
    given: tuple[object, ...]  #: the arguments after the number
    facts: Mapping[str, Any]  #: what its answer depends on, and what else is to be known of it
    seconds: float = 0.0
    core_s: float = 0.0
    message_bytes: int = field(default=0)  #: of a message, where it is large

    @property
    def most(self) -> int | None:
        """Return what fits where large messages wait."""
        return max(1, _QUEUED_BYTES // self.message_bytes) if self.message_bytes else None

    def arguments(self, number: int) -> tuple[object, ...]:
        """Return the number and what is given."""
        return (number, *self.given)

    def parameters(self) -> dict[str, Any]:
        """Return the task and the facts."""
        return {"task": self.task, **self.facts}
