"""The matrix: every fault, pool, policy and prefetch, from the summaries of the runs. Pure."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from poolproof.judge.faults.cell import cell_of
from poolproof.judge.faults.defaults import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from poolproof.judge.faults.cell import Key

    Json = Mapping[str, Any]

FORMAT: Final = 1


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
