"""What a report says: tables of words and written-out numbers, for every format to lay out."""

from __future__ import annotations

import math
from itertools import groupby
from typing import TYPE_CHECKING, Final

from poolproof.judge.outcome import LESS, MORE, NOISY, in_words
from poolproof.judge.performance.memory import measure
from poolproof.report import crash_tables, machine
from poolproof.report.figures import NOTHING, bar, count, percent, rate, seconds, size, switches
from poolproof.report.tables import Column, Table, by_workload

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from poolproof.report.tables import Summary


#: Outcome of a comparison in a run that is no benchmark result.
_NOT_JUDGED: Final = "not judged: see the warnings"
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
        *(() if short and machine.machines(summary) < 2 else (machine.hosts(summary),)),
        *(() if short and summary.get("sweep") else (throughput(summary),)),
        *comparisons(summary),
        *sweeps(summary),
        efforts(summary),
        durations(summary),
        costs(summary),
        *crash_tables.crashes(summary),
        *(() if is_said else (crash_tables.noticed(summary),)),
        *(() if is_said else (books(summary),)),
    )
    return tuple(table for table in found if table.rows)


def differences(summary: Summary) -> Table:
    """Return in what the sides differ beside what their names say."""
    found: Summary = summary.get("differences") or {}
    same = "" if machine.apart(summary, summary["pools"]) else "; all else was the same"
    return Table(
        "Where the sides differ",
        f"What each was told, and what it ran on{same}.",
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
    for workload, figures in by_workload(summary):
        rates = {pool: of["throughput_per_s"] for pool, of in figures.items()}
        best = max(of["median"] for of in rates.values())
        for pool, of in rates.items():
            name = workload if pool == next(iter(rates)) else ""
            share = bar(of["median"] / best)
            rows.append((name, pool, rate(of["median"]), _range(of["blocks"]), share))
    return Table(
        "Throughput",
        f"Tasks a second: the median of the rounds, and their range."
        f"{machine.apart(summary, summary['pools'])}",
        (Column(), Column("pool"), Column("tasks/s", numbers=True), _NUMBERS, Column()),
        tuple(rows),
    )


def judged(summary: Summary) -> list[Summary]:
    """Return the comparisons of a run; if it is no benchmark result none of them is judged."""
    outcome = {} if summary["valid"] else {"outcome": _NOT_JUDGED}
    return [{**one, **outcome} for one in summary["comparisons"]]


def comparisons(summary: Summary) -> tuple[Table, ...]:
    """Return one table for each pair of pools."""
    pairs = groupby(judged(summary), key=lambda one: (one["a"], one["b"]))
    how = "round by round, " if all(one.get("rounds") for one in summary["comparisons"]) else ""
    return tuple(
        Table(
            f"{a} against {b}",
            f"The first's tasks a second divided by the second's, {how}with a 95 % interval."
            f"{machine.apart(summary, (a, b))}",
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
        _offered(summary) + machine.apart(summary, summary["pools"]),
        (Column(), Column("pool"), *(Column(name, numbers=True) for name in names)),
        tuple((what, pool, *(seconds(of.get(n)) for n in names)) for what, pool, of in rows),
    )


def efforts(summary: Summary) -> Table:
    """Return what a task took of its pool, workload by workload."""
    rows = []
    for workload, figures in by_workload(summary):
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
        "Median time in its slot; CPU and context switches of all processes of the pool."
        f"{machine.apart(summary, summary['pools'])}",
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
    by = measure(summary["pools"])
    states = (f"{by}_idle", f"{by}_loaded", f"{by}_after", f"{by}_slot", "rss_loaded")
    keys = tuple(f"{state}_bytes" for state in states)
    rows = [
        (
            pool,
            *(size(of["memory"].get(key)) for key in keys),
            seconds(of.get("start_up_s")),
            seconds(of.get("stop_s")),
        )
        for pool, of in summary["pools"].items()
    ]
    headings = ("idle", "loaded", "after", "a slot", "RSS", "ready in", "stops in")
    return Table(
        "Memory, start and stop",
        f"Memory of all processes: shared pages {_PAGES[by]}; in RSS, once a process."
        f"{machine.apart(summary, summary['pools'])}",
        (Column(), *(Column(heading, numbers=True) for heading in headings)),
        tuple(rows),
    )


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


def outcome(one: Summary) -> str:
    """Return what a comparison says, in a few words; until it is judged, that it is not."""
    if one["outcome"] in {MORE, LESS}:
        return f"{one['a' if one['outcome'] == MORE else 'b']} did more"
    if one["outcome"] != NOISY:
        return one["outcome"] or "not judged yet"
    # Up: what would show is never said to be less than it is.
    digits = _digits(one)
    least = math.ceil(10**digits * one["smallest_detectable"]) / 10**digits
    return f"{in_words(one)} ({least:.{digits}f} would show)"


# --- parts ----------------------------------------------------------------------------------------

_NUMBERS: Final = Column(numbers=True)
#: Nearer to 1 two digits may not tell on which side of `LEAST` a ratio is.
_NEAR: Final = 0.02

#: Measure of memory -> how pages count that processes share.
_PAGES: Final = {
    "pss": "count once (PSS)",
    "uss": "left out (USS)",
}


def _range(rates: Sequence[float]) -> str:
    return f"{rate(min(rates))} - {rate(max(rates))}"


def _comparison(one: Summary) -> tuple[str, ...]:
    digits = _digits(one)
    between = f"{one['low']:.{digits}f} - {one['high']:.{digits}f}"
    return one["workload"], f"{one['ratio']:.{digits}f}", between, outcome(one)


def _digits(one: Summary) -> int:
    """Return as many as tell whether an end of the interval is beyond `LEAST`."""
    return 3 if min(abs(one[end] - 1) for end in ("low", "high")) < _NEAR else 2


def _open_loops(summary: Summary) -> Iterator[tuple[str, dict[str, Summary]]]:
    """Yield each workload that was sent at a set rate, with the figures of every such pool."""
    for workload, figures in by_workload(summary):
        found = {pool: of["open_loop"] for pool, of in figures.items() if of.get("open_loop")}
        if found:
            yield workload, found


def _offered(summary: Summary) -> str:
    told = []
    for workload, figures in _open_loops(summary):
        offered = rate(max(of["offered_per_s"] for of in figures.values()))
        late = [pool for pool, of in figures.items() if of["overloaded"]]
        behind = f" ({' and '.join(late)} could not keep up)" if late else ""
        done = [rate(of["achieved_per_s"]) for of in figures.values() if of.get("achieved_per_s")]
        achieved = f", {' and '.join(done)} done" if done else ""
        told.append(f"{offered} {workload} tasks a second due{achieved}{behind}")
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
