"""What a report says of crashes: a table for each fault, and what was noticed of it."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final

from poolproof.judge.defaults import by_default
from poolproof.report.figures import NOTHING, count, seconds
from poolproof.report.tables import Column, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from poolproof.report.tables import Summary

#: Policy -> when a message is acknowledged under it.
ACKNOWLEDGED: Final = {
    "early": "before they run",
    "late": "after they ran",
    "late-reject": "after they ran, put back when their slot is lost",
    "late-retry": "after they ran, retried when their slot is lost",
}

#: Key of a crash -> what it says.
_CRASH_ROWS: Final = {
    "running": "innocent tasks running at that moment",
    "interrupted": "  of these, interrupted",
    "hung": "  still at it at the end",
    "stranded": "waiting in the worker, now stranded",
    "given_back": "waiting in the worker, put back",
    "recovered": "came back and finished",
    "lost": "lost for good",
    "failed": "failed",
    "phantom": "counted as running, but do not run",
    "repeated": "ended more than once",
    "slots_gone": "slots gone",
}
#: Of these, what most faults never do: they are only told where it happened.
_RARE: Final = {"hung", "given_back", "failed", "phantom"}

#: Key in a crash's `recovery_s` -> what it says.
_RECOVERY_ROWS: Final = {
    "detect": "until it was noticed",
    "slot_back": "until the slots worked again",
    "redelivered": "until the stranded ran again",
    "throughput_back": "until 90 % of the throughput",
}


def crashes(summary: Summary) -> tuple[Table, ...]:
    """Return one table for each fault and policy: a column a pool, repeats added up."""
    kinds: dict[tuple[str, str], dict[str, list[Summary]]] = {}
    for crash in summary["crashes"]:
        pools = kinds.setdefault((crash["fault"], crash["policy"]), {})
        pools.setdefault(crash["pool"], []).append(crash)
    return tuple(_crash(fault, policy, pools) for (fault, policy), pools in kinds.items())


def noticed(summary: Summary) -> Table:
    """Return what was noticed of each fault, and under which settings it was done."""
    rows: dict[tuple[str, ...], None] = {}
    for crash in summary["crashes"]:
        told = summary["pools"].get(crash["pool"], {}).get("settings") or {}
        under = told | {key: crash[key] for key in ("prefetch",) if key in crash}
        under |= crash.get("due_s") or {}
        row = (
            f"{crash['fault']} on {crash['pool']}",
            NOTHING if under.get("prefetch") is None else str(under["prefetch"]),
            seconds(under.get("visibility_timeout_s")),
            seconds(under.get("sweep_s")),
            "; ".join(crash.get("noticed") or ()) or "nothing",
        )
        rows[row] = None  # repeats say the same
    headings = ("prefetch", "timeout", "sweep")
    return Table(
        "What was noticed",
        "By Celery or the supervisor; with this prefetch, visibility timeout and sweep.",
        (Column(), *(Column(heading, numbers=True) for heading in headings), Column("noticed")),
        tuple(rows),
    )


# --- parts ----------------------------------------------------------------------------------------


def _crash(fault: str, policy: str, pools: Mapping[str, Sequence[Summary]]) -> Table:
    repeats = pools.values()
    sums = {key: [_total(key, of) for of in repeats] for key in _CRASH_ROWS}
    counts = [
        (words, *map(count, sums[key]))
        for key, words in _CRASH_ROWS.items()
        if any(sums[key]) or key not in _RARE
    ]
    times = [
        (words, *(_typical(key, of) for of in repeats)) for key, words in _RECOVERY_ROWS.items()
    ]
    rows = [
        *counts,
        ("the faulty task itself", *(_said("poison", of) for of in repeats)),
        ("restarted by", *(_said("restarted_by", of) for of in repeats)),
        ("  after a delay of", *(_delay(of) for of in repeats)),
        ("stranded are due after", *(_due(of) for of in repeats)),
        ("  with Celery's defaults", *(_due_by_default(of) for of in repeats)),
        *times,
    ]
    headings = (f"{pool} x{len(of)}" if len(of) > 1 else pool for pool, of in pools.items())
    return Table(
        f"What one {fault} takes along",
        f"In tasks, acknowledged {ACKNOWLEDGED.get(policy, policy)}; then times since the fault.",
        (Column(), *(Column(heading, numbers=True) for heading in headings)),
        tuple(row for row in rows if set(row[1:]) != {NOTHING}),
    )


def _total(key: str, repeats: Sequence[Summary]) -> int:
    return sum(crash[key] if key in crash else _fate(crash, key) for crash in repeats)


def _fate(crash: Summary, verdict: str) -> int:
    """Return how many of the innocents that it concerned ended so."""
    number: int = (crash.get("fates") or {}).get(verdict, 0)
    return number


def _typical(key: str, repeats: Sequence[Summary]) -> str:
    times = [crash["recovery_s"].get(key) for crash in repeats]
    known = [time for time in times if time is not None]
    return seconds(median(known)) if known else NOTHING


def _due(repeats: Sequence[Summary]) -> str:
    due = [crash["due_s"] for crash in repeats if crash.get("due_s")]
    if not due:
        return NOTHING
    return f"{min(d['first'] for d in due):.1f} - {max(d['last'] for d in due):.1f} s"


def _due_by_default(repeats: Sequence[Summary]) -> str:
    """Say what the short settings of a crash hide."""
    due = [by_default(crash["due_s"]) for crash in repeats if crash.get("due_s")]
    if not due:
        return NOTHING
    return f"{min(first for first, _ in due):,.0f} - {max(last for _, last in due):,.0f} s"


def _said(key: str, repeats: Sequence[Summary]) -> str:
    return ", ".join(dict.fromkeys(crash.get(key) or NOTHING for crash in repeats))


def _delay(repeats: Sequence[Summary]) -> str:
    known = [crash.get("restart_delay_s") for crash in repeats]
    return ", ".join(dict.fromkeys(seconds(each) for each in known if each is not None)) or NOTHING
