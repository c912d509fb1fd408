"""The warnings on what disturbed the measurement from outside of the pools."""

from __future__ import annotations

from typing import Any

from poolproof.judge.surroundings import disturbed
from poolproof.judge.warnings import warning

Warnings = list[dict[str, str]]


def of_noise(compared: list[dict[str, Any]]) -> Warnings:
    """Return a warning for each A/A comparison that shows a difference where there is none."""
    return [
        warning("noise_shown", f"{one['a']} and {one['b']}", one["workload"])
        for one in compared
        if one["same"] and one["verdict"] != "no difference shown"
    ]


def of_harness(own: dict[str, Any], around: dict[str, Any]) -> Warnings:
    """Return where the harness was the limit, and what the hosts were busy with meanwhile."""
    found = [warning(code, about) for code, about in disturbed(around)]
    return [*found, *(warning("harness_limited", sentence) for sentence in own["limited"])]
