"""What each side did and cost, and how the sides compare."""

from __future__ import annotations

from itertools import combinations
from statistics import median
from typing import TYPE_CHECKING, Any

from poolproof.judge.blocks import Block, is_complete, latency, throughput_per_s
from poolproof.judge.memory import memory
from poolproof.judge.statistics import ratio_of_medians

if TYPE_CHECKING:
    from poolproof.judge.case import Case
    from poolproof.judge.evidence import Evidence


def pool(case: Case, side: str) -> dict[str, Any]:
    """Return the figures of one side."""
    workers = [w for w in case.evidence.ledger.roster.workers.values() if w.side == side]
    measured = [block for block in case.blocks if block.side == side and block.measured]
    names = list(dict.fromkeys(block.workload for block in measured))
    return {
        "pool": workers[0].pool if workers else side,
        "concurrency": sum(worker.concurrency for worker in workers),
        "workers": [worker.name for worker in workers],
        "settings": _settings(case.evidence, {worker.name for worker in workers}),
        "workloads": {
            name: figures
            for name in names
            if (figures := _workload(case, [b for b in measured if b.workload == name]))
        },
        "memory": memory(case.evidence, side, case.blocks),
        "start_up_s": _start_up_s(case.evidence, {worker.name for worker in workers}),
    }


def _settings(evidence: Evidence, workers: set[str]) -> dict[str, Any]:
    """Return what decides on redelivery and restart, as the side's last supervisor had it."""
    hello = [op for op in evidence.named("hello") if op["worker"] in workers]
    if not hello:
        return {}
    last, given = hello[-1], hello[-1].get("settings") or {}
    return {
        "policy": given.get("POOLPROOF_POLICY"),
        "prefetch": _whole(given.get("POOLPROOF_PREFETCH")),
        "visibility_timeout_s": last.get("visibility_timeout_s"),
        "sweep_s": last.get("sweep_s"),
        "retry_delay_s": _number(given.get("POOLPROOF_RETRY_DELAY_S")),
        "restart_delay_s": last.get("restart_delay_s"),
    }


def _whole(text: str | None) -> int | None:
    return None if text is None else int(text)


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)


def _workload(case: Case, measured: list[Block]) -> dict[str, Any]:
    whole = [block for block in measured if is_complete(block, case.verdicts)]
    if not whole:
        return {}
    ledger = case.evidence.ledger
    figures: dict[str, Any] = {"latency_s": latency(ledger, whole), "tasks": whole[0].count}
    rates = [throughput_per_s(ledger, block) for block in whole]
    return {"throughput_per_s": {"median": median(rates), "blocks": rates}} | figures


def _start_up_s(evidence: Evidence, workers: set[str]) -> float | None:
    """Return the median time from the start of a worker's process until it was ready."""
    begun: dict[tuple[str, int], int] = {}
    found = []
    for op in evidence.named("worker-up", "worker-ready"):
        key = (op["worker"], op["life"])
        if op.name == "worker-up":
            begun[key] = op.t_ns
        elif key in begun and op["worker"] in workers:
            found.append((op.t_ns - begun[key]) / 1e9)
    return median(found) if found else None


def comparisons(pools: dict[str, Any]) -> list[dict[str, Any]]:
    """Return each pair of sides on each workload that both did."""
    found = []
    for a, b in combinations(pools, 2):
        for workload in pools[a]["workloads"]:
            other = pools[b]["workloads"].get(workload)
            if other:
                mine = pools[a]["workloads"][workload]
                found += _comparison(workload, a, b, mine, other)
    return found


def _comparison(workload: str, a: str, b: str, mine: Any, other: Any) -> list[dict[str, Any]]:
    measure = "throughput_per_s"
    ratio = ratio_of_medians(mine[measure]["blocks"], other[measure]["blocks"])
    if ratio is None:
        return []
    return [
        {
            "workload": workload,
            "measure": "throughput",
            "a": a,
            "b": b,
            "ratio": ratio.ratio,
            "low": ratio.low,
            "high": ratio.high,
            "verdict": ratio.verdict,
            "smallest_detectable": ratio.smallest_detectable,
        }
    ]
