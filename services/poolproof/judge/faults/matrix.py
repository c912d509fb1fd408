"""The matrix: every fault, pool, policy and prefetch, from the summaries of the runs. Pure."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from poolproof.judge.faults.account import account
from poolproof.judge.faults.defaults import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    Json = Mapping[str, Any]


FORMAT: Final = 1
#: A run with one of these warnings proves nothing.
_FATAL: Final = (
    *("damaged", "not_closed", "not_done", "books_unbalanced"),
    *("unexpected_tasks", "unknown_tasks"),
)

#: Fault, side, policy, prefetch, workers a side, whether a struck one is restarted.
Key: TypeAlias = tuple[str, str, str, int, int, bool]


def assemble(plan: Json, summaries: Iterable[Json]) -> dict[str, Any]:
    """Return the matrix that `plan` asks for, as far as the summaries of its runs fill it."""
    found: dict[tuple[Any, ...], list[tuple[Json, str]]] = {}
    known = sorted(summaries, key=lambda summary: (summary["plan"]["repeat"], summary["run"]))
    for summary in known:
        of = summary["plan"]
        for side in summary["struck"]:
            fleet = (of.get("workers", 1), of.get("restarts", True))
            key = (of["fault"], side, of["policy"], of["prefetch"], *fleet)
            found.setdefault(key, []).append((summary, side))
    cells = [cell_of(plan, key, found.get(key, [])) for key in keys(plan)]
    # A cell that was done too often, or need not have been, makes up for no other.
    owed = [cell["repeats"] for cell in cells if cell["status"] != "not applicable"]
    wanted = plan["repeats"] * len(owed)
    done = sum(min(repeats, plan["repeats"]) for repeats in owed)
    return {
        "format": FORMAT,
        "matrix": plan["matrix"],
        "plan": dict(plan),
        "complete": done >= wanted,
        "crashes": {"done": done, "planned": wanted},
        "cells": cells,
        "statuses": dict(Counter(cell["status"] for cell in cells)),
        "jobs": max((summary["plan"].get("jobs", 1) for summary in known), default=1),
        "settings": _settings(known),
        "defaults": DEFAULTS,
        "machine": known[-1]["machine"] if known else {},
        "versions": known[-1]["versions"] if known else {},
        "runs": [summary["run"] for summary in known],
    }


def keys(plan: Json) -> Iterator[Key]:
    """Yield the key of each cell, in the order in which they are read."""
    for fleet, policy, prefetch, fault, side in product(
        plan.get("fleets", [[1, True]]),
        plan["policies"],
        plan["prefetches"],
        plan["faults"],
        plan["pools"],
    ):
        workers, restarts = fleet
        yield fault, side, policy, prefetch, workers, restarts


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
