"""What a report says: tables of words and written-out numbers, for every format to lay out."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from statistics import median
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from poolproof.report.figures import NOTHING, bar, count, rate, seconds, size

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


#: Key of a crash -> what it says.
_CRASH_ROWS: Final = {
    "running": "innocent tasks running at that moment",
    "interrupted": "  of these, interrupted",
    "stranded": "waiting in the worker, now stranded",
    "recovered": "came back and finished",
    "lost": "lost for good",
    "repeated": "ran to the end twice",
    "slots_gone": "slots gone",
}

#: Key in a crash's `recovery_s` -> what it says.
_RECOVERY_ROWS: Final = {
    "detect": "until it was noticed",
    "slot_back": "until the slots worked again",
    "redelivered": "until the stranded ran again",
    "throughput_back": "until 90 % of the throughput",
}

#: Part of a task's time, in the order in which a report has them -> what it says.
_LATENCIES: Final = {
    "running": "",
    "total": ", from when it was due",
    "queued": ", in the queue",
    "prefetched": ", in the worker",
}


def tables(summary: Summary) -> tuple[Table, ...]:
    """Return all tables that the summary has figures for, in the order in which they are read."""
    found = (
        throughput(summary),
        *comparisons(summary),
        durations(summary),
        costs(summary),
        *crashes(summary),
        books(summary),
    )
    return tuple(table for table in found if table.rows)


def facts(summary: Summary) -> tuple[str, ...]:
    """Return what the run ran on, a line a subject."""
    machine, versions = summary["machine"], summary["versions"]
    subjects = (_hardware(machine), _software(versions, machine))
    return tuple(line for line in map(" · ".join, subjects) if line)


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
    """Return how long tasks took, by the percentiles that their number supports."""
    rows = list(_duration_rows(summary))
    names = sorted({name for _, _, of in rows for name in of}, key=lambda name: float(name[1:]))
    return Table(
        "Time a task took to run",
        "Half of the tasks took at most p50, nine of ten at most p90, and so on.",
        (Column(), Column("pool"), *(Column(name, numbers=True) for name in names)),
        tuple((what, pool, *(seconds(of.get(n)) for n in names)) for what, pool, of in rows),
    )


def costs(summary: Summary) -> Table:
    """Return the memory of each pool's processes, and how long they took to start."""
    rows = [
        (
            pool,
            size(of["memory"].get("pss_idle_bytes")),
            size(of["memory"].get("pss_loaded_bytes")),
            seconds(of.get("start_up_s")),
        )
        for pool, of in summary["pools"].items()
    ]
    headings = ("idle", "under load", "ready after")
    return Table(
        "Memory and start",
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
    detectable = one.get("smallest_detectable")
    return str(one["verdict"]) + (f" ({detectable:.2f} would show)" if detectable else "")


def _duration_rows(summary: Summary) -> Iterable[tuple[str, str, dict[str, float]]]:
    for workload, figures in _by_workload(summary):
        for part, words in _LATENCIES.items():
            parts = {pool: of.get("latency_s", {}).get(part) for pool, of in figures.items()}
            known = {pool: of for pool, of in parts.items() if of}
            for pool, of in known.items():
                name = workload + words if pool == next(iter(known)) else ""
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


def _restarted_by(repeats: Sequence[Summary]) -> str:
    return ", ".join(dict.fromkeys(crash["restarted_by"] or NOTHING for crash in repeats))
