"""One cell of the matrix: what a fault did to a pool under a policy, over all its repeats."""

from __future__ import annotations

from collections import Counter
from statistics import median
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from poolproof.judge.defaults import by_default
from poolproof.judge.statistics import wilson

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Json = Mapping[str, Any]

#: Of a crash: numbers of innocent tasks, added up over the repeats.
_COUNTS: Final = (
    "running",
    "interrupted_first",
    "interrupted",
    "hung",
    "stranded",
    "given_back",
    "others",
    "recovered",
    "lost",
    "repeated",
    "slots_gone",
)
_TIMES: Final = ("detect", "slot_back", "redelivered", "throughput_back")
#: A run with one of these warnings proves nothing.
_FATAL: Final = ("not_closed", "not_done", "books_unbalanced", "unexpected_tasks", "unknown_tasks")

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
    return cell | {"status": "measured"} | _figures(crashes)


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


def _figures(repeats: Sequence[Sequence[Json]]) -> dict[str, Any]:
    """Return the figures of a cell; each repeat may have struck more than one worker."""
    crashes = [crash for repeat in repeats for crash in repeat]
    sums = {name: sum(crash[name] for crash in crashes) for name in _COUNTS}
    innocent = _added(crash["books"]["innocent"] for crash in crashes)
    affected = sums["interrupted"] + sums["stranded"] + sums["others"]
    return {
        **sums,
        "overdue": sum(crash["overdue"] for crash in crashes),
        "phantom": innocent["phantom"],
        "strikes": sum(crash["strikes"] for crash in crashes),
        "innocent": dict(innocent),
        "poison": dict(_added(crash["books"]["poison"] for crash in crashes)),
        "enqueued": sum(crash["books"]["enqueued"] for crash in crashes),
        "noticed": _each_once(name for crash in crashes for name in crash["noticed"]),
        "restarted_by": _each_once(c["restarted_by"] for c in crashes if c["restarted_by"]),
        "ended": _each_once(crash["ended"] for crash in crashes if crash["ended"]),
        "worker_died": sum(crash["worker_died"] for crash in crashes),
        "recovery_s": {name: _typical(crashes, name) for name in _TIMES},
        "due_s": _due(crashes),
        "shares": {
            "interrupted": _share(sums["interrupted_first"], sums["running"]),
            "lost": _share(sums["lost"], affected),
            "repeated": _share(sums["repeated"], affected),
            # Tasks of one crash share their fate; crashes do not.
            "crashes_with_interrupted": _in_how_many(repeats, "interrupted"),
            "crashes_with_lost": _in_how_many(repeats, "lost"),
            "crashes_with_repeated": _in_how_many(repeats, "repeated"),
        },
        "ways": _each_once(
            crash["way"] for crash in crashes if crash.get("way", "plain") != "plain"
        ),
        "observations": _observed(crashes),
    }


def _observed(crashes: Sequence[Json]) -> dict[str, int] | None:
    """Return what innocents saw or suffered of changed state; None if no fault changed any."""
    known = [crash["observations"] for crash in crashes if crash.get("observations")]
    return {name: sum(each[name] for each in known) for name in known[0]} if known else None


def _added(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    return sum((Counter(each) for each in counts), Counter[str]())


def _each_once(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))


def _typical(crashes: Sequence[Json], name: str) -> float | None:
    times = [crash["recovery_s"].get(name) for crash in crashes]
    known = [time for time in times if time is not None]
    return median(known) if known else None


def _share(part: int, whole: int) -> dict[str, Any]:
    interval = wilson(part, whole)
    low, high = interval or (None, None)
    return {"of": whole, "share": part / whole if whole else None, "low": low, "high": high}


def _in_how_many(repeats: Sequence[Sequence[Json]], name: str) -> dict[str, Any]:
    return _share(sum(any(crash[name] for crash in repeat) for repeat in repeats), len(repeats))


def _due(crashes: Sequence[Json]) -> dict[str, float] | None:
    """Return when stranded tasks had to come back, here and with Celery's defaults."""
    known = [crash["due_s"] for crash in crashes if crash["due_s"]]
    if not known:
        return None
    first, last = min(each["first"] for each in known), max(each["last"] for each in known)
    later = by_default(known[0] | {"first": first, "last": last})
    return {"first": first, "last": last, "first_by_default": later[0], "last_by_default": later[1]}
