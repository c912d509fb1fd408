"""A summary as the judge makes it, with figures as they were once measured."""

from __future__ import annotations

from typing import Any

from poolproof.judge.outcome import of_workers
from poolproof.judge.performance.ratios import compared
from poolproof.judge.performance.statistics import Ratio

DUE = {"first": 2.97, "last": 4.85, "visibility_timeout_s": 4.0, "sweep_s": 1.0}


def comparison_of_two() -> dict[str, Any]:
    """Return the summary of a comparison of prefork:4 with threads:4, a segfault at its end."""
    return {
        "format": 1,
        "run": "20261122-203015-1a2b3c4d",
        "plan": {"name": "compare", "seed": 7, "fresh": True},
        "command": ["poolproof", "compare", "--out", "my runs"],
        "pools": {
            "prefork:4": {
                "concurrency": 4,
                "workloads": {
                    "square": _work((1012.4, 987.0, 1038.9), 0.0000214),
                    "sleep:50ms": _work((77.81, 77.2, 78.0), 0.0506),
                    "cpu:5ms": _work((341.7, 330.2, 349.9), 0.0112),
                },
                "memory": {"pss_idle_bytes": 146_300_000, "pss_loaded_bytes": 151_800_000},
                "start_up_s": 1.31,
            },
            "threads:4": {
                "concurrency": 4,
                "workloads": {
                    "square": _work((1043.0, 1011.3, 1077.2), 0.0000198),
                    "sleep:50ms": _work((78.22, 78.0, 78.4), 0.0505),
                    "cpu:5ms": _work((172.3, 168.8, 175.1), 0.0213),
                },
                "memory": {"pss_idle_bytes": 54_100_000, "pss_loaded_bytes": 55_000_000},
                "start_up_s": 1.04,
            },
        },
        "comparisons": [
            comparison("square", 0.971, 0.932, 1.012),
            comparison("sleep:50ms", 0.989, 0.986, 0.992),
            comparison("cpu:5ms", 1.983, 1.92, 2.05),
        ],
        "crashes": [
            _crash("prefork:4", (3, 0, 0, 0, 0, 0, 1), "pool", slot_back=0.213),
            _crash("threads:4", (3, 3, 16, 16, 3, 0, 4), "supervisor", slot_back=2.41),
        ],
        "books": {
            "enqueued": 12_346,
            "verdicts": {"completed": 12_341, "recovered": 0, "failed": 1, "lost": 4},
            "balanced": True,
            "by_pool": {
                "prefork:4": {"completed": 6_172, "failed": 1},
                "threads:4": {"completed": 6_169, "lost": 4},
            },
        },
        "machine": {
            "cpu": "Example CPU @ 2.50GHz",
            "cores": 2,
            "usable_cores": 2,
            "cgroup_cpus": None,
            "cgroup_memory_bytes": None,
            "gil": True,
            "python": "CPython 3.11.7 (main, Jan  1 2026; GCC 13.3.0)",
            "memory_bytes": 8_000_000_000,
            "system": "Linux 6.8.0",
        },
        "versions": {
            "celery": "5.7.0",
            "kombu": "5.7.0",
            "billiard": "4.3.2",
            "redis": "8.1.0",
            "python": "3.11.7",
            "server": "Valkey 9.1.2",
            "poolproof": "0.1.0",
            "commit": "0123456789ab",
        },
        "warnings": [],
        "valid": True,
        "sentences": [
            "For CPU work prefork:4 did 1.98 times as much as threads:4.",
            "One segfault took 0 neighbours with it under prefork:4, and 3 of 3 under threads:4.",
        ],
    }


def comparison_with_all() -> dict[str, Any]:
    """Return the same with what only some runs have: an open loop, efforts, a sweep."""
    summary = comparison_of_two()
    for index, of in enumerate(summary["pools"].values()):
        for figures in of["workloads"].values():
            figures["effort"] = {"cpu_s_per_task": 0.0008 + 0.0003 * index}
            spans = {"n": 900, "p50": 0.002, "p90": 0.004 + 0.001 * index}
            parts = ("queued", "prefetched", "running", "total")
            latency_s = {part: {**spans} for part in parts}
            loop = {"offered_per_s": 700.0, "achieved_per_s": 698.0 + index, "overloaded": False}
            waited = {"backlog": {"most": 17, "at_the_end": 3}, "sent_late_s": {"most": 0.0042}}
            loop |= {**waited, "latency_s": latency_s, "acknowledging": "before it"}
            figures["open_loop"] = loop
    shares = {"producer": 0.41, "redis": 0.22, "collector": 0.08, "supervisor": 0.03}
    summary["harness"] = {
        "cpu_share": {
            part: {"square": {"prefork:4": share / 2, "threads:4": share}}
            for part, share in shares.items()
        },
        "ceiling_per_s": {"square": 2470.0},
        "limited": [],
    }
    summary["surroundings"] = {
        "threads@host": {
            "steal_share": 0.0, "others_share": 0.031, "busy_share": 0.62, "swapped_pages": 12.0,
            "throttled_share": None, "load": 2.25,
        }
    }  # fmt: skip
    for of in summary["pools"].values():
        of["terms"] = {"settings": {"policy": "early", "prefetch": "4"}, "versions": {}}
    points = [
        {"concurrency": n, "throughput_per_s": 90.0 * n, "low": 88.0 * n, "high": 93.0 * n}
        for n in (1, 2, 4)
    ]
    curves = [
        {"pool": pool, "workload": "square", "points": points} for pool in ("prefork", "threads")
    ]
    summary["sweep"] = {"concurrency": [1, 2, 4], "curves": curves}
    return summary


def _work(rates: tuple[float, float, float], p50_s: float) -> dict[str, Any]:
    middle, low, high = rates
    return {
        "throughput_per_s": {"median": middle, "blocks": [low, middle, middle, high]},
        "latency_s": {"running": {"n": 820, "p50": p50_s, "p90": p50_s * 1.4}},
        "tasks": 205,
    }


def comparison(
    workload: str,
    ratio: float,
    low: float,
    high: float,
    taken: float | None = 0.01,
    *,
    fresh: bool = True,
) -> Any:
    """Return what is said of two sides of which the ratio is known so well."""
    about = {"workload": workload, "measure": "throughput", "a": "prefork:4", "b": "threads:4"}
    found = compared(of_workers(Ratio(ratio, low, high), fresh=fresh), taken)
    return about | found | {"same": False}


def _crash(pool: str, counts: tuple[int, ...], by: str, slot_back: float) -> dict[str, Any]:
    names = ("running", "interrupted", "stranded", "recovered", "lost", "repeated", "slots_gone")
    died = by == "supervisor"
    return {
        "pool": pool,
        "fault": "segfault",
        "policy": "early",
        **dict(zip(names, counts, strict=True)),
        "poison": "failed" if by == "pool" else "lost",
        "noticed": ["WorkerLostError"] if by == "pool" else ["worker ended by SIGSEGV"],
        "prefetch": 4,
        "restarted_by": by,
        "restart_delay_s": 0.5 if died else None,
        "due_s": DUE if died else None,
        "recovery_s": {
            "detect": 0.0128,
            "slot_back": slot_back,
            "redelivered": 4.36 if died else None,
            "throughput_back": 3.15 if died else 0.0,
        },
    }


def timelines_of_two() -> list[dict[str, Any]]:
    """Return what both pools' slots ran around that segfault."""
    poison = _attempt(3, "poison", "cut", -0.1, 0.0)
    prefork = [_slot(100 + i, 100 + i, _innocent(i)) for i in range(3)]
    prefork.append(_slot(103, 103, [poison], died_s=0.0))
    victims = [[_attempt(i, "victim", "cut", -0.2, 0.0)] for i in range(3)]
    threads = [_slot(200, 201 + i, cut, died_s=0.0) for i, cut in enumerate([*victims, [poison]])]
    return [_around("prefork:4", prefork), _around("threads:4", threads)]


def _around(pool: str, slots: list[dict[str, Any]]) -> dict[str, Any]:
    marks = [{"at_s": 0.01, "what": "the worker ended"}] if pool == "threads:4" else []
    return {
        "format": 1,
        "fault": "segfault",
        "pool": pool,
        "policy": "early",
        "before_s": 1.5,
        "after_s": 3.5,
        "slots": slots,
        "marks": marks,
    }


def _slot(
    pid: int, tid: int, attempts: list[dict[str, Any]], died_s: float | None = None
) -> dict[str, Any]:
    return {"pid": pid, "tid": tid, "died_s": died_s, "attempts": attempts}


def _innocent(first: int) -> list[dict[str, Any]]:
    return [
        _attempt(first + 10 * i, "innocent", "succeeded", -1.5 + i * 0.5, -1.0 + i * 0.5)
        for i in range(10)
    ]


def _attempt(number: int, role: str, how: str, start_s: float, end_s: float) -> dict[str, Any]:
    verdict = "completed" if role == "innocent" else "lost"
    times = {"start_s": start_s, "end_s": end_s}
    return {"number": number, "role": role, "how": how, "verdict": verdict, **times}
