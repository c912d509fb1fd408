"""What the harness itself costs while it measures, and where it would be the limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from poolproof.judge.performance.blocks import is_complete, ran_dry, span_ns
from poolproof.judge.performance.counter_series import CounterSeries
from poolproof.judge.warnings import percent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolproof.judge.performance.blocks import Block
    from poolproof.judge.run import JudgedRun

#: Each of these does its work in one thread: a core is all that it can use.
_ONE_CORE: Final = 0.9
#: These are read at both ends of a block, and work while its tasks run: all of it is for them.
_READ_AT_ENDS: Final = {"producer", "redis"}


def harness(case: JudgedRun) -> dict[str, Any]:
    """Return the harness's own cost while measured tasks ran.

    `cpu_share`: part -> workload -> side -> share of one core; a part that does not say is not in
    it. `ceiling_per_s`: workload -> the tasks a second at which, if its cost grows in proportion,
    the busiest part would need a whole core. `limited`: sentences on where it was the limit, and
    `limits`: [workload, side] of these.
    """
    shares: dict[str, dict[str, dict[str, float]]] = {}
    ceilings: dict[str, float] = {}
    meters, measured = own_meters(case), _measured(case)
    for (workload, side), blocks in measured.items():
        spans = [_window(case, block) for block in blocks]
        told = [
            (begin, block.end_ns or end) for block, (begin, end) in zip(blocks, spans, strict=True)
        ]
        seconds = sum(end - begin for begin, end in spans) / 1e9
        rate = sum(block.count for block in blocks) / seconds
        for part, of_part in meters.items():
            grown = [meter.grown(told if part in _READ_AT_ENDS else spans) for meter in of_part]
            known = [each for each in grown if each is not None]
            if known:
                share = max(known) / seconds
                shares.setdefault(part, {}).setdefault(workload, {})[side] = share
                if share > 0:
                    ceilings[workload] = min(ceilings.get(workload, rate / share), rate / share)
    limits = [*_limited(shares), *_dry(case, measured)]
    return {
        "cpu_share": shares,
        "ceiling_per_s": ceilings,
        "limited": list(dict.fromkeys(words for words, *_ in limits)),
        "limits": list(dict.fromkeys((workload, side) for _, workload, side in limits)),
    }


def _measured(case: JudgedRun) -> dict[tuple[str, str], list[Block]]:
    """Return (workload, side) -> its blocks in a closed loop: there the harness has most to do."""
    found: dict[tuple[str, str], list[Block]] = {}
    ledger = case.evidence.ledger
    for block in case.blocks:
        if block.measured and not block.is_open and is_complete(ledger, block, case.verdicts):
            found.setdefault((block.workload, block.side), []).append(block)
    return found


def _window(case: JudgedRun, block: Block) -> tuple[int, int]:
    """Return from when a block was sent until its last task ended."""
    return block.begin_ns, span_ns(case.evidence.ledger, block)[1]


def own_meters(case: JudgedRun) -> dict[str, list[CounterSeries]]:
    """Return part of the harness -> the CPU time of each process of that kind."""
    evidence = case.evidence
    bounds = evidence.named("block-begin", "block-end")
    costs = evidence.named("cost")
    told = evidence.named("sample", "effort")
    return {
        "producer": [CounterSeries.of((op.t_ns, op.get("own_cpu_s")) for op in bounds)],
        "redis": [CounterSeries.of((op.t_ns, op.get("redis_cpu_s")) for op in bounds)],
        "collector": [CounterSeries.of((op.t_ns, op["cpu_s"]) for op in costs)],
        "supervisor": [
            CounterSeries.of((op.t_ns, op.get("own_cpu_s")) for op in told if op["worker"] == name)
            for name in evidence.ledger.roster.workers
        ],
    }


def _limited(shares: dict[str, dict[str, dict[str, float]]]) -> Iterator[tuple[str, str, str]]:
    """Yield (sentence, workload, side) of where a part of the harness had no more to give."""
    for part, of_part in shares.items():
        for workload, of_workload in of_part.items():
            for side, share in of_workload.items():
                if share > _ONE_CORE:
                    took = f"The {part} took {percent(share)} of a core"
                    yield f"{took} during {workload} on {side}", workload, side


def _dry(
    case: JudgedRun, measured: dict[tuple[str, str], list[Block]]
) -> Iterator[tuple[str, str, str]]:
    """Yield the same of where the queue ran empty."""
    for (workload, side), blocks in measured.items():
        if any(ran_dry(case.evidence.ledger, block) for block in blocks):
            words = f"The queue of {workload} on {side} ran empty before all was sent"
            yield words, workload, side
