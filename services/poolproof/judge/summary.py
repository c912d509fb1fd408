"""The summary of a run: all that reports say, as JSON can hold it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from poolproof.judge.faults.account import AFFECTED
from poolproof.judge.faults.events import not_applicable
from poolproof.judge.faults.summary import crashes
from poolproof.judge.findings import findings
from poolproof.judge.hosts import apart, hosts
from poolproof.judge.performance.conditions import differences
from poolproof.judge.performance.harness import harness
from poolproof.judge.performance.host import Hosts, surroundings
from poolproof.judge.performance.pools import pool
from poolproof.judge.performance.ratios import comparisons, noise_floor, same_sides
from poolproof.judge.performance.statistics import wilson
from poolproof.judge.performance.sweep import sweep
from poolproof.judge.performance.warnings import of_harness, of_hosts, of_noise, of_processes
from poolproof.judge.run import consider, judging
from poolproof.judge.sentences import sentences
from poolproof.judge.verdicts.books import books
from poolproof.judge.warnings import ranked

if TYPE_CHECKING:
    from pathlib import Path

    from poolproof.judge.run import JudgedRun


FORMAT: Final = 1
_INVALID: Final = {"damaged", "books_unbalanced", "wrong_results", "not_completed"}


def summarise(folder: Path) -> dict[str, Any]:
    """Return the summary of the run in `folder` (format 1). Raises DiskError if there is none."""
    return summary_of(consider(folder))


def summary_of(case: JudgedRun) -> dict[str, Any]:
    """Return the summary of a run that was judged. Raises DiskError for one without sense."""
    with judging(case.evidence.folder):
        return _summary_of(case)


def _summary_of(case: JudgedRun) -> dict[str, Any]:
    begin = case.evidence.last("run-begin")
    assert begin is not None  # noqa: S101  `decide` saw to it
    told = Hosts.of(case)
    pools = {side: pool(case, side, told) for side in case.sides}
    plan = begin.get("plan") or {}
    swept = sweep(plan, pools)
    of_run = hosts(case.evidence)
    fresh: bool = plan.get("fresh", False)
    same = same_sides(case)
    own, around = harness(case), surroundings(case, told)
    compared = comparisons(
        pools, same, by_concurrency=swept is not None, fresh=fresh, limits=own["limits"]
    )
    account, undone = books(case), not_applicable(case.evidence, case.strikes)
    summary = {
        "format": FORMAT,
        "run": begin["run"],
        "plan": begin.get("plan"),
        "pools": pools,
        "hosts": of_run,
        "differences": differences(pools, of_run),
        "comparisons": [
            one | {"different_hosts": apart(of_run, (one["a"], one["b"]))} for one in compared
        ],
        "noise_floor": noise_floor(compared),
        "sweep": swept,
        "harness": own,
        "surroundings": around,
        "crashes": crashes(case),
        "not_applicable": undone,
        "struck": [op["side"] for op in case.evidence.named("strike")],
        "books": account,
        "machine": begin.get("machine") or {},
        "versions": begin.get("versions") or {},
        "command": begin.get("command"),
        "seconds": (case.evidence.ops[-1].t_ns - begin.t_ns) / 1e9,
        "warnings": ranked(
            [
                *findings(case, pools, account, undone),
                *of_hosts(of_run, case.sides),
                *of_noise(compared),
                *of_processes(compared, fresh=fresh),
                *of_harness(own, around),
            ]
        ),
    }
    summary["crash_totals"] = crash_totals(summary["crashes"])
    codes = {each["code"] for each in summary["warnings"]}
    summary["valid"] = not codes & _INVALID
    return summary | {"sentences": sentences(summary)}


def crash_totals(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the repeats of each fault together, with 95 % intervals of the shares."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for crash in found:
        groups.setdefault((crash["pool"], crash["fault"], crash["policy"]), []).append(crash)
    totals = []
    for (side, fault, policy), repeats in groups.items():
        names = (*AFFECTED, "running", "recovered", "lost", "repeated")
        sums = {name: sum(crash[name] for crash in repeats) for name in names}
        affected = sum(sums[name] for name in AFFECTED)
        totals.append(
            {"pool": side, "fault": fault, "policy": policy, "crashes": len(repeats)}
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
