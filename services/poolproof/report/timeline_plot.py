"""The timeline of a crash as a plot: what each slot ran around the fault."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from bokeh.models import ColumnDataSource, Range1d, Span

from poolproof.report.figures import seconds
from poolproof.report.frames import hover, row_frame

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bokeh.plotting import figure

    from poolproof.report.theme import Theme

    Summary: TypeAlias = "Mapping[str, Any]"
    Figure: TypeAlias = figure

_ROLES: Final = ("innocent", "victim", "poison")


def timeline(around: Summary, theme: Theme) -> Figure:
    """Return what each slot ran around a fault: see `judge.timeline`."""
    slots = [_slot_name(slot) for slot in around["slots"]]
    plot = row_frame(slots, theme, "seconds since the fault")
    plot.x_range = Range1d(-around["before_s"], around["after_s"])
    looks: dict[str, dict[str, Any]] = {
        "innocent": {"fill_color": "colour", "line_color": None},
        "victim": {
            "fill_color": theme.page,
            "line_color": theme.victim,
            "line_width": 2,
            "hatch_pattern": "right_diagonal_line",
            "hatch_color": theme.victim,
            "hatch_scale": 6,
            "hatch_weight": 2,
        },
        "poison": {"fill_color": theme.poison, "line_color": theme.poison},
    }
    bars = list(_bars(around, theme))
    for role in _ROLES:
        mine = [bar for bar in bars if bar["role"] == role]
        if mine:
            source = ColumnDataSource({key: [bar[key] for bar in mine] for key in mine[0]})
            plot.hbar("slot", left="left", right="right", height=0.66, source=source, **looks[role])
    _deaths(plot, around, theme)
    plot.add_layout(
        Span(
            location=0,
            dimension="height",
            line_color=theme.poison,
            line_width=2,
            line_dash="dashed",
        )
    )
    for mark in around["marks"]:
        plot.add_layout(
            Span(location=mark["at_s"], dimension="height", line_color=theme.line, line_width=2)
        )
    hover(plot, [("task @number", "@what"), ("", "@took")])
    return plot


def _slot_name(slot: Summary) -> str:
    pid, tid = slot["pid"], slot["tid"]
    return f"process {pid}" if pid == tid else f"{pid}, thread {tid}"


def _bars(around: Summary, theme: Theme) -> Iterator[dict[str, Any]]:
    for slot in around["slots"]:
        for attempt, colour in zip(slot["attempts"], cycle(theme.innocent), strict=False):
            end_s = around["after_s"] if attempt["end_s"] is None else attempt["end_s"]
            yield {
                "slot": _slot_name(slot),
                "left": max(attempt["start_s"], -around["before_s"]),
                "right": end_s,
                "role": attempt["role"],
                "colour": colour,
                "number": attempt["number"],
                "what": f"{attempt['role']}, {attempt['how']}; in the end {attempt['verdict']}",
                "took": seconds(end_s - attempt["start_s"]),
            }


def _deaths(plot: Figure, around: Summary, theme: Theme) -> None:
    gone = [slot for slot in around["slots"] if slot["died_s"] is not None]
    if gone:
        places = ([slot["died_s"] for slot in gone], [_slot_name(slot) for slot in gone])
        plot.scatter(*places, marker="x", size=16, line_width=3, color=theme.victim)
