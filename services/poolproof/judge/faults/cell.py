"""One cell of the matrix: what a fault did to a pool under a policy, over all its repeats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from poolproof.judge.faults.account import account

if TYPE_CHECKING:
    from collections.abc import Mapping

    Json = Mapping[str, Any]

#: A run with one of these warnings proves nothing.
_FATAL: Final = (
    *("damaged", "not_closed", "not_done", "books_unbalanced"),
    *("unexpected_tasks", "unknown_tasks"),
)

#: Fault, side, policy, prefetch, workers a side, whether a struck one is restarted.
Key: TypeAlias = tuple[str, str, str, int, int, bool]


def cell_of(plan: Json, key: Key, runs: list[tuple[Json, str]]) -> dict[str, Any]:
    """Return a cell of `plan` from the summaries of its runs, each with the side that it is of.

    Its `status` is "measured", "not applicable", "broken" (a run of it proves nothing: see
    `reason`) or "missing" (not run yet). Only a measured cell has figures.
    """
    fault, side, policy, prefetch, workers, restarts = key
    cell = {
        "fault": fault,
        "pool": side,
        "policy": policy,
        "prefetch": prefetch,
        "workers": workers,
        "restarts": restarts,
        "status": "missing",
        "reason": "",
        "repeats": len(runs),
        "runs": [summary["run"] for summary, _ in runs],
    }
    refused = [reason for summary, _ in runs if (reason := _refusal(summary, side))]
    # One that was done before, or since, is not inapplicable: then the refusal makes it broken.
    never = "; ".join(dict.fromkeys(refused)) if len(refused) == len(runs) else ""
    if reason := plan["not_applicable"].get(fault, {}).get(side) or never:
        return cell | {"status": "not applicable", "reason": reason}
    doubts = [doubt for summary, _ in runs if (doubt := _doubt(summary, side))]
    if doubts:
        reason = "; ".join(dict.fromkeys(doubts))
        return cell | {"status": "broken", "reason": reason, "broken_runs": len(doubts)}
    if not runs:
        return cell
    crashes = [_crashes(summary, side) for summary, _ in runs]
    return cell | {"status": "measured"} | account(crashes)


def _refusal(summary: Json, side: str) -> str:
    """Return why the fault could not be done to a side after all."""
    found = [
        one["reason"]
        for one in summary.get("not_applicable", ())
        if one["pool"] == side and not one.get("unseen")
    ]
    return "" if _crashes(summary, side) else "; ".join(found)


def _doubt(summary: Json, side: str) -> str:
    """Return why a run proves nothing about a side; empty if it does."""
    fatal = [one["advice"] for one in summary["warnings"] if one["code"] in _FATAL]
    if fatal or not summary["books"]["balanced"]:
        return " ".join(fatal) or "the books do not balance"
    crashes = _crashes(summary, side)
    if not crashes:
        return _refusal(summary, side) or "the fault was not seen to be done"
    for crash in crashes:
        books = crash["books"]
        if sum([*books["innocent"].values(), *books["poison"].values()]) != books["enqueued"]:
            return "the books of the block do not balance"
    return ""


def _crashes(summary: Json, side: str) -> list[Json]:
    return [crash for crash in summary["crashes"] if crash["pool"] == side]
