"""What a report says of crashes: a table for each fault, and what was noticed of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from poolproof.judge.faults.account import LINGERED_S, account, cut_off
from poolproof.judge.faults.defaults import SWEEP_S, VISIBILITY_TIMEOUT_S, by_default
from poolproof.report import machine
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

#: Key of an account -> what it says.
_CRASH_ROWS: Final = {
    "running": "innocent tasks running at that moment",
    "interrupted_first": "  of these, interrupted",
    "hung": "  still at it at the end",
    "interrupted_again": "interrupted when it struck again",
    "unknown": "what it did to them is not known",
    "stranded": "waiting in the worker, now stranded",
    "given_back": "waiting in the worker, put back",
    "waited": "waiting in it until the timeout",
    "recovered": "came back and finished",
    "lost": "lost for good",
    "interrupted": "  that ran",
    "acknowledged": "  acknowledged and not begun yet",
    "fetched": "  on the way from the queue",
    "failed": "failed",
    "phantom": "counted as running, but do not run",
    "repeated": "ended more than once",
    "overdue": "  only by the short timeout",
    "left queued": "left queued at the end",
    "left stranded": "left stranded at the end",
    "left running": "left running at the end",
    "slots_gone_first": "slots gone",
    "slots_gone_again": "slots gone when it struck again",
}
#: Of these, what every fault may do: the others are only told where it happened.
_ALWAYS: Final = (
    "running",
    "interrupted_first",
    "stranded",
    "recovered",
    "lost",
    "repeated",
    "slots_gone_first",
)

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
    return tuple(
        _crash(fault, policy, pools, machine.apart(summary, pools))
        for (fault, policy), pools in kinds.items()
    )


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


def _crash(fault: str, policy: str, pools: Mapping[str, Sequence[Summary]], where: str) -> Table:
    repeats = pools.values()
    accounts = [account([[crash] for crash in of]) for of in repeats]
    sums = [_sums(each) for each in accounts]
    counts = [
        (words, *(count(of.get(key, 0)) for of in sums))
        for key, words in _CRASH_ROWS.items()
        if key in _ALWAYS or any(of.get(key) for of in sums)
    ]
    times = [
        (words, *(seconds(of["recovery_s"][key]) for of in accounts))
        for key, words in _RECOVERY_ROWS.items()
    ]
    rows = [
        *counts,
        ("the faulty task itself", *(_said("poison", of) for of in repeats)),
        ("  struck", *(_struck(of) for of in accounts)),
        ("restarted by", *(_said("restarted_by", of) for of in repeats)),
        ("  after a delay of", *(_delay(of) for of in repeats)),
        ("stranded are due after", *(_due(of) for of in repeats)),
        ("  with Celery's defaults", *(_due_by_default(of) for of in repeats)),
        ("what waited in it, with the defaults", *(_waited(of) for of in repeats)),
        *times,
        ("the worker left, after its last task", *(_lingered(of) for of in accounts)),
        ("the wait was cut off by", *(_cut_off(of) for of in accounts)),
    ]
    headings = (f"{pool} x{len(of)}" if len(of) > 1 else pool for pool, of in pools.items())
    return Table(
        f"What one {fault} takes along",
        f"In tasks, acknowledged {ACKNOWLEDGED.get(policy, policy)}; then times since the fault."
        f"{where}",
        (Column(), *(Column(heading, numbers=True) for heading in headings)),
        tuple(row for row in rows if set(row[1:]) != {NOTHING}),
    )


def _sums(of: Summary) -> Summary:
    """Return the counts of an account as a table says them: what is part of what, told apart."""
    causes = of["lost_by"] if of["lost_by"].keys() - {"interrupted"} else {}
    return {
        **of,
        "interrupted": causes.get("interrupted", 0),
        "acknowledged": causes.get("acknowledged", 0),
        "fetched": causes.get("fetched", 0),
        "interrupted_again": of["interrupted"] - of["interrupted_first"],
        "slots_gone_again": of["slots_gone"] - of["slots_gone_first"],
        **{word: of["fates"].get(word, 0) for word in ("failed", "phantom")},
        **{f"left {word}": count for word, count in of["left"].items()},
    }


def _struck(of: Summary) -> str:
    return NOTHING if of["strikes"] <= of["crashes"] else f"{of['strikes']} times"


def _waited(repeats: Sequence[Summary]) -> str:
    """Say for how long what waited in a living worker does so with Celery's defaults."""
    if not any(crash.get("waited") for crash in repeats):
        return NOTHING
    return f"{VISIBILITY_TIMEOUT_S:,.0f} - {VISIBILITY_TIMEOUT_S + SWEEP_S:,.0f} s"


def _lingered(of: Summary) -> str:
    lingered_s = of["lingered_s"] or 0.0
    return NOTHING if lingered_s < LINGERED_S else seconds(lingered_s)


def _cut_off(of: Summary) -> str:
    return ", ".join(why for why in of["ended"] if cut_off([why])) or NOTHING


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
