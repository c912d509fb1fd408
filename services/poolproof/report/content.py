"""What a report says: tables of words and written-out numbers, for every format to lay out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
from statistics import median
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from poolproof.judge.defaults import by_default
from poolproof.report.figures import NOTHING, bar, count, percent, rate, seconds, size, switches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

Summary: TypeAlias = "Mapping[str, Any]"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table. Numbers stand to the right."""

    heading: str = ""
    numbers: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A titled table; every row has a cell for every column."""

    title: str
    note: str  #: how to read it, in one sentence
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    detail: bool = False  #: only for who wants to know more


#: Key of a crash -> what it says.
_CRASH_ROWS: Final = {
    "running": "innocent tasks running at that moment",
    "interrupted": "  of these, interrupted",
    "stranded": "waiting in the worker, now stranded",
    "recovered": "came back and finished",
    "lost": "lost for good",
    "repeated": "ended more than once",
    "slots_gone": "slots gone",
}

#: Key in a crash's `recovery_s` -> what it says.
_RECOVERY_ROWS: Final = {
    "detect": "until it was noticed",
    "slot_back": "until the slots worked again",
    "redelivered": "until the stranded ran again",
    "throughput_back": "until 90 % of the throughput",
}

#: Part of a task's time in an open loop, in the order in which a report has them -> what it says.
_LATENCIES: Final = {
    "total": "from when it was due to its end",
    "queued": "  in the queue",
    "prefetched": "  in the worker",
    "running": "  running",
}


def tables(summary: Summary, *, short: bool = False) -> tuple[Table, ...]:
    """Return all tables that the summary has figures for, in the order in which they are read.

    With `short` those are left out that only say again what another table or a sentence says.
    """
    is_said = short and summary["comparisons"] and summary["books"]["balanced"]
    found = (
        differences(summary),
        *(() if short and summary.get("sweep") else (throughput(summary),)),
        *comparisons(summary),
        *sweeps(summary),
        efforts(summary),
        durations(summary),
        costs(summary),
        *crashes(summary),
        *(() if is_said else (books(summary),)),
    )
    return tuple(table for table in found if table.rows)


def facts(summary: Summary) -> tuple[str, ...]:
    """Return what the run ran on, a line a subject."""
    machine, versions = summary["machine"], _common_versions(summary)
    subjects = (_hardware(machine), _software(versions, machine))
    return tuple(line for line in map(" · ".join, subjects) if line)


def differences(summary: Summary) -> Table:
    """Return in what the sides differ beside what their names say."""
    found: Summary = summary.get("differences") or {}
    return Table(
        "Where the sides differ",
        "What each was told, and what it ran on; all else was the same.",
        (Column(), *(Column(side) for side in summary["pools"])),
        tuple(
            (what, *(of.get(side) or NOTHING for side in summary["pools"]))
            for what, of in found.items()
        ),
    )


def caveat(summary: Summary) -> str:
    """Return why the figures must not be believed; empty if they may."""
    return "" if summary["valid"] else "NOT A BENCHMARK RESULT: see the warnings."


def warnings(summary: Summary) -> tuple[str, ...]:
    """Return each warning with its advice, a line each."""
    return tuple(f"{one['code'].replace('_', ' ')}: {one['advice']}" for one in summary["warnings"])


def throughput(summary: Summary) -> Table:
    """Return the tasks a second of every workload and pool; the bar is its share of the best."""
    rows = []
    for workload, figures in _by_workload(summary):
        rates = {pool: of["throughput_per_s"] for pool, of in figures.items()}
        best = max(of["median"] for of in rates.values())
        for pool, of in rates.items():
            name = workload if pool == next(iter(rates)) else ""
            share = bar(of["median"] / best)
            rows.append((name, pool, rate(of["median"]), _range(of["blocks"]), share))
    return Table(
        "Throughput",
        "Tasks a second: the median of the blocks, and their range.",
        (Column(), Column("pool"), Column("tasks/s", numbers=True), _NUMBERS, Column()),
        tuple(rows),
    )


def comparisons(summary: Summary) -> tuple[Table, ...]:
    """Return one table for each pair of pools."""
    pairs = groupby(summary["comparisons"], key=lambda one: (one["a"], one["b"]))
    return tuple(
        Table(
            f"{a} against {b}",
            "The first's tasks a second divided by the second's, with a 95 % interval.",
            (Column(), Column("ratio", numbers=True), Column("between", numbers=True), Column()),
            tuple(_comparison(one) for one in found),
        )
        for (a, b), found in pairs
    )


def durations(summary: Summary) -> Table:
    """Return how long tasks took that were sent at a set rate, and where they waited."""
    rows = list(_duration_rows(summary))
    names = sorted({name for _, _, of in rows for name in of}, key=lambda name: float(name[1:]))
    return Table(
        "Time to the end of a task that comes in at a set rate",
        _offered(summary),
        (Column(), Column("pool"), *(Column(name, numbers=True) for name in names)),
        tuple((what, pool, *(seconds(of.get(n)) for n in names)) for what, pool, of in rows),
    )


def efforts(summary: Summary) -> Table:
    """Return what a task took of its pool, workload by workload."""
    rows = []
    for workload, figures in _by_workload(summary):
        for index, (pool, of) in enumerate(figures.items()):
            effort = of.get("effort") or {}
            rows.append(
                (
                    "" if index else workload,
                    pool,
                    seconds(of["latency_s"].get("running", {}).get("p50")),
                    seconds(effort.get("cpu_s_per_task")),
                    switches(effort.get("ctx_voluntary_per_task")),
                    switches(effort.get("ctx_involuntary_per_task")),
                    percent(of.get("utilisation")),
                )
            )
    headings = ("ran", "CPU", "waits", "evicted", "slots busy")
    return Table(
        "What a task took",
        "Median time in its slot; CPU and context switches of all processes of the pool.",
        (Column(), Column("pool"), *(Column(heading, numbers=True) for heading in headings)),
        tuple(row for row in rows if set(row[2:]) != {NOTHING}),
    )


def sweeps(summary: Summary) -> tuple[Table, ...]:
    """Return one table for each workload of a sweep: tasks a second by the number of slots."""
    swept = summary.get("sweep")
    if not swept:
        return ()
    names = dict.fromkeys(curve["workload"] for curve in swept["curves"])
    return tuple(_sweep(swept, workload) for workload in names)


def _sweep(swept: Summary, workload: str) -> Table:
    curves = [curve for curve in swept["curves"] if curve["workload"] == workload]
    by_slots = [{p["concurrency"]: p for p in curve["points"]} for curve in curves]
    rows = [
        (str(slots), *(_swept(points.get(slots)) for points in by_slots))
        for slots in swept["concurrency"]
    ]
    return Table(
        f"{workload} by the number of slots",
        "Tasks a second: the median, and its 95 % interval.",
        (
            Column("slots", numbers=True),
            *(Column(curve["pool"], numbers=True) for curve in curves),
        ),
        tuple(rows),
    )


def _swept(point: Summary | None) -> str:
    if point is None:
        return NOTHING
    between = f" ({rate(point['low'])} - {rate(point['high'])})" if point["low"] else ""
    return rate(point["throughput_per_s"]) + between


def costs(summary: Summary) -> Table:
    """Return the memory of each pool's processes, and how long they took to start and to stop."""
    keys = ("pss_idle_bytes", "pss_loaded_bytes", "pss_after_bytes", "pss_slot_bytes")
    rows = [
        (
            pool,
            *(size(of["memory"].get(key)) for key in keys),
            seconds(of.get("start_up_s")),
            seconds(of.get("stop_s")),
        )
        for pool, of in summary["pools"].items()
    ]
    headings = ("idle", "loaded", "after", "a slot", "ready in", "stops in")
    return Table(
        "Memory, start and stop",
        "Memory of all processes of a pool, with shared pages counted once (PSS).",
        (Column(), *(Column(heading, numbers=True) for heading in headings)),
        tuple(rows),
    )


def crashes(summary: Summary) -> tuple[Table, ...]:
    """Return one table for each fault and policy: a column a pool, repeats added up."""
    kinds: dict[tuple[str, str], dict[str, list[Summary]]] = {}
    for crash in summary["crashes"]:
        pools = kinds.setdefault((crash["fault"], crash["policy"]), {})
        pools.setdefault(crash["pool"], []).append(crash)
    return tuple(_crash(fault, policy, pools) for (fault, policy), pools in kinds.items())


def books(summary: Summary) -> Table:
    """Return what became of every task that was enqueued, on each pool and in all."""
    account = summary["books"]
    by_pool = account.get("by_pool", {})
    rows = [
        (verdict, *(count(of.get(verdict, 0)) for of in by_pool.values()), count(number))
        for verdict, number in account["verdicts"].items()
        if number
    ]
    balance = "the books balance" if account["balanced"] else "THE BOOKS DO NOT BALANCE"
    return Table(
        "Books",
        f"{count(account['enqueued'])} tasks were enqueued, and this became of them: {balance}.",
        (Column(), *(Column(pool, numbers=True) for pool in by_pool), Column("all", numbers=True)),
        tuple(rows),
    )


# --- parts ----------------------------------------------------------------------------------------

_NUMBERS: Final = Column(numbers=True)


def _by_workload(summary: Summary) -> Iterator[tuple[str, dict[str, Summary]]]:
    """Yield each workload with its figures of every pool that did it."""
    pools = summary["pools"]
    for name in dict.fromkeys(name for of in pools.values() for name in of["workloads"]):
        yield name, {p: of["workloads"][name] for p, of in pools.items() if name in of["workloads"]}


def _hardware(machine: Summary) -> Iterator[str]:
    if cpu := machine.get("cpu"):
        yield cpu
    if cores := machine.get("usable_cores"):
        yield f"{cores} cores"
    if cpus := machine.get("cgroup_cpus"):
        yield f"limited to {cpus:g} CPUs"
    if memory_bytes := machine.get("cgroup_memory_bytes") or machine.get("memory_bytes"):
        yield f"{memory_bytes / 1e9:.0f} GB"
    if system := machine.get("system"):
        yield system


def _common_versions(summary: Summary) -> Summary:
    """Return the versions that hold for all sides; where they differ a table has them."""
    sides = [
        (of.get("terms") or {}).get("versions") or {} for of in summary.get("pools", {}).values()
    ]
    common = dict(summary["versions"])
    for name in {name for of in sides for name in of}:
        said = {of.get(name) for of in sides}
        common[name] = said.pop() if len(said) == 1 else None
    return common


def _software(versions: Summary, machine: Summary) -> Iterator[str]:
    names = {"celery": "Celery ", "kombu": "kombu ", "billiard": "billiard ", "python": "Python "}
    for name, words in ({"server": ""} | names).items():
        if version := versions.get(name):
            yield f"{words}{version}"
    if machine.get("gil") is False:
        yield "no GIL"


def _range(blocks: Sequence[float]) -> str:
    return f"{rate(min(blocks))} - {rate(max(blocks))}"


def _comparison(one: Summary) -> tuple[str, ...]:
    between = f"{one['low']:.2f} - {one['high']:.2f}"
    return one["workload"], f"{one['ratio']:.2f}", between, _outcome(one)


def _outcome(one: Summary) -> str:
    if one["verdict"] in {"a", "b"}:
        return f"{one[one['verdict']]} did more"
    if not (detectable := one.get("smallest_detectable")):
        return str(one["verdict"])
    # Up: what would show is never said to be less than it is.
    return f"{one['verdict']} ({math.ceil(100 * detectable) / 100:.2f} would show)"


def _open_loops(summary: Summary) -> Iterator[tuple[str, dict[str, Summary]]]:
    """Yield each workload that was sent at a set rate, with the figures of every such pool."""
    for workload, figures in _by_workload(summary):
        found = {pool: of["open_loop"] for pool, of in figures.items() if of.get("open_loop")}
        if found:
            yield workload, found


def _offered(summary: Summary) -> str:
    told = []
    for workload, figures in _open_loops(summary):
        offered = rate(max(of["offered_per_s"] for of in figures.values()))
        late = [pool for pool, of in figures.items() if of["overloaded"]]
        behind = f" ({' and '.join(late)} could not keep up)" if late else ""
        told.append(f"{offered} {workload} tasks a second{behind}")
    return f"Open loop: {'; '.join(told)}."


def _duration_rows(summary: Summary) -> Iterable[tuple[str, str, dict[str, float]]]:
    loops = list(_open_loops(summary))
    for workload, figures in loops:
        for part, words in _LATENCIES.items():
            parts = {pool: of["latency_s"].get(part) for pool, of in figures.items()}
            known = {pool: of for pool, of in parts.items() if of}
            what = f"{workload} {words}" if len(loops) > 1 and part == "total" else words
            for pool, of in known.items():
                name = what if pool == next(iter(known)) else ""
                yield name, pool, {key: at for key, at in of.items() if key.startswith("p")}


def _crash(fault: str, policy: str, pools: Mapping[str, Sequence[Summary]]) -> Table:
    repeats = pools.values()
    counts = [(words, *(_total(key, of) for of in repeats)) for key, words in _CRASH_ROWS.items()]
    times = [
        (words, *(_typical(key, of) for of in repeats)) for key, words in _RECOVERY_ROWS.items()
    ]
    rows = [
        *counts,
        ("restarted by", *(_restarted_by(of) for of in repeats)),
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


#: Policy -> when a message is acknowledged under it.
ACKNOWLEDGED: Final = {
    "early": "before they run",
    "late": "after they ran",
    "late-reject": "after they ran, put back when their slot is lost",
    "late-retry": "after they ran, retried when their slot is lost",
}


def _total(key: str, repeats: Sequence[Summary]) -> str:
    return count(sum(crash[key] for crash in repeats))


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


def _restarted_by(repeats: Sequence[Summary]) -> str:
    return ", ".join(dict.fromkeys(crash["restarted_by"] or NOTHING for crash in repeats))
