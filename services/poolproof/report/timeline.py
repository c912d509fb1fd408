"""A timeline as text: a row a slot, time as columns, the fault's instant marked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Json: TypeAlias = "Mapping[str, Any]"

_CELLS: Final = 60
#: Seconds that are written under the axis, at most: each takes up to seven cells.
_TICKS: Final = 8
#: Innocent tasks of a slot take turns, so that one can be told from the next.
_INNOCENT: Final = "━─"
_MARKS: Final = {"poison": "▓", "victim": "░"}
_CUT: Final = "✗"
_IDLE: Final = " "

LEGEND: Final = (
    "━ ─ innocent tasks, in turns   ░ interrupted   ▓ the poison   ✗ cut off   ┊ the fault"
)


def lines(timeline: Json) -> list[str]:
    """Return the timeline as lines of one width: a heading, the axis, a line a slot, the marks."""
    found = [heading(timeline), _axis(timeline)]
    found += [f"{_label(slot):>15} {_row(timeline, slot)}" for slot in timeline["slots"]]
    found += [f"{mark['at_s']:+15.2f} s {mark['what']}" for mark in timeline["marks"]]
    return [line.rstrip() for line in found]


def heading(timeline: Json) -> str:
    """Return what it is a timeline of."""
    policy = f", {timeline['policy']}" if "policy" in timeline else ""
    return f"{timeline['fault']} on {timeline['pool']}{policy}"


def markdown(timelines: list[dict[str, Any]]) -> str:
    """Return timelines as Markdown, each in a block of code."""
    parts = [f"### {heading(each)}\n\n```text\n{_body(each)}\n```" for each in timelines]
    return "\n\n".join([*parts, LEGEND]) + "\n"


def text(timelines: list[dict[str, Any]]) -> str:
    """Return timelines for a terminal."""
    return "\n\n".join(["\n".join(lines(each)) for each in timelines] + [LEGEND]) + "\n"


# --- parts ----------------------------------------------------------------------------------------


def _body(timeline: Json) -> str:
    return "\n".join(lines(timeline)[1:])


def _label(slot: Json) -> str:
    return str(slot["pid"]) if slot["pid"] == slot["tid"] else f"{slot['pid']}/{slot['tid']}"


def _column(timeline: Json, t_s: float) -> int:
    share: float = (t_s + timeline["before_s"]) / (timeline["before_s"] + timeline["after_s"])
    return min(_CELLS, max(0, round(share * _CELLS)))


def _axis(timeline: Json) -> str:
    """Return the seconds since the fault, each under its column; the fault as a mark."""
    row = [_IDLE] * (_CELLS + 8)
    every = math.ceil((timeline["before_s"] + timeline["after_s"]) / _TICKS)
    before, after = int(timeline["before_s"]) // every, int(timeline["after_s"]) // every
    for second in range(-before * every, after * every + 1, every):
        for place, letter in enumerate(f"{second:+d} s" if second else "┊fault"):
            row[_column(timeline, second) + place] = letter
    return " " * 16 + "".join(row)


def _row(timeline: Json, slot: Json) -> str:
    row = [_IDLE] * (_CELLS + 1)
    row[_column(timeline, 0.0)] = "┊"
    for turn, attempt in enumerate(slot["attempts"]):
        for column, letter in _span(timeline, attempt, turn):
            row[column] = letter
    return "".join(row)


def _span(timeline: Json, attempt: Json, turn: int) -> Iterator[tuple[int, str]]:
    end_s = attempt["end_s"]
    first = _column(timeline, attempt["start_s"])
    last = _CELLS if end_s is None else max(first + 1, _column(timeline, end_s))
    letter = _MARKS.get(attempt["role"], _INNOCENT[turn % 2])
    fault = _column(timeline, 0.0)
    for column in range(first, last):
        yield column, "┊" if column == fault and attempt["role"] == "innocent" else letter
    if attempt["how"] == "cut" and end_s is not None:
        yield last, _CUT
