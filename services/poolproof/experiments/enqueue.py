"""Jobs for every side in turn, and what each side's workers returned for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from poolproof.history.file import FILE_NAME, Sequences, read, records
from poolproof.judge.performance.answers import arguments, expected
from poolproof.produce.plan import BlockSpec
from poolproof_workers.contract import Event

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from poolproof.runner.session import Session
    from poolproof.runner.side import Side

#: Beyond what the work itself takes: a slow machine is not a failure.
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Jobs:
    """One block for each side, every slot of which has run a task before."""

    workload: str
    count: int
    values: tuple[int, ...] | None = None  #: what to square, in place of the tasks' numbers
    rate_per_s: float | None = None

    def play(self, session: Session) -> None:
        """Play the block on one side after the other. The run is begun and ended by the caller."""
        for side in session.sides:
            session.listener.phase(f"warming up {side.label}")
            session.warm_up(side)
        for side in session.sides:
            self._play_on(session, side)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as the history keeps it."""
        values = None if self.values is None else list(self.values)
        return {
            "name": "enqueue",
            "workload": self.workload,
            "count": self.count,
            "values": values,
            "rate_per_s": self.rate_per_s,
        }

    def _play_on(self, session: Session, side: Side) -> None:
        session.listener.phase(f"{self.count} tasks on {side.label}")
        workload = session.workload(self.workload)
        block = BlockSpec(
            side.label, self.workload, self.count, measured=True, rate_per_s=self.rate_per_s
        )
        sent = session.producer.enqueue(block, workload, self.values)
        patience_s = _PATIENCE_S + self.count * (workload.seconds + 0.02)
        drained = session.holds(lambda now: now.settled_in(sent) >= sent.count, patience_s)
        session.producer.end(sent, drained=drained)


@dataclass(frozen=True, slots=True)
class Result:
    """What a worker returned for one number."""

    value: int
    returned: int
    after_s: float  #: since the first task of the block was sent
    right: bool = True  #: as far as can be told


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one side's block."""

    side: str
    count: int  #: tasks that were sent
    results: tuple[Result, ...]  #: in the order in which they came

    @property
    def took_s(self) -> float:
        """Seconds from the first task's sending to the last one's result."""
        return self.results[-1].after_s if self.results else 0.0

    @property
    def right(self) -> bool:
        """True if every task came back once, with the right result."""
        return all(each.right for each in self.results) and len(self.results) == self.count


def outcomes(folder: Path) -> tuple[Outcome, ...]:
    """Return what the history of a run says of its measured blocks, in their order.

    Times are right where workers and producer share a clock. Raises DiskError.
    """
    blocks: dict[int, _Sending] = {}
    for op in _ops(folder):
        if op["op"] == "block-begin" and op["measured"]:
            blocks[op["block"]] = _Sending.of(op)
        elif op["op"] == "enqueued" and op["block"] in blocks:
            blocks[op["block"]].began_ns.append(op["begin_ns"])
    returned = sorted(_returned(folder))
    return tuple(block.outcome(returned) for block in blocks.values())


@dataclass(frozen=True, slots=True)
class _Sending:
    """A block as the producer wrote of it."""

    side: str
    numbers: range
    values: Sequence[int]
    expected: Sequence[int | None]
    began_ns: list[int]  #: of each batch

    @classmethod
    def of(cls, begin: dict[str, Any]) -> _Sending:
        first, count, parameters = begin["first"], begin["count"], begin["parameters"]
        return cls(
            begin["side"],
            range(first, first + count),
            arguments(parameters, first, count).tolist(),
            expected(begin.get("workload", "square"), parameters, first, count),
            [],
        )

    def outcome(self, returned: list[tuple[int, int, int]]) -> Outcome:
        results = tuple(
            self._result(number - self.numbers.start, detail, t_ns)
            for t_ns, number, detail in returned
            if number in self.numbers
        )
        return Outcome(self.side, len(self.numbers), results)

    def _result(self, place: int, detail: int, t_ns: int) -> Result:
        right = self.expected[place] in {None, detail}
        return Result(self.values[place], detail, (t_ns - self.began_ns[0]) / 1e9, right)


def _ops(folder: Path) -> Iterator[dict[str, Any]]:
    for _, entry in read(folder / FILE_NAME):
        if entry.kind == "op":
            yield entry.op


def _returned(folder: Path) -> Iterator[tuple[int, int, int]]:
    """Yield (time, number, detail) of the run's tasks that ran to their end."""
    tag = next(op["tag"] for op in _ops(folder) if op["op"] == "run-begin")
    taken = Sequences()
    for _, entry in read(folder / FILE_NAME):
        fresh = taken.fresh(entry)[0] if entry.kind == "records" else None
        if fresh is not None:
            found = records(fresh)
            ours = found[(found["event"] == Event.SUCCEEDED) & (found["tag"] == tag)]
            yield from zip(
                ours["t_ns"].tolist(), ours["number"].tolist(), ours["detail"].tolist(), strict=True
            )
