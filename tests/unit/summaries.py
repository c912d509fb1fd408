"""A summary as the judge makes it, with figures as they were once measured."""

from __future__ import annotations

from typing import Any


def comparison_of_two() -> dict[str, Any]:
    """Return the summary of a comparison of prefork:4 with threads:4, a segfault at its end."""
    return {
        "format": 1,
        "run": "20261122-203015-1a2b3c4d",
        "plan": {"name": "compare", "seed": 1},
        "pools": {
            "prefork:4": {
                "workloads": {
                    "square": _throughput(1012.4, 987.0, 1038.9),
                    "sleep:50ms": _throughput(77.81, 77.2, 78.0),
                    "cpu:5ms": _throughput(341.7, 330.2, 349.9),
                },
                "memory": {"pss_idle_bytes": 146_300_000, "pss_loaded_bytes": 151_800_000},
            },
            "threads:4": {
                "workloads": {
                    "square": _throughput(1043.0, 1011.3, 1077.2),
                    "sleep:50ms": _throughput(78.22, 78.0, 78.4),
                    "cpu:5ms": _throughput(172.3, 168.8, 175.1),
                },
                "memory": {"pss_idle_bytes": 54_100_000, "pss_loaded_bytes": 55_000_000},
            },
        },
        "comparisons": [
            _comparison("square", 0.971, 0.932, 1.012, "no difference shown"),
            _comparison("sleep:50ms", 0.995, 0.99, 0.998, "b"),
            _comparison("cpu:5ms", 1.983, 1.92, 2.05, "a"),
        ],
        "crashes": [
            _crash("prefork:4", (4, 0, 0, 0, 0, 0), by="celery", slot_back=0.213),
            _crash("threads:4", (4, 3, 16, 16, 3, 0), by="supervisor", slot_back=2.41),
        ],
        "books": {
            "enqueued": 12_346,
            "verdicts": {"completed": 12_341, "recovered": 0, "failed": 2, "lost": 3},
            "balanced": True,
        },
        "machine": {
            "cpu": "Example CPU @ 2.50GHz",
            "cores": 2,
            "usable_cores": 2,
            "cgroup_cpus": None,
            "memory_bytes": 8_000_000_000,
            "system": "Linux 6.8.0",
        },
        "versions": {
            "celery": "5.7.0",
            "kombu": "5.7.0",
            "billiard": "4.3.2",
            "redis": "8.1.0",
            "python": "3.11.7",
            "server": "valkey 9.1.2",
        },
        "warnings": [],
        "sentences": [
            "For CPU work prefork:4 did 1.98 times as much as threads:4.",
            "One segfault took 0 neighbours with it under prefork:4, and 3 of 3 under threads:4.",
        ],
    }


def _throughput(median: float, low: float, high: float) -> dict[str, Any]:
    return {"throughput_per_s": {"median": median, "blocks": [low, median, median, high]}}


def _comparison(workload: str, ratio: float, low: float, high: float, verdict: str) -> Any:
    return {
        "workload": workload,
        "measure": "throughput",
        "a": "prefork:4",
        "b": "threads:4",
        "ratio": ratio,
        "low": low,
        "high": high,
        "verdict": verdict,
    }


def _crash(pool: str, counts: tuple[int, ...], by: str, slot_back: float) -> dict[str, Any]:
    names = ("running", "interrupted", "stranded", "recovered", "lost", "repeated")
    return {
        "pool": pool,
        "fault": "segfault",
        "policy": "early",
        **dict(zip(names, counts, strict=True)),
        "restarted_by": by,
        "recovery_s": {"detect": 0.1, "slot_back": slot_back, "redelivered": None},
    }
