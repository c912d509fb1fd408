"""The repeats of each fault together."""

from __future__ import annotations

from typing import Any

from poolproof.judge.faults.account import AFFECTED
from poolproof.judge.performance.statistics import wilson


def crash_totals(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the repeats of each fault together, with 95 % intervals of the shares."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for crash in found:
        groups.setdefault((crash["pool"], crash["fault"], crash["policy"]), []).append(crash)
    totals = []
    for (pool, fault, policy), repeats in groups.items():
        names = (*AFFECTED, "running", "recovered", "lost", "repeated")
        sums = {name: sum(crash[name] for crash in repeats) for name in names}
        affected = sum(sums[name] for name in AFFECTED)
        totals.append(
            {"pool": pool, "fault": fault, "policy": policy, "crashes": len(repeats)}
            | sums
            | {
                "interrupted_share": wilson(
                    sum(crash["interrupted_first"] for crash in repeats), sums["running"]
                ),
                "lost_share": wilson(sums["lost"], affected),
                "repeated_share": wilson(sums["repeated"], affected),
            }
        )
    return totals
