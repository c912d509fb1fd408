"""The sides, two by two: how they compare, and what two equal ones say of the noise."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

from poolproof.judge.outcome import BUSY, LESS, MORE, of_workers, outcome, worst
from poolproof.judge.performance.statistics import ratio_of_medians, ratio_of_rounds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from poolproof.judge.performance.statistics import Ratio
    from poolproof.judge.run import JudgedRun

#: Settings that say who a worker is, not what it does.
_NAMES: Final = {"POOLPROOF_NAME", "POOLPROOF_SIDE", "POOLPROOF_RINGS"}


#: Outcome -> the side that did more; of all others none is named.
_WINNERS: Final = {MORE: "a", LESS: "b"}


def comparisons(
    pools: dict[str, Any],
    same: set[tuple[str, str]],
    *,
    by_concurrency: bool = False,
    fresh: bool = True,
    limits: Iterable[Sequence[str]] = (),
) -> list[dict[str, Any]]:
    """Return each pair of sides on each workload that both did; `same` are those that are equal.

    With `by_concurrency` only sides with as many slots are compared. `fresh`: each round had
    workers of its own. `limits`: (workload, side) where the harness was the limit.
    """
    found: list[dict[str, Any]] = []
    limited = {(workload, side) for workload, side in limits}  # of JSON they are lists
    for a, b in combinations(pools, 2):
        if by_concurrency and pools[a]["concurrency"] != pools[b]["concurrency"]:
            continue
        for workload, mine in pools[a]["workloads"].items():
            other = pools[b]["workloads"].get(workload)
            if other:
                about = {"workload": workload, "measure": "throughput", "a": a, "b": b}
                found += [
                    about | one | {"same": (a, b) in same}
                    for one in _comparison(
                        mine,
                        other,
                        fresh=fresh,
                        limited=any((workload, side) in limited for side in (a, b)),
                    )
                ]
    return found


def _comparison(mine: Any, other: Any, *, fresh: bool, limited: bool) -> Iterator[dict[str, Any]]:
    rates = mine["throughput_per_s"], other["throughput_per_s"]
    rounds = _of_rounds(*rates)
    paired = ratio_of_rounds(*rounds)
    measured = paired or ratio_of_medians(rates[0]["blocks"], rates[1]["blocks"])
    if measured is not None:
        taken = worst(of.get("taken_share") for of in (mine, other))
        yield compared(of_workers(measured, fresh=fresh), taken, limited=limited) | {
            "blocks": [len(of["blocks"]) for of in rates],
            "rounds": len(rounds[0]) if paired else None,
        }


def compared(ratio: Ratio, taken: float | None, *, limited: bool = False) -> dict[str, Any]:
    """Return a ratio, what it says, and by how much; others took the share `taken` of the host."""
    said = outcome(ratio, taken, limited=limited)
    return {
        "ratio": ratio.ratio,
        "low": ratio.low,
        "high": ratio.high,
        "outcome": said,
        "verdict": _WINNERS.get(said, "no difference shown"),
        "least": ratio.least,
        "taken_share": taken,
        "smallest_detectable": ratio.smallest_detectable,
        "precision": ratio.precision,
    }


def _of_rounds(mine: Any, other: Any) -> tuple[list[float], list[float]]:
    """Return the rates of both sides in the rounds that both have complete."""
    a, b = (
        dict(zip(of.get("rounds", range(len(of["blocks"]))), of["blocks"], strict=True))
        for of in (mine, other)
    )
    both = sorted(a.keys() & b.keys())
    return [a[each] for each in both], [b[each] for each in both]


def same_sides(case: JudgedRun) -> set[tuple[str, str]]:
    """Return the pairs of sides that differ in nothing but their names: an A/A comparison."""
    what: dict[str, list[Any]] = {}
    for op in case.evidence.named("hello"):
        given = {k: v for k, v in (op.get("settings") or {}).items() if k not in _NAMES}
        seen = what.setdefault(op["side"], [])
        if op.get("versions") is not None:
            # Not the host's name: containers of one machine have one each.
            machine = {k: v for k, v in (op.get("machine") or {}).items() if k != "host"}
            seen.append((op.get("boot"), op.get("pool"), given, op.get("versions"), machine))
    known = [side for side in case.sides if what.get(side)]
    return {(a, b) for a, b in combinations(known, 2) if what[a] == what[b]}


def noise_floor(compared: list[dict[str, Any]]) -> dict[str, float]:
    """Return workload -> the difference that equal sides may show, as a share; by A/A pairs only.

    It is how far the interval of their ratio reaches from 1, to the farther side; of none that was
    measured on a host too busy to compare.
    """
    floors: dict[str, float] = {}
    for one in compared:
        if one["same"] and one["outcome"] != BUSY:
            floor = max(one["high"], 1 / one["low"]) - 1
            floors[one["workload"]] = max(floor, floors.get(one["workload"], 0.0))
    return floors
