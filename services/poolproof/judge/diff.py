"""What changed between two runs, and whether the rounds of both support saying so."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any, Final

from poolproof.judge.outcome import LESS, MORE, of_workers, outcome, worst
from poolproof.judge.performance.statistics import CONFIDENCE, ratio_of_medians

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Summary = Mapping[str, Any]

FORMAT: Final = 1

#: Measure -> where its values, one a round, stand in a workload's figures. `latency` is of an open
#: loop.
MEASURES: Final[dict[str, tuple[str, ...]]] = {
    "throughput": ("throughput_per_s", "blocks"),
    "running-p50": ("by_block", "running_p50_s"),
    "running-p90": ("by_block", "running_p90_s"),
    "running-p99": ("by_block", "running_p99_s"),
    "latency-p50": ("by_block", "total_p50_s"),
    "latency-p90": ("by_block", "total_p90_s"),
    "latency-p99": ("by_block", "total_p99_s"),
    "cpu": ("effort", "cpu_s_per_task_spans"),
    "memory": ("by_block", "pss_bytes"),
}
#: Measures that another programme on the same host does not change.
_UNMOVED: Final = {"memory"}
_INTERVAL: Final = ("low", "high", "least", "precision", "smallest_detectable")
_TOO_FEW: Final = "so few blocks that equal ones would often be called different"


def diff(base: Summary, new: Summary) -> dict[str, Any]:
    """Return every measure of every workload of the sides that both runs have, and their ratio.

    A ratio is the new run's median by the base's, with its bootstrap interval, from the blocks of
    both; null where the blocks are too few. It covers what differs between the blocks of a run,
    not what differs between two runs for no reason: that only more runs would tell.
    """
    sides = [side for side in base["pools"] if side in new["pools"]]
    return {
        "format": FORMAT,
        "base": base["run"],
        "new": new["run"],
        "confidence": CONFIDENCE,
        "changes": [change for side in sides for change in _side(side, base, new)],
        "only_base": [side for side in base["pools"] if side not in new["pools"]],
        "only_new": [side for side in new["pools"] if side not in base["pools"]],
    }


def _side(side: str, base: Summary, new: Summary) -> Iterator[dict[str, Any]]:
    before, after = (run["pools"][side]["workloads"] for run in (base, new))
    fresh = all((run.get("plan") or {}).get("fresh", False) for run in (base, new))
    for workload in before:
        for measure, path in MEASURES.items():
            both = before[workload], after.get(workload) or {}
            a, b = (_blocks(figures, path) for figures in both)
            if a and b:
                about = {"side": side, "workload": workload, "measure": measure}
                moves = measure not in _UNMOVED
                taken = worst(_taken(figures, measure) for figures in both) if moves else None
                limited = measure == "throughput" and any(
                    (workload, side) in _limits(run) for run in (base, new)
                )
                yield about | change(a, b, taken, fresh=fresh or not moves, limited=limited)


def _taken(figures: Summary, measure: str) -> float | None:
    """Return what others took of the host while a measure was taken; None if it is not known."""
    of = figures.get("open_loop") if measure.startswith("latency") else figures
    share: float | None = (of or {}).get("taken_share")
    return share


def _limits(run: Summary) -> set[tuple[str, str]]:
    """Return (workload, side) where the harness was the limit."""
    found = (run.get("harness") or {}).get("limits", ())
    return {(workload, side) for workload, side in found}  # of JSON they are lists


def _blocks(figures: Summary, path: tuple[str, ...]) -> list[float]:
    """Return the values of a measure, none if one of them is 0: of those there is no ratio."""
    found: Any = figures
    for name in path:
        found = (found or {}).get(name)
    values: list[float] = found or []
    return values if all(value > 0 for value in values) else []


def change(
    base: Sequence[float],
    new: Sequence[float],
    taken: float | None = None,
    *,
    fresh: bool = True,
    limited: bool = False,
) -> dict[str, Any]:
    """Return the ratio of the new values' median to the old ones', and what it shows.

    `taken` is the share of the host's CPU time that others took, of the run in which it was more;
    `fresh` whether each round of both had processes of its own; `limited` whether the harness was
    the limit of either.
    """
    middles = {"base": median(base), "new": median(new), "taken_share": taken}
    measured = ratio_of_medians(new, base)
    if measured is None:
        unknown: dict[str, Any] = dict.fromkeys(("ratio", "outcome", *_INTERVAL))
        return middles | unknown | {"verdict": "not shown", "why": _TOO_FEW}
    ratio = of_workers(measured, fresh=fresh)
    said = outcome(ratio, taken, limited=limited)
    return middles | {
        "ratio": ratio.ratio,
        **{name: getattr(ratio, name) for name in _INTERVAL},
        "outcome": said,
        "verdict": said if said in {MORE, LESS} else "not shown",
    }
