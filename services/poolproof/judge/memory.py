"""What a side's workers cost in memory, from the samples of their process trees."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from poolproof.judge.blocks import span_ns

if TYPE_CHECKING:
    from poolproof.judge.blocks import Block
    from poolproof.judge.evidence import Evidence, Op


def memory(evidence: Evidence, side: str, blocks: list[Block]) -> dict[str, Any]:
    """Return the memory of a side: medians, summed over its workers, less what the rings take.

    Loaded is while its measured tasks ran (in a run without any, all its tasks); idle is before its
    first task, or if no sample is that old while it had none. None where nothing was sampled.
    """
    mine = [block for block in blocks if block.side == side]
    loaded = [span_ns(evidence.ledger, b) for b in mine if b.measured] or [
        span_ns(evidence.ledger, b) for b in mine
    ]
    busy = [(b.begin_ns, b.end_ns or evidence.ops[-1].t_ns) for b in mine]
    first = min((begin for begin, _ in busy), default=None)
    totals: dict[str, list[float | None]] = {}
    for name, worker in evidence.ledger.roster.workers.items():
        if worker.side != side:
            continue
        samples = [op for op in evidence.named("sample") if op["worker"] == name]
        fresh = [s for s in samples if first is None or s.t_ns < first]
        idle = _whole(fresh) or [s for s in samples if not _within(s, busy)]
        for kind in ("pss", "rss"):
            totals.setdefault(f"{kind}_idle_bytes", []).append(_median(idle, kind))
            loaded_samples = [s for s in samples if _within(s, loaded)]
            totals.setdefault(f"{kind}_loaded_bytes", []).append(_median(loaded_samples, kind))
    return {name: _sum(values) for name, values in totals.items()}


def _whole(samples: list[Op]) -> list[Op]:
    """Leave out those in which the tree still grew: fewer processes than the last has."""
    return [s for s in samples if s["processes"] == samples[-1]["processes"]]


def _within(sample: Op, spans: list[tuple[int, int]]) -> bool:
    return any(begin <= sample.t_ns <= end for begin, end in spans)


def _median(samples: list[Op], kind: str) -> float | None:
    rings = 0 if kind == "rss" else 1
    known = [
        s[f"{kind}_bytes"] - rings * (s.get("ring_bytes") or 0)
        for s in samples
        if s[f"{kind}_bytes"] is not None
    ]
    return median(known) if known else None


def _sum(values: list[float | None]) -> int | None:
    known = [value for value in values if value is not None]
    return round(sum(known)) if known and len(known) == len(values) else None
