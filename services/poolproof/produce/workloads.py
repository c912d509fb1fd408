"""The workloads: what the tasks of a block do, and what each must return."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from poolproof_workers.contract import result_detail
from poolproof_workers.errors import UsageError
from poolproof_workers.poison import OBSERVE
from poolproof_workers.shared_state import TURNS
from poolproof_workers.tasks import SQUARE

if TYPE_CHECKING:
    from collections.abc import Callable


class Workload(Protocol):
    """What tasks do. The same number gives the same work on every side."""

    @property
    def text(self) -> str:
        """The workload as a person writes it, and its name in the summary: `sleep:50ms`."""

    @property
    def task(self) -> str:
        """Name of the Celery task."""

    @property
    def seconds(self) -> float:
        """What one task costs a slot that has a core for itself, without Celery's own cost."""

    def arguments(self, number: int) -> tuple[object, ...]:
        """Return the arguments; `number` stands in them once, as it is, or not at all."""

    def expected(self, number: int) -> int:
        """Return the detail that the record of a right result has."""

    def parameters(self) -> dict[str, Any]:
        """Return what a result must say of the work, as JSON."""


@dataclass(frozen=True, slots=True)
class Square:
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

    def arguments(self, number: int) -> tuple[object, ...]:
        """Return n, the sleep and the spins: the work itself, so that every side gets the same."""
        return (number, self.sleep_s, self.spins)

    def expected(self, number: int) -> int:
        """Return the low 63 bits of the square."""
        return result_detail(number * number)

    def parameters(self) -> dict[str, Any]:
        """Return sleep, spins and the CPU time that they were meant to take."""
        return {"sleep_s": self.sleep_s, "spins": self.spins, "cpu_s": self.cpu_s}


@dataclass(frozen=True, slots=True)
class Observe:
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

    def expected(self, number: int) -> int:  # noqa: ARG002
        """Return what a task that saw nothing returns."""
        return 0

    def parameters(self) -> dict[str, Any]:
        """Return the sleep, and how often a look at a counter adds to it."""
        turns = TURNS.get(self.fault, 0)
        return {"fault": self.fault, "sleep_s": self.sleep_s, "turns": turns}


@dataclass(frozen=True, slots=True)
class Kind:
    """A row of the table: how a workload is written, what it is, and how one is made."""

    name: str
    what: str
    default_s: float | None  #: None: it takes no time
    make: Callable[[str, float, Callable[[], float]], Workload]


def _bare(text: str, _seconds: float, _spins_per_ms: Callable[[], float]) -> Workload:
    return Square(text)


def _sleep(text: str, seconds: float, _spins_per_ms: Callable[[], float]) -> Workload:
    return Square(text, sleep_s=seconds)


def _cpu(text: str, seconds: float, spins_per_ms: Callable[[], float]) -> Workload:
    spins = max(1, round(seconds * 1_000 * spins_per_ms()))
    return Square(text, spins=spins, cpu_s=seconds)


WORKLOADS: Final = {
    kind.name: kind
    for kind in (
        Kind("square", "n * n and nothing else: what Celery itself costs", None, _bare),
        Kind("sleep", "n * n after a sleep: stands for waiting on I/O", 0.050, _sleep),
        Kind("cpu", "n * n after pure Python that needs the CPU", 0.005, _cpu),
    )
}

MAX_SECONDS: Final = 3_600.0
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s)", re.ASCII)


def parse(text: str, spins_per_ms: Callable[[], float]) -> Workload:
    """Read a workload as a person writes it: `square`, `sleep:50ms`, `cpu:5ms`, `cpu`.

    `spins_per_ms` is only called for work that needs the CPU. Raises UsageError.
    """
    name, colon, duration = text.partition(":")
    kind = WORKLOADS.get(name)
    if kind is None:
        raise UsageError(f"There is no workload {name!r}. Use one of: {allowed()}.")
    if kind.default_s is None:
        if colon:
            raise UsageError(f"The workload {name!r} takes no time: write it without {duration!r}.")
        return kind.make(name, 0.0, spins_per_ms)
    seconds = _seconds(text, duration) if colon else kind.default_s
    return kind.make(f"{name}:{duration_text(seconds)}", seconds, spins_per_ms)


def allowed() -> str:
    """Return the workloads as a person would write them, for messages and help."""
    return ", ".join(_shape(kind) for kind in WORKLOADS.values())


def duration_text(seconds: float) -> str:
    """Return a duration as `parse` reads it, in milliseconds below one second."""
    return f"{seconds * 1_000:.12g}ms" if seconds < 1 else f"{seconds:.12g}s"


def _shape(kind: Kind) -> str:
    return kind.name if kind.default_s is None else f"{kind.name}:{duration_text(kind.default_s)}"


def _seconds(text: str, duration: str) -> float:
    found = _DURATION.fullmatch(duration)
    seconds = math.nan
    if found:
        seconds = float(found[1]) / (1_000 if found[2] == "ms" else 1)
    if not 0 < seconds <= MAX_SECONDS:
        raise UsageError(
            f"{text!r} lacks a time above 0 and up to an hour. Write it as 50ms or 2s."
        )
    return seconds
