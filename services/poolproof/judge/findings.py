"""Finds what is wrong with a run, and what would make its figures worth less."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from poolproof.judge.faults.defaults import VISIBILITY_TIMEOUT_S
from poolproof.judge.faults.timeline_events import loud
from poolproof.judge.performance import answers
from poolproof.judge.performance.memory import lacks_pss
from poolproof.judge.performance.statistics import ENOUGH, spread
from poolproof.judge.verdicts.verdicts import Verdict
from poolproof.judge.warnings import percent, tasks, warning

if TYPE_CHECKING:
    from poolproof.judge.performance.blocks import Block
    from poolproof.judge.run import JudgedRun
    from poolproof.judge.run_data import RunData

Warnings = list[dict[str, str]]

#: A range of the rounds' throughput above this share of their median is called unstable.
_UNSTABLE: Final = 0.25
#: One in ten tasks sent so much later than intended is no longer a matter of the timer.
_LATE_S: Final = 0.01


def findings(
    case: JudgedRun,
    pools: dict[str, Any],
    account: dict[str, Any],
    undone: list[dict[str, Any]],
) -> Warnings:
    """Return the warnings of a run, the gravest first."""
    return [
        *_of_history(case),
        *_of_books(case, account),
        *_of_end(case, undone),
        *_of_measurement(case),
        *_of_pools(case, pools),
    ]


def _of_history(case: JudgedRun) -> Warnings:
    damage = case.evidence.damage
    more = f", nor do {len(damage) - 1:,} other places" if len(damage) > 1 else ""
    return [warning("damaged", damage[0], more)] if damage else []


def _of_books(case: JudgedRun, account: dict[str, Any]) -> Warnings:
    found = []
    is_whole = not case.evidence.damage  # what is lost would explain what a bug or a stranger does
    why = list(dict.fromkeys(hole.why for hole in case.ending.holes))
    reasons = "; ".join(why[:3]) or "the broker could not be read at rest"
    if is_whole and not account["balanced"]:
        verdicts = sum(account["verdicts"].values())
        about = f"{account['enqueued']} tasks were enqueued and {verdicts} have a verdict"
        found.append(warning("books_unbalanced", about))
    if unknown := account["verdicts"]["unknown"]:
        found.append(warning("unknown_tasks", tasks(unknown), reasons))
    elif why:
        found.append(warning("incomplete", reasons))
    if is_whole and account["unexpected"]:
        found.append(warning("unexpected_tasks", tasks(account["unexpected"])))
    if foreign := case.evidence.ledger.foreign:
        found.append(warning("foreign_tasks", f"{foreign:,}"))
    if account["copies_left"]:
        found.append(warning("copies_left", tasks(account["copies_left"])))
    return found


def _of_end(case: JudgedRun, undone: list[dict[str, Any]]) -> Warnings:
    evidence = case.evidence
    end = evidence.last("run-end")
    found = []
    if evidence.last("closed") is None:
        found.append(warning("not_closed"))
    if end is not None and end["reason"] != "done":
        found.append(warning("not_done", end["reason"]))
    found += [
        warning("fault_not_done", f"{one['fault']} on {one['pool']}")
        for one in undone
        if one.get("unseen")
    ]
    if any(op["reason"] == "end" and not op.get("stable", True) for op in evidence.named("broker")):
        found.append(warning("not_at_rest"))
    lost = sum(
        loss.gap.last - loss.gap.first + 1
        for loss in evidence.ledger.real_losses()
        if loss.gap.source in evidence.ledger.roster.sources
    )
    if lost and not evidence.damage:
        found.append(warning("records_lost", f"{lost:,} records"))
    if strangers := evidence.clocks.unknown():
        found.append(warning("clock_unknown", ", ".join(strangers)))
    return found


def _of_measurement(case: JudgedRun) -> Warnings:
    ledger, found = case.evidence.ledger, []
    bad: Counter[str] = Counter()
    for block in case.blocks:
        bad[f"{block.workload} on {block.side}"] += answers.wrong(ledger, block) or 0
    for where, count in (+bad).items():
        found.append(warning("wrong_results", f"{tasks(count)} of {where}"))
    measured = [block for block in case.blocks if block.measured]
    if undone := _undone(case, measured):
        found.append(warning("not_completed", undone))
    on, unknown = loud(case.evidence, measured)
    if on:
        found.append(warning("events_on", " and ".join(on)))
    if unknown:
        found.append(warning("events_unknown", " and ".join(unknown)))
    return found


def _undone(case: JudgedRun, measured: list[Block]) -> str:
    """Return how many tasks were not completed; empty if none.

    Nothing was done to the tasks of a run without faults: each of them counts. In one with faults
    those of the measured blocks do, which faults are kept from.
    """
    evidence = case.evidence
    if evidence.named("fault", "strike") or evidence.ledger.fault_names:
        bad = sum(int(np.count_nonzero(_not_completed(case, block.rows))) for block in measured)
        return f"{tasks(bad)} of the measured blocks" if bad else ""
    enqueued = evidence.ledger["block"] >= 0
    bad = int(np.count_nonzero(enqueued & _not_completed(case, slice(None))))
    return tasks(bad) if bad else ""


def _not_completed(case: JudgedRun, rows: slice) -> np.ndarray:
    return np.asarray(case.verdicts[rows] != Verdict.COMPLETED)


def _of_pools(case: JudgedRun, pools: dict[str, Any]) -> Warnings:
    found, unstable = [], []
    for side, figures in pools.items():
        for workload, of in figures["workloads"].items():
            rates = of["throughput_per_s"]["blocks"]
            about = f"{workload} on {side}"
            if spread(rates) > _UNSTABLE:
                unstable.append(f"by {percent(spread(rates))} ({about})")
            if len(rates) < ENOUGH:
                count = "1 round" if len(rates) == 1 else f"{len(rates)} rounds"
                found.append(warning("few_blocks", f"Only {count} of {about}"))
        if lacks_pss(figures["memory"]):
            found.append(warning("no_pss", side))
    if unstable:
        found.append(warning("unstable_blocks", f"Rounds differ {', '.join(unstable)}"))
    return found + _of_open_loops(pools) + _of_workers(case)


def _of_open_loops(pools: dict[str, Any]) -> Warnings:
    found = []
    for side, figures in pools.items():
        for workload, of in figures["workloads"].items():
            load = of.get("open_loop")
            if load and load["overloaded"]:
                found.append(warning("overload", f"{workload} on {side}"))
            elif load and _is_late(load["sent_late_s"]):
                late = f"{1e3 * load['sent_late_s']['most']:.0f} ms"
                found.append(warning("sent_late", f"{workload} on {side}", late))
    return found


def _is_late(late_s: dict[str, float]) -> bool:
    # Of fewer than 100 tasks the ninth decile is not known, but the latest of them is.
    return late_s.get("p90", late_s["most"]) > _LATE_S


def _of_workers(case: JudgedRun) -> Warnings:
    evidence = case.evidence
    struck = {record.source.worker for record in evidence.ledger.fault_records} | {
        worker
        for op in evidence.named("fault")
        if op["applied"]
        for worker in {op["worker"], *(op.get("workers") or ())}
    }
    quitters = {
        op["worker"]
        for op in evidence.named("worker-exit")
        if not op["asked"] and op["worker"] not in struck
    }
    timeouts = [op.get("visibility_timeout_s") for op in evidence.named("hello")]
    shortest = min((each for each in timeouts if each is not None), default=VISIBILITY_TIMEOUT_S)
    found = [warning("unasked_exit", name) for name in sorted(quitters)]
    if struck and shortest < VISIBILITY_TIMEOUT_S:
        found.append(warning("short_redelivery", f"{shortest:g}"))
    return [*found, *(_of_sweeps(evidence) if struck else ())]


def _of_sweeps(evidence: RunData) -> Warnings:
    """Return a warning for each side that looks for messages to restore when it will."""
    found = {}
    for op in evidence.named("hello"):
        told, sweep_s = op.get("settings") or {}, op.get("sweep_s")
        if sweep_s is None or "POOLPROOF_RESTORE_INTERVAL_S" not in told:
            continue
        interval_s, throttle = (
            float(told[f"POOLPROOF_RESTORE_{name}"]) for name in ("INTERVAL_S", "THROTTLE")
        )
        if not math.isclose(sweep_s, interval_s * throttle):
            kombu = (op.get("versions") or {}).get("kombu", "")
            about = (f"{sweep_s:g}", f"{interval_s * throttle:g}", f" {kombu}".rstrip())
            found[op["side"]] = warning("fixed_sweep", op["side"], *about)
    return list(found.values())
