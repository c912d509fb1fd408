"""The matrix: every fault, pool, policy and prefetch, from the summaries of the runs. Pure."""

from __future__ import annotations

from collections import Counter
from itertools import product
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from poolproof.judge.statistics import wilson

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    Json = Mapping[str, Any]

FORMAT: Final = 1

#: What Celery 5.7 does unless it is told otherwise; nobody restarts a worker.
DEFAULTS: Final = {
    "visibility_timeout_s": 3600.0,
    "sweep_s": 100.0,
    "prefetch": 4,
    "retry_delay_s": 180.0,
    "restart_delay_s": None,
}

#: Of a crash: numbers of innocent tasks, added up over the repeats.
_COUNTS: Final = (
    "running",
    "interrupted_first",
    "interrupted",
    "stranded",
    "others",
    "recovered",
    "lost",
    "repeated",
    "slots_gone",
)
_TIMES: Final = ("detect", "slot_back", "redelivered", "throughput_back")
#: A run with one of these warnings proves nothing.
_FATAL: Final = ("not_closed", "not_done", "books_unbalanced", "unexpected_tasks", "unknown_tasks")


def assemble(plan: Json, summaries: Iterable[Json]) -> dict[str, Any]:
    """Return the matrix that `plan` asks for, as far as the summaries of its runs fill it.

    A cell's `status` is "measured", "not applicable", "broken" (a run of it proves nothing: see
    `reason`) or "missing" (not run yet). Only a measured cell has figures.
    """
    found: dict[tuple[Any, ...], list[tuple[Json, str]]] = {}
    known = sorted(summaries, key=lambda summary: (summary["plan"]["repeat"], summary["run"]))
    for summary in known:
        of = summary["plan"]
        for side in summary["struck"]:
            key = (of["fault"], side, of["policy"], of["prefetch"])
            found.setdefault(key, []).append((summary, side))
    cells = [_cell(plan, key, found.get(key, [])) for key in keys(plan)]
    done = sum(cell["repeats"] for cell in cells)
    wanted = plan["repeats"] * sum(cell["status"] != "not applicable" for cell in cells)
    return {
        "format": FORMAT,
        "matrix": plan["matrix"],
        "plan": dict(plan),
        "complete": done >= wanted,
        "crashes": {"done": done, "planned": wanted},
        "cells": cells,
        "statuses": dict(Counter(cell["status"] for cell in cells)),
        "settings": _settings(known),
        "defaults": DEFAULTS,
        "machine": known[-1]["machine"] if known else {},
        "versions": known[-1]["versions"] if known else {},
        "runs": [summary["run"] for summary in known],
    }


def keys(plan: Json) -> Iterator[tuple[str, str, str, int]]:
    """Yield (fault, side, policy, prefetch) of each cell, in the order in which they are read."""
    for policy, prefetch, fault, side in product(
        plan["policies"], plan["prefetches"], plan["faults"], plan["pools"]
    ):
        yield fault, side, policy, prefetch


def _cell(
    plan: Json, key: tuple[str, str, str, int], runs: list[tuple[Json, str]]
) -> dict[str, Any]:
    fault, side, policy, prefetch = key
    cell = {
        "fault": fault,
        "pool": side,
        "policy": policy,
        "prefetch": prefetch,
        "status": "missing",
        "reason": "",
        "repeats": len(runs),
        "runs": [summary["run"] for summary, _ in runs],
    }
    refused = [reason for summary, _ in runs if (reason := _refusal(summary, side))]
    if reason := plan["not_applicable"].get(fault, {}).get(side) or "; ".join(set(refused)):
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
    found = [one["reason"] for one in summary.get("not_applicable", ()) if one["pool"] == side]
    return "" if _crashes(summary, side) else "; ".join(found)


def _doubt(summary: Json, side: str) -> str:
    """Return why a run proves nothing about a side; empty if it does."""
    fatal = [one["advice"] for one in summary["warnings"] if one["code"] in _FATAL]
    if fatal or not summary["books"]["balanced"]:
        return " ".join(fatal) or "the books do not balance"
    crashes = _crashes(summary, side)
    if not crashes:
        return "the fault was not seen to be done"
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
    timeout_s, sweep_s = known[0]["visibility_timeout_s"], known[0]["sweep_s"]
    later_s = float(DEFAULTS["visibility_timeout_s"] or 0) - timeout_s
    return {
        "first": first,
        "last": last,
        "first_by_default": first + later_s,
        "last_by_default": last + later_s + float(DEFAULTS["sweep_s"] or 0) - sweep_s,
    }


def _settings(summaries: Sequence[Json]) -> dict[str, list[Any]]:
    """Return name -> the values that workers of the runs said they had, each once."""
    found: dict[str, list[Any]] = {name: [] for name in DEFAULTS}
    for summary in summaries:
        for pool in summary["pools"].values():
            for name, values in found.items():
                value = pool.get("settings", {}).get(name)
                if name in pool.get("settings", {}) and value not in values:
                    values.append(value)
    return found
