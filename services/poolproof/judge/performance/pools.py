"""What each side did and cost, as a whole and round by round."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from poolproof.judge.faults.lost_updates import counted
from poolproof.judge.performance.blocks import (
    Block,
    by_round,
    is_complete,
    span_ns,
    throughput_per_s,
    utilisation,
)
from poolproof.judge.performance.conditions import terms
from poolproof.judge.performance.effort import effort
from poolproof.judge.performance.latency import latency
from poolproof.judge.performance.memory import loaded_bytes, memory
from poolproof.judge.performance.open_loop import open_loop

if TYPE_CHECKING:
    from poolproof.judge.performance.host import Hosts
    from poolproof.judge.run import JudgedRun
    from poolproof.judge.run_data import RunData

#: Parts of a task's time that are of interest in closed loops, and in open ones.
_CLOSED: Final = ("running",)
_OPEN: Final = ("total", "queued")


@dataclass(frozen=True, slots=True)
class _About:
    """What the figures of a side's workloads need to know of it."""

    slots: int
    policy: str | None
    effort: dict[tuple[str, bool], dict[str, Any]]
    workers: tuple[str, ...]
    hosts: Hosts


def pool(case: JudgedRun, side: str, hosts: Hosts) -> dict[str, Any]:
    """Return the figures of one side."""
    workers = [w for w in case.evidence.ledger.roster.workers.values() if w.side == side]
    measured = [block for block in case.blocks if block.side == side and block.measured]
    names = list(dict.fromkeys(block.workload for block in measured))
    slots = sum(worker.concurrency for worker in workers)
    named = tuple(worker.name for worker in workers)
    about = _About(slots, _policy(case, side), effort(case, side), named, hosts)
    return {
        "pool": workers[0].pool if workers else side,
        "concurrency": slots,
        "workers": list(named),
        "terms": terms(case.evidence, side),
        "settings": _settings(case.evidence, set(named)),
        "workloads": {
            name: figures
            for name in names
            if (figures := _workload(case, [b for b in measured if b.workload == name], about))
        },
        "memory": memory(case.evidence, side, case.blocks),
        "start_up_s": _start_up_s(case.evidence, set(named)),
        "stop_s": _stop_s(case.evidence, set(named)),
    }


def _policy(case: JudgedRun, side: str) -> str | None:
    """Return the policy under which a side was measured: the one of its first workers."""
    hello = [op for op in case.evidence.named("hello") if op["side"] == side]
    return (hello[0].get("settings") or {}).get("POOLPROOF_POLICY") if hello else None


def _settings(evidence: RunData, workers: set[str]) -> dict[str, Any]:
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


def _workload(case: JudgedRun, measured: list[Block], about: _About) -> dict[str, Any]:
    """Return the figures of a workload's complete rounds; its throughput is that of closed loops.

    Only where all loops were open there is no other: then it is what was achieved.
    """
    ledger = case.evidence.ledger
    whole = [block for block in measured if is_complete(ledger, block, case.verdicts)]
    opened = [block for block in whole if block.is_open]
    rounds = _complete(measured, whole, is_open=False) or _complete(measured, whole, is_open=True)
    if not rounds:
        return {}
    closed = [block for blocks in rounds.values() for block in blocks]
    rates = [throughput_per_s(ledger, of_round) for of_round in rounds.values()]
    kind = (closed[0].workload, closed[0].is_open)
    waits = latency(ledger, opened) if opened else {}
    return {
        "throughput_per_s": {
            "median": median(rates),
            "blocks": rates,
            "rounds": list(rounds),
        },
        "latency_s": waits | latency(ledger, closed),
        "taken_share": _taken_share(case, closed, about),
        "tasks": sum(block.count for block in next(iter(rounds.values()))),
        "utilisation": utilisation(ledger, closed, about.slots) if about.slots else None,
        "effort": about.effort.get(kind),
        "open_loop": _open_loop(case, opened, about) if opened else None,
        "counter": counted(ledger, whole),
        "work": work(case, closed[0]),
        "by_block": by_block(case, closed[0].side, list(rounds.values()), opened),
    }


def _open_loop(case: JudgedRun, opened: list[Block], about: _About) -> dict[str, Any]:
    found = open_loop(case.evidence.ledger, opened, about.slots, about.policy)
    return found | {"taken_share": _taken_share(case, opened, about)}


def _taken_share(case: JudgedRun, measured: list[Block], about: _About) -> float | None:
    """Return the share of its hosts' CPU time that others took while some blocks ran."""
    spans = [span_ns(case.evidence.ledger, block) for block in measured]
    return about.hosts.taken_share(about.workers, spans)


def _complete(
    measured: list[Block], whole: list[Block], *, is_open: bool
) -> dict[int, list[Block]]:
    """Return round -> its blocks, of the rounds that lack none of them."""
    complete = {block.index for block in whole}
    kind = [block for block in measured if block.is_open == is_open]
    rounds = by_round(kind, lambda block: block.round)
    return {
        number: blocks
        for number, blocks in rounds.items()
        if complete.issuperset(block.index for block in blocks)
    }


def _start_up_s(evidence: RunData, workers: set[str]) -> float | None:
    """Return the median time from the start of a worker's process until it was ready.

    As Celery starts by itself: of those that were told not to mingle nothing is said.
    """
    begun: dict[tuple[str, int], int] = {}
    found = []
    for op in evidence.named("worker-up", "worker-ready"):
        key = (op["worker"], op["life"])
        if op.name == "worker-up":
            if "--without-mingle" not in (op.get("command") or ()):
                begun[key] = op.t_ns
        elif key in begun and op["worker"] in workers:
            found.append((op.t_ns - begun[key]) / 1e9)
    return median(found) if found else None


def _stop_s(evidence: RunData, workers: set[str]) -> float | None:
    """Return the median time from a warm stop's first signal until the worker was gone."""
    exits = [op for op in evidence.named("worker-exit") if op["worker"] in workers and op["asked"]]
    found = [op["stop_s"] for op in exits if op.get("stop_s") is not None]
    return median(found) if found else None


def by_block(
    case: JudgedRun, side: str, rounds: list[list[Block]], opened: list[Block]
) -> dict[str, Any]:
    """Return measure -> one value for each complete round; only those that every round has.

    Of `running` and of memory that of closed loops, of `total` and `queued` that of each block in
    an open one.
    """
    found = _transposed([_times(case, blocks, _CLOSED) for blocks in rounds])
    found |= _transposed([_times(case, [block], _OPEN) for block in opened])
    memory = [loaded_bytes(case.evidence, side, blocks) for blocks in rounds]
    known = [each for each in memory if each is not None]
    # A round that is shorter than the time between two samples may have none.
    return found | ({"pss_bytes": known} if known else {})


def work(case: JudgedRun, block: Block) -> dict[str, Any]:
    """Return what a task of a block was given to do: its parameters that are one for all tasks."""
    begin = next(op for op in case.evidence.named("block-begin") if op["block"] == block.index)
    parameters = begin.get("parameters") or {}
    return {name: of for name, of in parameters.items() if not isinstance(of, list | dict)}


def _times(case: JudgedRun, blocks: list[Block], wanted: tuple[str, ...]) -> dict[str, float]:
    parts = latency(case.evidence.ledger, blocks)
    return {
        f"{part}_{percent}_s": at
        for part, of in parts.items()
        if part in wanted
        for percent, at in of.items()
        if percent != "n"
    }


def _transposed(figures: list[dict[str, float]]) -> dict[str, list[float]]:
    if not figures:
        return {}
    names = [name for name in figures[0] if all(name in each for each in figures)]
    return {name: [each[name] for each in figures] for name in names}
