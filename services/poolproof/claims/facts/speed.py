"""Claims about what pools do a second and what they cost, by ratios within one run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from poolproof.claims.claim import (
    MEASURED,
    TEXTBOOK,
    Claim,
    Finding,
    not_shown,
    of_ratio,
    of_run,
    unless_busy,
)
from poolproof.experiments.compare import Comparison
from poolproof.judge.outcome import taken_of, worst
from poolproof.judge.performance.statistics import ratio_of_medians
from poolproof.judge.verdicts.verdicts import Verdict
from poolproof.produce import workloads
from poolproof.produce.plan import BlockSpec
from poolproof_workers.supervisor.host import cores, gil

if TYPE_CHECKING:
    from collections.abc import Callable

    from poolproof.claims.lab import Lab, Played
    from poolproof.runner.session import Session

_AT_MOST_S: Final = 120.0
_POOLS: Final = "prefork:2 threads:2 solo"
_COMPARISON: Final = Comparison(
    workloads=("square", "sleep:20ms", "cpu:5ms"),
    rounds=7,
    budget_s=45.0,
    fresh=False,
    latency="none",
    crash=None,
)
_EVENTS: Final = Comparison(
    workloads=("square",), rounds=7, budget_s=15.0, fresh=False, latency="none", crash=None
)
_MEMORY: Final = Comparison(
    workloads=("sleep:20ms",), rounds=5, budget_s=12.0, fresh=False, latency="none", crash=None
)
_INFINITE: Final = float("inf")
#: Celery's main process and Redis need a part of two cores too.
_SLOWED: Final = 1.6


@dataclass(frozen=True, slots=True)
class WithEvents:
    """A comparison in which one side has Celery's task events on."""

    comparison: Comparison
    loud: str  #: label of that side

    def play(self, session: Session) -> None:
        """Start the loud side anew with events, then compare."""
        for side in session.sides:
            session.warm_up(side)
        loud = tuple(side for side in session.sides if side.label == self.loud)
        session.restart(loud, {"POOLPROOF_EVENTS": "1"})
        self.comparison.play(session)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as the history keeps it."""
        return {**self.comparison.to_json(), "name": "events", "events_on": self.loud}


@dataclass(frozen=True, slots=True)
class Drain:
    """Forty tasks of 0.2 s, as Celery issue #6941 has them."""

    tasks: int = 40
    workload: str = "sleep:200ms"
    deadline_s: float = 30.0

    def play(self, session: Session) -> None:
        """Drain them once."""
        (side,) = session.sides
        session.warm_up(side)
        session.listener.phase(f"{self.tasks} x {self.workload} on {side.label}")
        block = BlockSpec(side.label, self.workload, self.tasks, measured=True)
        session.play(block, self.deadline_s)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as the history keeps it."""
        return {"name": "drain", "tasks": self.tasks, "workload": self.workload}


_DRAIN: Final = Drain()
_KEPT_BUSY_S: Final = 3.0
_BEFORE: Final = "@celery==5.6.3,kombu==5.6.2"


def _against(
    workload: str, *, at_least: float = 0.0, at_most: float = _INFINITE
) -> Callable[[Lab, str], Finding]:
    """Return a check of the ratio of two pools' throughput, all read from one comparison."""

    def check(lab: Lab, on: str) -> Finding:
        if workload.startswith("cpu") and cores() < 2:
            return not_shown("only one core is usable here")
        if workload.startswith("cpu") and "threads" in on and not gil():
            return not_shown("this Python has no GIL")
        played = lab.play(_POOLS, _COMPARISON)
        found = _rates(played, workload, on, at_least, at_most)
        busy = _busy(played, workload) if workload.startswith("cpu") and not found.why else ""
        return not_shown(busy, found.observed, **found.figures) if busy else found

    return check


def _rates(played: Played, workload: str, on: str, at_least: float, at_most: float) -> Finding:
    a, b = on.split()
    blocks = {side: _blocks(played, side, workload) for side in (a, b)}
    if not played.summary["valid"] or played.doubt or not all(blocks.values()):
        return not_shown(played.doubt or "the run is no benchmark result")
    rates = {side: sorted(of)[len(of) // 2] for side, of in blocks.items()}
    observed = f"{a} {rates[a]:,.0f}/s, {b} {rates[b]:,.0f}/s"
    ratio = ratio_of_medians(blocks[a], blocks[b])
    of_sides = [played.summary["pools"][side]["workloads"][workload] for side in (a, b)]
    taken = worst(figures["taken_share"] for figures in of_sides)
    return unless_busy(of_ratio(ratio, observed, at_least=at_least, at_most=at_most), taken)


def _busy(played: Played, workload: str) -> str:
    """Say if the cores were not ours: a slot that has one keeps to the calibrated time."""
    meant_s = workloads.check(workload).seconds
    for side in ("solo", "prefork:2"):
        figures = played.summary["pools"][side]["workloads"].get(workload, {})
        took_s = figures.get("latency_s", {}).get("running", {}).get("p50", 0.0)
        if took_s > _SLOWED * meant_s:
            took = f"{took_s * 1e3:.1f} instead of {meant_s * 1e3:.1f} ms"
            return f"something else was using the cores: half of the tasks on {side} took {took}"
    return ""


def _blocks(played: Played, side: str, workload: str) -> list[float]:
    figures = played.summary["pools"][side]["workloads"].get(workload)
    return list(figures["throughput_per_s"]["blocks"]) if figures else []


def _events(lab: Lab, on: str) -> Finding:
    experiment = WithEvents(replace(_EVENTS), "events")
    played = lab.play(f"events={on} silent={on}", experiment)
    return _rates(played, "square", "events silent", 0.0, 0.85)


def _keeps_slots_busy(lab: Lab, on: str) -> Finding:
    played, took_s = _drained(lab, on)
    if took_s is None:
        return _of_drain(played, _done(played), holds=False)
    return _of_drain(played, _took(took_s), holds=took_s < _KEPT_BUSY_S, seconds=took_s)


def _starves_slots(lab: Lab, on: str) -> Finding:
    played, took_s = _drained(lab, on)
    if took_s is None:
        return _of_drain(played, _done(played), holds=True)
    return _of_drain(played, _took(took_s), holds=took_s > 2 * _KEPT_BUSY_S, seconds=took_s)


def _of_drain(played: Played, observed: str, *, holds: bool, **figures: Any) -> Finding:
    hosts = played.summary["surroundings"].values()
    taken = worst(taken_of(host["others_share"], host["steal_share"]) for host in hosts)
    return unless_busy(of_run(played, observed, holds=holds, **figures), taken)


def _drained(lab: Lab, on: str) -> tuple[Played, float | None]:
    """Drain under late acknowledgement with prefetch 1; return how long it took, None: too long."""
    played = lab.play(on, _DRAIN, {"POOLPROOF_POLICY": "late", "POOLPROOF_PREFETCH": "1"})
    (side,) = played.summary["pools"]
    rates = _blocks(played, side, _DRAIN.workload)
    return played, _DRAIN.tasks / rates[0] if rates else None


def _took(seconds: float) -> str:
    return f"{seconds:.2f} s for {_DRAIN.tasks} tasks"


def _done(played: Played) -> str:
    rows = next(block.rows for block in played.case.blocks if block.workload == _DRAIN.workload)
    done = int(np.count_nonzero(played.case.verdicts[rows] == Verdict.COMPLETED))
    return f"{done} of {_DRAIN.tasks} tasks done in {_DRAIN.deadline_s:.0f} s"


def _memory(lab: Lab, on: str) -> Finding:
    a, b = on.split()
    played = lab.play(on, _MEMORY)
    sizes = {side: _pss(played, side) for side in (a, b)}
    if not all(sizes.values()):
        return not_shown("PSS is not to be had here")
    middles = {side: sorted(of)[len(of) // 2] / 1e6 for side, of in sizes.items()}
    observed = f"{a} {middles[a]:.0f} MB, {b} {middles[b]:.0f} MB"
    return of_ratio(ratio_of_medians(sizes[a], sizes[b]), observed, at_least=1.5)


def _pss(played: Played, side: str) -> list[float]:
    evidence = played.case.evidence
    names = {w.name for w in evidence.ledger.roster.workers.values() if w.side == side}
    samples = [op for op in evidence.named("sample") if op["worker"] in names]
    full = max((op["processes"] for op in samples), default=0)
    return [
        op["pss_bytes"] - (op.get("ring_bytes") or 0)
        for op in samples
        if op["pss_bytes"] is not None and op["processes"] == full
    ]


CLAIMS: Final = (
    Claim(
        "main-is-the-limit",
        "For a task that does nothing the pool hardly matters: the worker's main process is the "
        "limit.",
        MEASURED,
        "between 0.6 and 1.6 times as many tasks a second",
        _AT_MOST_S,
        _against("square", at_least=0.6, at_most=1.6),
        ("prefork:2 threads:2",),
    ),
    Claim(
        "cpu-prefork",
        "For CPU-bound Python prefork:2 does more than solo, on two cores.",
        MEASURED,
        "at least 1.3 times as many tasks a second",
        _AT_MOST_S,
        _against("cpu:5ms", at_least=1.3),
        ("prefork:2 solo",),
    ),
    Claim(
        "cpu-celery-threads",
        "For CPU-bound Python threads:2 does no more than solo.",
        MEASURED,
        "at most 1.1 times as many tasks a second",
        _AT_MOST_S,
        _against("cpu:5ms", at_most=1.1),
        ("threads:2 solo",),
    ),
    Claim(
        "io-double",
        "For tasks that wait, two slots do almost twice what one does, whatever they are.",
        MEASURED,
        "at least 1.6 times as many tasks a second as solo",
        _AT_MOST_S,
        _against("sleep:20ms", at_least=1.6),
        ("prefork:2 solo", "threads:2 solo"),
    ),
    Claim(
        "io-same",
        "For tasks that wait, prefork and threads with as many slots do the same.",
        MEASURED,
        "between 0.9 and 1.1 times as many tasks a second",
        _AT_MOST_S,
        _against("sleep:20ms", at_least=0.9, at_most=1.1),
        ("prefork:2 threads:2",),
    ),
    Claim(
        "events-cost",
        "Celery's task events (-E, which Flower needs) cost a good part of a worker's throughput.",
        MEASURED,
        "at most 0.85 times as many tasks a second as without",
        _AT_MOST_S,
        _events,
        ("threads:2", "prefork:2"),
    ),
    Claim(
        "threads-late-prefetch",
        "With acks_late and prefetch 1 a worker keeps its slots busy (threads: since kombu 5.7).",
        "celery #6941",
        "40 tasks of 0.2 s on 4 slots in less than 3 s (ideal 2.0 s)",
        _AT_MOST_S,
        _keeps_slots_busy,
        ("threads:4", "prefork:4"),
    ),
    Claim(
        "threads-late-prefetch-before",
        "Before kombu 5.7 they starve on threads: the same takes many times as long.",
        "measured by us; celery #6941",
        "more than 6 s for the same 40 tasks",
        300.0,
        _starves_slots,
        (f"old=threads:4{_BEFORE}",),
    ),
    Claim(
        "prefork-late-prefetch-before",
        "On prefork those versions keep the slots busy too.",
        MEASURED,
        "the same 40 tasks in less than 3 s",
        300.0,
        _keeps_slots_busy,
        (f"old=prefork:4{_BEFORE}",),
    ),
    Claim(
        "memory-prefork",
        "A worker with 4 processes needs far more memory than one with 4 threads.",
        f"{MEASURED}; {TEXTBOOK}",
        "at least 1.5 times (PSS of the whole tree: shared pages counted once)",
        _AT_MOST_S,
        _memory,
        ("prefork:4 threads:4",),
    ),
)
