"""A claim about pools, the check that tries it on the real thing, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from poolproof.judge.outcome import BUSY, is_busy, why_busy

if TYPE_CHECKING:
    from collections.abc import Callable

    from poolproof.claims.lab import Lab, Played
    from poolproof.judge.performance.statistics import Ratio

Outcome = Literal["holds", "does not hold", "not shown"]

MEASURED: Final = "measured by us"
TEXTBOOK: Final = "textbook"
#: What a claim without Celery runs on.
PYTHON: Final = "this Python"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check saw, and what that says of the claim."""

    outcome: Outcome
    observed: str
    why: str = ""  #: why nothing is shown
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Claim:
    """One row of the table. `check` is called with the lab and one of `on` at a time."""

    id: str
    text: str  #: the claim in one sentence
    source: str  #: "measured by us", an issue of Celery, its documentation, "textbook"
    expected: str
    at_most_s: float  #: bound of one check on one pool; most take far less
    check: Callable[[Lab, str], Finding]
    on: tuple[str, ...] = (PYTHON,)  #: pools (several with blanks between them are one check)


def shown(observed: str, *, holds: bool, **figures: Any) -> Finding:
    """Return what a check without chance in it found."""
    return Finding("holds" if holds else "does not hold", observed, figures=figures)


def not_shown(why: str, observed: str = "", **figures: Any) -> Finding:
    """Return that nothing could be concluded."""
    return Finding("not shown", observed, why, figures)


def of_run(played: Played, observed: str, *, holds: bool, **figures: Any) -> Finding:
    """Return what a run found; nothing is shown by one whose books are open."""
    if played.doubt:
        return not_shown(played.doubt, observed, **figures)
    return shown(observed, holds=holds, **figures)


def unless_busy(found: Finding, taken: float | None) -> Finding:
    """Return a finding on speed; nothing is shown by one on a host of which others took so much."""
    if found.why or not is_busy(taken):
        return found
    why = why_busy({"taken_share": taken})
    return not_shown(f"{BUSY}: {why}", found.observed, **found.figures)


def of_ratio(
    ratio: Ratio | None, observed: str, *, at_least: float = 0.0, at_most: float = float("inf")
) -> Finding:
    """Return what the 95 % interval of a ratio says: all inside holds, all outside does not."""
    if ratio is None:
        return not_shown("too few rounds for an interval")
    text = f"{observed}: {ratio.ratio:.3g} times ({ratio.low:.3g} to {ratio.high:.3g})"
    figures = {"ratio": ratio.ratio, "low": ratio.low, "high": ratio.high}
    if at_least <= ratio.low and ratio.high <= at_most:
        return shown(text, holds=True, **figures)
    if ratio.high < at_least or ratio.low > at_most:
        return shown(text, holds=False, **figures)
    bounds = [f"at least {at_least:g}"] if at_least else []
    bounds += [f"at most {at_most:g}"] if at_most < float("inf") else []
    return not_shown(f"too noisy: the interval crosses {' or '.join(bounds)}", text, **figures)
