"""A sweep: each pool's figures by the number of its slots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolproof.judge.performance.statistics import interval_of_median

if TYPE_CHECKING:
    from collections.abc import Mapping


def sweep(plan: Mapping[str, Any] | None, pools: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the curves of a run that swept the concurrency, None of any other.

    `concurrency`: its values. `curves`: one a pool and workload, each with its `points` by
    concurrency: the throughput with its interval, and what a slot and a task cost.
    """
    asked = (plan or {}).get("sweep")
    if not asked:
        return None
    curves: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for side, of in pools.items():
        for workload, figures in of["workloads"].items():
            curves.setdefault((_curve(side, of), workload), []).append(_point(side, of, figures))
    return {
        "concurrency": list(asked["concurrency"]),
        "curves": [
            {
                "pool": pool,
                "workload": workload,
                "points": sorted(points, key=lambda point: point["concurrency"]),
            }
            for (pool, workload), points in curves.items()
        ],
    }


def _curve(side: str, of: Mapping[str, Any]) -> str:
    """Return the side's label without the concurrency that the sweep put at its end."""
    label, colon, number = side.rpartition(":")
    return label if colon and number == str(of["concurrency"]) else side


def _point(side: str, of: Mapping[str, Any], figures: Mapping[str, Any]) -> dict[str, Any]:
    rates = figures["throughput_per_s"]
    interval = interval_of_median(rates["blocks"]) or (None, None)
    return {
        "concurrency": of["concurrency"],
        "side": side,
        "throughput_per_s": rates["median"],
        "low": interval[0],
        "high": interval[1],
        "utilisation": figures["utilisation"],
        "cpu_s_per_task": (figures["effort"] or {}).get("cpu_s_per_task"),
        "pss_loaded_bytes": of["memory"].get("pss_loaded_bytes"),
        "pss_slot_bytes": of["memory"].get("pss_slot_bytes"),
    }
