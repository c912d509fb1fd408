"""The summary of a run: all that reports say, as JSON can hold it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from poolproof.judge.books import books
from poolproof.judge.case import consider
from poolproof.judge.crash import crash_totals, crashes, not_applicable
from poolproof.judge.findings import findings
from poolproof.judge.pools import comparisons, pool
from poolproof.judge.sentences import sentences

if TYPE_CHECKING:
    from pathlib import Path

FORMAT: Final = 1
_INVALID: Final = {"books_unbalanced", "wrong_results", "not_completed"}


def summarise(folder: Path) -> dict[str, Any]:
    """Return the summary of the run in `folder` (format 1). Raises DiskError if there is none."""
    case = consider(folder)
    begin = case.evidence.last("run-begin")
    assert begin is not None  # noqa: S101  `consider` saw to it
    pools = {side: pool(case, side) for side in case.sides}
    account = books(case)
    summary = {
        "format": FORMAT,
        "run": begin["run"],
        "plan": begin.get("plan"),
        "pools": pools,
        "comparisons": comparisons(pools),
        "crashes": crashes(case.evidence, case.ending, case.verdicts),
        "not_applicable": not_applicable(case.evidence),
        "struck": [op["side"] for op in case.evidence.named("strike")],
        "books": account,
        "machine": begin.get("machine") or {},
        "versions": begin.get("versions") or {},
        "seconds": (case.evidence.ops[-1].t_ns - begin.t_ns) / 1e9,
        "warnings": findings(case, pools, account),
    }
    summary["crash_totals"] = crash_totals(summary["crashes"])
    codes = {each["code"] for each in summary["warnings"]}
    summary["valid"] = not codes & _INVALID
    return summary | {"sentences": sentences(summary)}
