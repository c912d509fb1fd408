"""What a side's workers cost in memory, from the samples of their process trees."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from statistics import median
from typing import TYPE_CHECKING, Any

from poolproof.judge.performance.blocks import span_ns
from poolproof.judge.run_data import time_of
from poolproof_workers.pools import POOLS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from poolproof.history.participants import Worker
    from poolproof.judge.performance.blocks import Block
    from poolproof.judge.run_data import Op, RunData

Spans = list[tuple[int, int]]


def memory(evidence: RunData, side: str, blocks: list[Block]) -> dict[str, Any]:
    """Return the memory of a side: medians, summed over its workers, less what the rings take.

    Only samples in which no slot's process was missing count: around a crash, few may be left.
    Loaded is while its measured tasks ran (in a run without any, all its tasks); idle is before its
    first task, or if no sample is that old, before the first of any of its lives, or while it had
    none; after is when the last measured task
    was done, until the worker's life ended or had other tasks. `KIND_slot_bytes` is what a slot
    costs under load: all of it, also what the slots share, by their number. None where nothing was
    sampled. PSS counts shared pages once, USS only pages that no other process has, and RSS once
    for each process that has them.
    """
    mine = [block for block in blocks if block.side == side]
    measured = [block for block in mine if block.measured]
    loaded = [span_ns(evidence.ledger, block) for block in measured or mine]
    busy = [(b.begin_ns, b.end_ns or evidence.ops[-1].t_ns) for b in mine]
    begins = sorted(begin for begin, _ in busy)
    is_busy, is_loaded = _within(busy), _within(loaded)
    totals: dict[str, list[float | None]] = {}
    workers = [w for w in evidence.ledger.roster.workers.values() if w.side == side]
    for worker in workers:
        name = worker.name
        samples = _complete(worker, [s for s in evidence.named("sample") if s["worker"] == name])
        resting = [s for s in samples if not is_busy(s)]
        idle = (
            _whole(list(filter(_within(_before(evidence, name, begins)), samples)))
            or _full(list(filter(_within(_waiting(evidence, name, begins)), resting)))
            or _full(resting)
        )
        after = _after(evidence, name, begins, max(end for _, end in loaded)) if measured else []
        of = {
            "idle": idle,
            "loaded": list(filter(is_loaded, samples)),
            "after": _full(list(filter(_within(after), samples))),
        }
        for kind in ("pss", "uss", "rss"):
            for state, found in of.items():
                totals.setdefault(f"{kind}_{state}_bytes", []).append(_median(found, kind))
    figures = {name: _sum(values) for name, values in totals.items()}
    return figures | _a_slot(figures, sum(worker.concurrency for worker in workers))


def measure(pools: Mapping[str, Mapping[str, Any]]) -> str:
    """Return by which measure the sides of a run can be compared: "pss", else "uss".

    USS is for where the system tells no PSS, be it of one side alone.
    """
    return "uss" if any(lacks_pss(of["memory"] or {}) for of in pools.values()) else "pss"


def lacks_pss(figures: Mapping[str, Any]) -> bool:
    """Tell whether a side was sampled, and its PSS is not known."""
    return any(
        figures.get(f"uss_{state}_bytes") is not None and figures.get(f"pss_{state}_bytes") is None
        for state in ("idle", "loaded", "after")
    )


def loaded_bytes(evidence: RunData, side: str, blocks: list[Block]) -> float | None:
    """Return the PSS of a side while blocks ran, less what the rings take; None without it."""
    workers = [w for w in evidence.ledger.roster.workers.values() if w.side == side]
    samples: list[Op] = []
    for begin, end in (span_ns(evidence.ledger, block) for block in blocks):
        first = bisect_left(evidence.ops, begin, key=time_of)
        last = bisect_right(evidence.ops, end, key=time_of)
        samples += [op for op in evidence.ops[first:last] if op.name == "sample"]
    of = [_complete(w, [s for s in samples if s["worker"] == w.name]) for w in workers]
    return _sum([_median(each, "pss") for each in of])


def _before(evidence: RunData, worker: str, begins: list[int]) -> Spans:
    """Return the time from when a worker first was ready, or was greeted so, to its first task."""
    ready = [op.t_ns for op in evidence.named("worker-ready") if op["worker"] == worker]
    greeted = [op for op in evidence.named("hello") if op["worker"] == worker]
    begin = 0 if greeted and greeted[0].get("pid") else min(ready, default=0)
    return [(begin, begins[0] if begins else evidence.ops[-1].t_ns)]


def _waiting(evidence: RunData, worker: str, begins: list[int]) -> Spans:
    """Return the times in which a life of a worker was ready and had had no task yet."""
    ready = [op.t_ns for op in evidence.named("worker-ready") if op["worker"] == worker]
    later = [bisect_right(begins, t_ns) for t_ns in ready]
    return [(t_ns, begins[at]) for t_ns, at in zip(ready, later, strict=True) if at < len(begins)]


def _a_slot(figures: dict[str, int | None], slots: int) -> dict[str, int | None]:
    loaded = {kind: figures.get(f"{kind}_loaded_bytes") for kind in ("pss", "uss")}
    return {
        f"{kind}_slot_bytes": round(of / slots) if of and slots else None
        for kind, of in loaded.items()
    }


def _after(evidence: RunData, worker: str, begins: list[int], last: int) -> Spans:
    """Return the time from the last measured task until something else happened to a worker."""
    others = begins[bisect_right(begins, last) :]
    exits = [
        op.t_ns for op in evidence.named("worker-exit") if op["worker"] == worker and op.t_ns > last
    ]
    return [(last, min([*others, *exits], default=evidence.ops[-1].t_ns))]


def _complete(worker: Worker, samples: list[Op]) -> list[Op]:
    """Leave out those in which there were fewer processes than the main one and its slots'."""
    pool = POOLS.get(worker.pool.partition(":")[0])
    if pool is None or pool.slots != "process":
        return samples
    # Where children are spawned, another process keeps track of what they share.
    all_of_them = worker.concurrency + (2 if pool.name == "spawn" else 1)
    most = max((s["processes"] for s in samples), default=0)
    whole = max(worker.concurrency + 1, min(all_of_them, most))
    return [s for s in samples if s["processes"] >= whole]


def _whole(samples: list[Op]) -> list[Op]:
    """Leave out those in which the tree still grew: fewer processes than the last has."""
    return [s for s in samples if s["processes"] == samples[-1]["processes"]]


def _full(samples: list[Op]) -> list[Op]:
    """Leave out those in which the tree was already ending: fewer processes than another has."""
    most = max((s["processes"] for s in samples), default=0)
    return [s for s in samples if s["processes"] == most]


def _within(spans: Spans) -> Callable[[Op], bool]:
    """Return what tells whether a sample was taken in one of these, which may overlap."""
    begins = sorted(begin for begin, end in spans if begin <= end)
    ends = sorted(end for begin, end in spans if begin <= end)
    return lambda sample: bisect_right(begins, sample.t_ns) > bisect_left(ends, sample.t_ns)


def _median(samples: list[Op], kind: str) -> float | None:
    # Only the PSS has the rings for certain: whoever else reads them makes them no process's own.
    rings = 1 if kind == "pss" else 0
    known = [
        s[f"{kind}_bytes"] - rings * (s.get("ring_bytes") or 0)
        for s in samples
        if s.get(f"{kind}_bytes") is not None
    ]
    return median(known) if known else None


def _sum(values: list[float | None]) -> int | None:
    known = [value for value in values if value is not None]
    return round(sum(known)) if known and len(known) == len(values) else None
