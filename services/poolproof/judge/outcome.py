"""What a comparison may say: one of four outcomes, and nothing else (decision 25)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal

from poolproof.judge.performance.statistics import LEAST
from poolproof.judge.warnings import percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from poolproof.judge.performance.statistics import Ratio

Outcome = Literal[
    "more",
    "less",
    "the same within 1 %",
    "too noisy to call",
    "not comparable on a host this busy",
]

MORE: Final = "more"  #: the first of the two, by more than 1 %
LESS: Final = "less"
SAME: Final = "the same within 1 %"
NOISY: Final = "too noisy to call"
BUSY: Final = "not comparable on a host this busy"
#: What is too noisy is called so where the interval leaves out 1 but stays near it.
CLOSE: Final = "too close to call"
#: Share of the host's CPU time above which it is too busy, if others took it: other programmes and
#: other guests. That verdicts are right was shown on quieter hosts only.
MOST_TAKEN: Final = 0.1
#: By so much two processes of one programme may differ for as long as they live; see decision 16.
OF_PROCESSES: Final = 1.05


def outcome(ratio: Ratio, taken: float | None = None, *, limited: bool = False) -> Outcome:
    """Return what may be said of a ratio that was measured while others took so large a share.

    None of it is known where the host does not tell: then the interval alone decides, unless
    poolproof itself was the limit (`limited`). Sides whose processes may differ (`ratio.least`) are
    never called the same.
    """
    if limited or is_busy(taken):
        return BUSY
    if ratio.verdict != "no difference shown":
        return MORE if ratio.verdict == "a" else LESS
    is_within = ratio.low >= 1 / LEAST and ratio.high <= LEAST
    return SAME if is_within and ratio.least == LEAST else NOISY


def in_words(one: Mapping[str, Any]) -> str:
    """Return the outcome of a comparison or a change as a person reads it."""
    return CLOSE if one["outcome"] == NOISY and _is_close(one) else str(one["outcome"])


def _is_close(one: Mapping[str, Any]) -> bool:
    """Tell whether an interval leaves out 1, and reaches to no more than `least` by `least`."""
    low, high = one["low"], one["high"]
    return not low <= 1 <= high and max(high, 1 / low) <= one["least"] ** 2


def why_busy(one: Mapping[str, Any]) -> str:
    """Return why nothing is said of a comparison or a change whose outcome is `BUSY`."""
    taken = one["taken_share"]
    if is_busy(taken):
        # What is just above the bound is not written as the bound.
        return f"others took {percent(taken, 0 if taken >= 2 * MOST_TAKEN else 1)} of its CPU time"
    return "poolproof's own processes were the limit"


def is_busy(taken: float | None) -> bool:
    """Tell whether others took more of a host than a comparison bears."""
    return taken is not None and taken > MOST_TAKEN


def taken_of(*shares: float | None) -> float | None:
    """Return what others took together, by what is known of it; None if nothing is."""
    known = [share for share in shares if share is not None]
    return sum(known) if known else None


def worst(shares: Iterable[float | None]) -> float | None:
    """Return the largest of the shares that are known; None without one."""
    return max((share for share in shares if share is not None), default=None)


def of_workers(ratio: Ratio, *, fresh: bool) -> Ratio:
    """Return the ratio with what its sides may differ by though they are equal.

    That is more where each had the same processes all the time (not `fresh`).
    """
    return ratio if fresh else replace(ratio, least=OF_PROCESSES)
