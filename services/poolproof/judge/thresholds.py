"""Thresholds on what changed between two runs: which of them the measurements support."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from poolproof.judge.diff import MEASURES
from poolproof.judge.outcome import BUSY, why_busy
from poolproof.judge.performance.statistics import LEAST
from poolproof_workers.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FORM: Final = re.compile(r"\s*(?P<of>.+?)\s*(?P<than>[<>])\s*(?P<percent>[+-]?\d+(\.\d+)?)\s*%\s*")
_MOST_PERCENT: Final = 1_000_000.0
_HELP: Final = 'write it like "threads:4 throughput < -5%" or "threads:4 square memory > 10%"'


@dataclass(frozen=True, slots=True)
class Threshold:
    """A change of one measure that must not be: below, or above, so many percent."""

    text: str
    of: str  #: side, workload (or none: each) and measure, as they were written
    is_below: bool
    percent: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "SIDE [WORKLOAD] MEASURE < -5%". Raises UsageError."""
        found = _FORM.fullmatch(text)
        if found is None:
            raise UsageError(f"{text!r} is not a threshold: {_HELP}.")
        measure = found["of"].split()[-1]
        if measure not in MEASURES:
            raise UsageError(f"{measure!r} is not a measure: take one of {', '.join(MEASURES)}.")
        percent = float(found["percent"])
        if percent > _MOST_PERCENT:
            raise UsageError(f"{text!r} is more than anything changes by: {_HELP}.")
        if percent <= -100:
            raise UsageError(f"{text!r} can never be: nothing falls by 100 % or more.")
        return cls(text.strip(), " ".join(found["of"].split()), found["than"] == "<", percent)

    @property
    def ratio(self) -> float:
        """The ratio that must not be passed."""
        return 1 + self.percent / 100

    def judge(self, changes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return what it says of each change that it is about.

        It `fires` only if the whole interval of the ratio lies beyond it, and `holds` only if none
        of it does; otherwise it is `not shown`, with the change that would have made it fire. What
        two processes of one programme may differ by is for and against it, where processes stayed.
        On a host too busy to compare neither is shown. Raises UsageError if it is about none.
        """
        mine = [each for each in changes if self.of in _names(each)]
        if not mine:
            known = dict.fromkeys(name for each in changes for name in _names(each))
            raise UsageError(f"{self.text!r} is about nothing that both runs have: {_some(known)}.")
        return [self._judged(each) for each in mine]

    def _judged(self, each: Mapping[str, Any]) -> dict[str, Any]:
        about = {name: each[name] for name in ("side", "workload", "measure", "ratio")}
        found = {"threshold": self.text, **about, "low": each["low"], "high": each["high"]}
        if each["ratio"] is None:
            return found | _not_shown(each["why"])
        if each["outcome"] == BUSY:
            return found | _not_shown(f"{BUSY}: {why_busy(each)}")
        slack = each["least"] / LEAST
        below, above = self.ratio / slack, self.ratio * slack
        fires_from, holds_to = (below, above) if self.is_below else (above, below)
        edges = (each["low"], each["high"])
        fires = all(self._is_beyond(edge, fires_from) for edge in edges)
        holds = not any(self._is_beyond(edge, holds_to) for edge in edges)
        outcome = "fires" if fires else "holds" if holds else "not shown"
        # What is beyond it must be so with the end of the interval that is nearer to it.
        needed = fires_from * each["ratio"] / each["high" if self.is_below else "low"]
        return found | {"outcome": outcome, "would_fire_at": needed}

    def _is_beyond(self, edge: float, limit: float) -> bool:
        return edge < limit if self.is_below else edge > limit


def _not_shown(why: str) -> dict[str, Any]:
    return {"outcome": "not shown", "would_fire_at": None, "why": why}


def _names(change: Mapping[str, Any]) -> tuple[str, str]:
    side, workload, measure = (change[name] for name in ("side", "workload", "measure"))
    return f"{side} {measure}", f"{side} {workload} {measure}"


def _some(names: Mapping[str, None]) -> str:
    found = list(names)
    return ", ".join(found[:6]) + (", ..." if len(found) > 6 else "") or "they share no side"
