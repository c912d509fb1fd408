"""What a task costs a side's processes: CPU time and context switches, block by block."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from poolproof.judge.performance.blocks import by_round, is_complete, span_ns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from poolproof.judge.performance.blocks import Block
    from poolproof.judge.run import JudgedRun
    from poolproof.judge.run_data import Op

_COUNTERS: Final = ("cpu_s", "ctx_voluntary", "ctx_involuntary")
#: Two readings that are nearer to each other say nothing of what idling costs.
_IDLE_LEAST_S: Final = 0.02
_PAUSES_LEAST: Final = 2

Sums = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Reading:
    """The counters of all workers of a side, added up, at about one time."""

    t_ns: int
    sums: Sums


@dataclass(frozen=True, slots=True)
class _Pause:
    """A time in which a side had no tasks: its first and its last reading, if there is one."""

    first: _Reading
    last: _Reading
    is_calm: bool  #: no process came or went, at any time in it: starting is not idling

    @property
    def seconds(self) -> float:
        """Time from the first to the last reading."""
        return (self.last.t_ns - self.first.t_ns) / 1e9

    @property
    def grown(self) -> Sums:
        """What the counters grew by in that time."""
        return _less(self.last.sums, self.first.sums)


@dataclass(frozen=True, slots=True)
class _Span:
    """Blocks between two pauses that were read, and what the counters grew by."""

    blocks: Sequence[Block]
    seconds: float
    busy_s: float
    grown: Sums


def effort(case: JudgedRun, side: str) -> dict[tuple[str, bool], dict[str, Any]]:
    """Return (workload, whether its loop was open) -> what a task of it cost on a side.

    A block is bounded by readings while the side had no tasks, so no other task's cost is in it;
    what idling cost between the readings, as measured in the pauses, is taken off. The error is the
    standard error of that. Blocks with no reading between them are taken as one. A
    workload is left out if nothing of it could be read, or a process came or went meanwhile.
    """
    mine = [block for block in case.blocks if block.side == side]
    changes = _changes(case, side)
    pauses = list(_pauses(case, side, mine, changes))
    idle = [each for each in pauses if each and each.is_calm and each.seconds > _IDLE_LEAST_S]
    found: dict[tuple[str, bool], list[_Span]] = {}
    for span in _spans(case, changes, mine, pauses):
        kinds = {(block.workload, block.is_open) for block in span.blocks}
        if len(kinds) == 1 and all(_counts(case, block) for block in span.blocks):
            workload, is_open = kinds.pop()
            found.setdefault((workload, is_open), []).append(span)
    return {kind: _costs(spans, idle) for kind, spans in found.items()}


def _pauses(
    case: JudgedRun, side: str, mine: list[Block], changes: list[int]
) -> Iterator[_Pause | None]:
    """Yield the pause before each block, and the one after the last; None if it was not read."""
    workers = [w.name for w in case.evidence.ledger.roster.workers.values() if w.side == side]
    readings = {
        name: [op for op in case.evidence.named("effort", "sample") if op["worker"] == name]
        for name in workers
    }
    times = {name: [op.t_ns for op in ops] for name, ops in readings.items()}
    ends = [0, *(span_ns(case.evidence.ledger, block)[1] for block in mine)]
    begins = [*(block.begin_ns for block in mine), case.evidence.ops[-1].t_ns]
    for after_ns, before_ns in zip(ends, begins, strict=True):
        inside = [
            ops[bisect_left(times[name], after_ns) : bisect_right(times[name], before_ns)]
            for name, ops in readings.items()
        ]
        if not inside or not all(inside):
            yield None
            continue
        is_calm = not _is_any(changes, after_ns, before_ns)
        yield _Pause(_sum([o[0] for o in inside]), _sum([o[-1] for o in inside]), is_calm)


def _sum(ops: list[Op]) -> _Reading:
    sums = tuple(sum(op[name] for op in ops) for name in _COUNTERS)
    return _Reading(sum(op.t_ns for op in ops) // len(ops), sums)


def _counts(case: JudgedRun, block: Block) -> bool:
    return block.measured and is_complete(case.evidence.ledger, block, case.verdicts)


def _spans(
    case: JudgedRun, changes: list[int], mine: list[Block], pauses: list[_Pause | None]
) -> Iterator[_Span]:
    begin = 0
    for end in range(1, len(pauses)):
        before, after = pauses[begin], pauses[end]
        if (
            before is not None
            and after is not None
            and not _is_any(changes, before.last.t_ns, after.first.t_ns)
        ):
            yield _span(case, mine[begin:end], before.last, after.first)
        if after is not None or before is None:
            begin = end


def _changes(case: JudgedRun, side: str) -> list[int]:
    """Return when a worker of the side, or a process of it, came or went; sorted."""
    roster = case.evidence.ledger.roster.workers
    names = {worker.name for worker in roster.values() if worker.side == side}
    ops = case.evidence.named("worker-up", "worker-exit", "process-gone")
    return [op.t_ns for op in ops if op["worker"] in names]


def _is_any(times: list[int], first: int, last: int) -> bool:
    return bisect_left(times, first) < bisect_right(times, last)


def _span(case: JudgedRun, blocks: list[Block], before: _Reading, after: _Reading) -> _Span:
    spans = [span_ns(case.evidence.ledger, block) for block in blocks]
    return _Span(
        blocks,
        (after.t_ns - before.t_ns) / 1e9,
        sum(last - first for first, last in spans) / 1e9,
        _less(after.sums, before.sums),
    )


def _costs(spans: list[_Span], idle: list[_Pause]) -> dict[str, Any]:
    tasks = sum(block.count for span in spans for block in span.blocks)
    figures: dict[str, Any] = {"tasks": tasks}
    rounds = by_round(spans, lambda span: span.blocks[0].round).values()
    for index, name in enumerate(_COUNTERS):
        rate, error = _idle_rate(idle, index)
        figures[f"{name}_per_task"] = _a_task(spans, index, rate)
        figures[f"{name}_per_task_spans"] = [_a_task(each, index, rate) for each in rounds]
        figures[f"{name}_per_task_error"] = error and error * _idle_s(spans) / tasks
    return figures


def _idle_rate(idle: list[_Pause], index: int) -> tuple[float, float | None]:
    """Return what a counter grew by in a second without tasks, and the standard error of that.

    Of all pauses together, as most are shorter than what an idle worker does once a second: a ratio
    of sums. Its error is how far single pauses are from it; None with fewer than two.
    """
    seconds = np.array([each.seconds for each in idle])
    grown = np.array([each.grown[index] for each in idle])
    if not len(idle):
        return 0.0, None
    rate = float(grown.sum() / seconds.sum())
    if len(idle) < _PAUSES_LEAST:
        return rate, None
    square = float(((grown - rate * seconds) ** 2).sum()) * len(idle) / (len(idle) - 1)
    return rate, square**0.5 / float(seconds.sum())


def _idle_s(spans: list[_Span]) -> float:
    return sum(max(0.0, span.seconds - span.busy_s) for span in spans)


def _a_task(spans: list[_Span], index: int, idle_rate: float) -> float:
    """Return what a task of some spans cost, less what idling did."""
    tasks = sum(block.count for span in spans for block in span.blocks)
    grown = sum(span.grown[index] for span in spans)
    return max(0.0, grown - idle_rate * _idle_s(spans)) / tasks


def _less(a: Sums, b: Sums) -> Sums:
    return tuple(x - y for x, y in zip(a, b, strict=True))
