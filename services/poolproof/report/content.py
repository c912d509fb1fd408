"""What a report says: tables of words and written-out numbers, for every format to lay out."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from statistics import median
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Summary: TypeAlias = "Mapping[str, Any]"

#: What stands where nothing is known or nothing applies.
NOTHING: Final = "-"
_PACKAGES: Final = {"redis": "redis-py", "python": "Python"}
_BAR_CELLS: Final = 18
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table. Numbers stand to the right."""

    heading: str
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
    "running": "running at that moment",
    "interrupted": "innocent, interrupted",
    "stranded": "innocent, stranded in the broker",
    "recovered": "came back and finished",
    "lost": "lost for good",
    "repeated": "ran to the end twice",
}

#: Key in `recovery_s` -> what it says.
_RECOVERY_ROWS: Final = {
    "detect": "until it was noticed",
    "slot_back": "until the slot was back",
    "redelivered": "until the stranded ran again",
    "throughput_back": "until 90 % of the throughput",
}


def caveat(summary: Summary) -> str:
    """Return why the figures below must not be believed; empty if they may."""
    return "" if summary.get("valid", True) else "NOT A BENCHMARK RESULT: see the warnings."


def tables(summary: Summary) -> tuple[Table, ...]:
    """Return all tables that the summary has figures for, in the order in which they are read."""
    found = (
        throughput(summary),
        *comparisons(summary),
        memory(summary),
        *crashes(summary),
        books(summary),
    )
    return tuple(table for table in found if table.rows)


def facts(summary: Summary) -> tuple[str, ...]:
    """Return what the run ran on, a line a subject."""
    subjects = (
        _hardware(summary.get("machine", {})),
        _software(summary.get("versions", {})),
    )
    return tuple(line for line in map(" · ".join, subjects) if line)


def warnings(summary: Summary) -> tuple[str, ...]:
    """Return each warning with its advice, a line each."""
    return tuple(f"{one['code'].replace('_', ' ')}: {one['advice']}" for one in summary["warnings"])


def throughput(summary: Summary) -> Table:
    """Return the tasks a second of every workload and pool; the bar is its share of the best."""
    rows = []
    for workload in _workloads(summary):
        figures = {
            pool: of["workloads"][workload]["throughput_per_s"]
            for pool, of in summary["pools"].items()
            if workload in of.get("workloads", {})
        }
        best = max(figure["median"] for figure in figures.values())
        for index, (pool, figure) in enumerate(figures.items()):
            per_s = figure["median"]
            name = "" if index else workload
            rows.append((name, pool, rate(per_s), _spread(figure["blocks"]), bar(per_s / best)))
    return Table(
        "Throughput",
        "Tasks a second: the median of the blocks, and their range.",
        (_WORDS, Column("pool"), Column("tasks/s", numbers=True), _NUMBERS, _WORDS),
        tuple(rows),
    )


def comparisons(summary: Summary) -> tuple[Table, ...]:
    """Return one table for each pair of pools."""
    pairs = groupby(summary.get("comparisons", ()), key=lambda one: (one["a"], one["b"]))
    return tuple(
        Table(
            f"{a} against {b}",
            "The first divided by the second, with a 95 % interval; 1.00 is equal.",
            (_WORDS, Column("ratio", numbers=True), Column("between", numbers=True), _WORDS),
            tuple(_comparison(one) for one in found),
        )
        for (a, b), found in pairs
    )


def memory(summary: Summary) -> Table:
    """Return the memory of each pool's process tree."""
    rows = [
        (pool, size(of.get("pss_idle_bytes")), size(of.get("pss_loaded_bytes")))
        for pool, of in ((pool, figures.get("memory", {})) for pool, figures in _pools(summary))
        if of
    ]
    return Table(
        "Memory",
        "Of all processes of a worker, shared pages counted once (PSS).",
        (_WORDS, Column("idle", numbers=True), Column("under load", numbers=True)),
        tuple(rows),
    )


def crashes(summary: Summary) -> tuple[Table, ...]:
    """Return one table for each fault and policy: a column a pool, repeats added up."""
    kinds: dict[tuple[str, str], dict[str, list[Summary]]] = {}
    for crash in summary.get("crashes", ()):
        pools = kinds.setdefault((crash["fault"], crash["policy"]), {})
        pools.setdefault(crash["pool"], []).append(crash)
    return tuple(_crash(fault, policy, pools) for (fault, policy), pools in kinds.items())


def books(summary: Summary) -> Table:
    """Return what became of every task that was enqueued."""
    account = summary["books"]
    rows = [(verdict, count(number)) for verdict, number in account["verdicts"].items() if number]
    balance = "the books balance" if account["balanced"] else "THE BOOKS DO NOT BALANCE"
    return Table(
        "Books",
        f"{count(account['enqueued'])} tasks were enqueued, and this became of them: {balance}.",
        (_WORDS, Column("tasks", numbers=True)),
        tuple(rows),
    )


# --- numbers, written out -------------------------------------------------------------------------


def rate(per_s: float) -> str:
    """Write a rate with three digits or more."""
    return f"{per_s:,.{0 if per_s >= 100 else 1 if per_s >= 10 else 2}f}"


def count(number: float) -> str:
    """Write a whole number."""
    return f"{number:,.0f}"


def size(number: float | None) -> str:
    """Write a number of bytes."""
    return NOTHING if number is None else f"{number / 1e6:,.0f} MB"


def seconds(number: float | None) -> str:
    """Write a time that may not have come."""
    return NOTHING if number is None else f"{number:.2f} s" if number < 10 else f"{number:.0f} s"


def bar(share: float) -> str:
    """Draw a share of 1 as a bar."""
    whole, part = divmod(round(share * _BAR_CELLS * 8), 8)
    return ("█" * whole + _EIGHTHS[part]).rstrip()


# --- parts ----------------------------------------------------------------------------------------

_WORDS: Final = Column("")
_NUMBERS: Final = Column("", numbers=True)


def _pools(summary: Summary) -> Iterable[tuple[str, Summary]]:
    pools: Mapping[str, Summary] = summary.get("pools", {})
    return pools.items()


def _workloads(summary: Summary) -> Sequence[str]:
    return list(dict.fromkeys(name for _, of in _pools(summary) for name in of["workloads"]))


def _hardware(machine: Summary) -> Iterable[str]:
    if machine.get("cpu"):
        yield machine["cpu"]
    if cores := machine.get("usable_cores") or machine.get("cores"):
        yield f"{cores} cores"
    if cpus := machine.get("cgroup_cpus"):
        yield f"limited to {cpus:g} CPUs"
    if memory_bytes := machine.get("memory_bytes"):
        yield f"{memory_bytes / 1e9:.0f} GB"
    if machine.get("system"):
        yield machine["system"]


def _software(versions: Summary) -> Iterable[str]:
    for name in ("server", "celery", "kombu", "billiard", "redis", "python"):
        if version := versions.get(name):
            yield str(version) if name == "server" else f"{_PACKAGES.get(name, name)} {version}"


def _spread(blocks: Sequence[float]) -> str:
    return f"{rate(min(blocks))} - {rate(max(blocks))}" if blocks else NOTHING


def _comparison(one: Summary) -> tuple[str, ...]:
    name = one["workload"] if one["measure"] == "throughput" else " ".join(_named(one))
    between = f"{one['low']:.2f} - {one['high']:.2f}"
    return name, f"{one['ratio']:.2f}", between, _winner(one)


def _named(one: Summary) -> Iterable[str]:
    return (part.replace("_", " ") for part in (one["workload"], one["measure"]) if part)


def _winner(one: Summary) -> str:
    if one["verdict"] in {"a", "b"}:
        return f"{one[one['verdict']]} wins"
    return str(one["verdict"])


def _crash(fault: str, policy: str, pools: Mapping[str, Sequence[Summary]]) -> Table:
    repeats = pools.values()
    rows = [(title, *(_total(key, of) for of in repeats)) for key, title in _CRASH_ROWS.items()]
    rows += [
        (title, *(_typical(key, of) for of in repeats)) for key, title in _RECOVERY_ROWS.items()
    ]
    rows.append(("restarted by", *(_restarters(of) for of in repeats)))
    headings = (f"{pool} x{len(of)}" if len(of) > 1 else pool for pool, of in pools.items())
    return Table(
        f"One {fault}",
        f"What it took along, in tasks (acknowledged {policy}), and how long recovery took.",
        (_WORDS, *(Column(heading, numbers=True) for heading in headings)),
        tuple(row for row in rows if set(row[1:]) != {NOTHING}),
    )


def _total(key: str, repeats: Sequence[Summary]) -> str:
    return count(sum(crash[key] for crash in repeats))


def _typical(key: str, repeats: Sequence[Summary]) -> str:
    times = [crash["recovery_s"].get(key) for crash in repeats if crash.get("recovery_s")]
    known = [time for time in times if time is not None]
    return seconds(median(known)) if known else NOTHING


def _restarters(repeats: Sequence[Summary]) -> str:
    return ", ".join(dict.fromkeys(str(crash.get("restarted_by") or NOTHING) for crash in repeats))
