"""What only those want to know who doubt a figure: what carried it, and what may have bent it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from poolproof.report.figures import NOTHING, count, percent, rate, seconds
from poolproof.report.tables import Column, Table, by_workload

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from poolproof.report.tables import Summary

#: Part of the harness, each of which can use one core -> what it is called.
_PARTS: Final = {
    "producer": "producer",
    "redis": "Redis",
    "collector": "collector",
    "supervisor": "supervisor",
}
#: Key of a setting of a side -> what it is called.
_SETTINGS: Final = {
    "policy": "acknowledgement policy",
    "prefetch": "prefetch, a slot",
    "events": "task events",
    "results": "result backend",
    "serializer": "serializer",
    "optimization": "optimization",
}


def details(summary: Summary) -> tuple[Table, ...]:
    """Return the tables that the summary has figures for."""
    found = (loads(summary), harness(summary), surroundings(summary), settings(summary))
    return tuple(table for table in found if table.rows)


def loads(summary: Summary) -> Table:
    """Return of every open loop what was offered and done, and what piled up meanwhile."""
    rows = []
    for workload, figures in by_workload(summary):
        for pool, load in ((pool, of.get("open_loop")) for pool, of in figures.items()):
            if load:
                backlog, late = load.get("backlog") or {}, load.get("sent_late_s") or {}
                rows.append(
                    (
                        workload,
                        pool,
                        _rate(load.get("offered_per_s")),
                        _rate(load.get("achieved_per_s")),
                        _count(backlog.get("most")),
                        _count(backlog.get("at_the_end")),
                        seconds(late.get("most")),
                    )
                )
    headings = ("offered", "done", "backlog", "at the end", "sent late")
    return Table(
        "Open loops",
        "Tasks a second; the most that were due and not begun; by how much at most one was sent "
        "late.",
        (Column(), Column("pool"), *(Column(heading, numbers=True) for heading in headings)),
        tuple(rows),
        detail=True,
    )


def harness(summary: Summary) -> Table:
    """Return what poolproof's own processes took, and where they would be the limit."""
    own: Summary = summary.get("harness") or {}
    shares, ceilings = own.get("cpu_share") or {}, own.get("ceiling_per_s") or {}
    names = dict.fromkeys(workload for of in shares.values() for workload in of)
    parts = [part for part in _PARTS if part in shares]
    return Table(
        "What measuring took",
        "Of one core, which is all that each part can use, on the pool where it was most; and the "
        "tasks a second at which the busiest would need all of it.",
        (
            Column(),
            *(Column(_PARTS[part], numbers=True) for part in parts),
            Column("limit", numbers=True),
        ),
        tuple(
            (
                workload,
                *(percent(_most(shares[part].get(workload))) for part in parts),
                _rate(ceilings.get(workload)),
            )
            for workload in names
        ),
        detail=True,
    )


def surroundings(summary: Summary) -> Table:
    """Return what else went on where the workers ran."""
    shares = {"busy_share": "busy", "others_share": "by others", "steal_share": "stolen"}
    headings = (*shares.values(), "throttled", "pages swapped", "load")
    return Table(
        "What went on around it",
        "While it was measured: shares of all cores' time, as each worker's host told them, and of "
        "the periods of the CPU limit, in how many it was reached (throttled).",
        (Column(), *(Column(heading, numbers=True) for heading in headings)),
        tuple(
            (
                worker,
                *(percent(of.get(key)) for key in shares),
                percent(of.get("throttled_share")),
                _count(of.get("swapped_pages")),
                NOTHING if of.get("load") is None else f"{of['load']:.1f}",
            )
            for worker, of in (summary.get("surroundings") or {}).items()
        ),
        detail=True,
    )


def settings(summary: Summary) -> Table:
    """Return what each side was told when it was measured."""
    told = {
        side: (of.get("terms") or {}).get("settings") or {} for side, of in summary["pools"].items()
    }
    rows = [
        (words, *(str(of.get(key) or NOTHING) for of in told.values()))
        for key, words in _SETTINGS.items()
    ]
    return Table(
        "What each pool was told",
        "When it was measured; around a fault the settings are those of its own table.",
        (Column(), *(Column(side) for side in told)),
        tuple(row for row in rows if set(row[1:]) != {NOTHING}),
        detail=True,
    )


def measuring(summary: Summary) -> str:
    """Return the worst of what `harness` and `surroundings` say, in a line; empty if nothing."""
    shares: Summary = (summary.get("harness") or {}).get("cpu_share") or {}
    busiest = {
        _PARTS[part]: max(_most(of_pools) or 0.0 for of_pools in of.values())
        for part, of in shares.items()
        if part in _PARTS and of
    }
    said = []
    if busiest:
        part = max(busiest, key=lambda each: busiest[each])
        said.append(f"measuring took {percent(busiest[part])} of a core ({part})")
    hosts = list((summary.get("surroundings") or {}).values())
    for key, words in (("others_share", "other programmes"), ("steal_share", "stolen")):
        known = [of[key] for of in hosts if of.get(key) is not None]
        if known:
            said.append(f"{words} {percent(max(known))}")
        elif key == "others_share" and (why := next(_unknown(hosts), "")):
            said.append(f"{words} not known: {why}")
    return " · ".join(said)


def _unknown(hosts: list[Summary]) -> Iterator[str]:
    return (of["others_unknown"] for of in hosts if of.get("others_unknown"))


def build(summary: Summary) -> tuple[str, ...]:
    """Return which Python it was, to the compiler."""
    python = summary["machine"].get("python")
    return (f"Python: {python}",) if python else ()


def provenance(summary: Summary) -> tuple[str, ...]:
    """Return what poolproof itself was, in a line; none if nothing is known."""
    versions, plan = summary["versions"], summary.get("plan") or {}
    commit = f" (commit {versions['commit']})" if versions.get("commit") else ""
    own = {
        f"redis-py {versions.get('redis')}": versions.get("redis"),
        f"poolproof {versions.get('poolproof')}{commit}": versions.get("poolproof"),
        f"seed {plan.get('seed')}": plan.get("seed") is not None,
    }
    line = " · ".join(words for words, known in own.items() if known)
    return (line,) if line else ()


def called(summary: Summary) -> tuple[str, ...]:
    """Return the command line that made the run, as a shell takes it; none if it is not known."""
    return (f"$ {shlex.join(summary['command'])}",) if summary.get("command") else ()


# --- parts ----------------------------------------------------------------------------------------


def _most(of_pools: Mapping[str, float] | None) -> float | None:
    return max((of_pools or {}).values(), default=None)


def _rate(per_s: float | None) -> str:
    return NOTHING if per_s is None else rate(per_s)


def _count(number: float | None) -> str:
    return NOTHING if number is None else count(round(number))
