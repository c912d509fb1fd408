"""The warnings on what disturbed the measurement from outside of the pools."""

from __future__ import annotations

from typing import Any

from poolproof.judge.hosts import apart, where
from poolproof.judge.outcome import NOISY, outcome
from poolproof.judge.performance.host import disturbed
from poolproof.judge.performance.statistics import Ratio
from poolproof.judge.warnings import warning

Warnings = list[dict[str, str]]


def of_hosts(of_run: list[dict[str, Any]], sides: list[str]) -> Warnings:
    """Return a warning if sides ran on different machines."""
    if not apart(of_run, sides):
        return []
    found = {side: at for side in sides if (at := where(of_run, side))}
    told = [
        f"{side} on {at['host']} (to Redis and back: {at['to Redis and back']})"
        for side, at in found.items()
    ]
    return [warning("different_hosts", "; ".join(told))]


def of_noise(compared: list[dict[str, Any]]) -> Warnings:
    """Return a warning for each A/A comparison that shows a difference where there is none."""
    return [
        warning("noise_shown", f"{one['a']} and {one['b']}", one["workload"])
        for one in compared
        if one["same"] and one["verdict"] != "no difference shown"
    ]


def of_processes(compared: list[dict[str, Any]], *, fresh: bool) -> Warnings:
    """Return a warning for each comparison that is left open since the workers stayed."""
    return [
        warning("same_workers", f"{one['a']} and {one['b']}", one["workload"])
        for one in compared
        if not fresh and not one["same"] and _is_open(one)
    ]


def _is_open(one: dict[str, Any]) -> bool:
    """Tell whether more would be said, had each round had its own workers."""
    alone = Ratio(one["ratio"], one["low"], one["high"])
    return bool(one["outcome"] == NOISY and outcome(alone) != NOISY)


def of_harness(own: dict[str, Any], around: dict[str, Any]) -> Warnings:
    """Return where the harness was the limit, and what the hosts were busy with meanwhile."""
    found = [warning(code, about) for code, about in disturbed(around)]
    return [*found, *(warning("harness_limited", sentence) for sentence in own["limited"])]
