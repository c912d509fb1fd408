"""The plots: pure functions from a summary to Bokeh figures, for the HTML report and the page."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from bokeh.models import (
    ColumnDataSource,
    FixedTicker,
    NumeralTickFormatter,
    Range1d,
    Span,
)

from poolproof.judge.outcome import LESS, MORE
from poolproof.judge.performance.memory import measure
from poolproof.report.content import outcome
from poolproof.report.figures import size
from poolproof.report.frames import frame, hover, row_frame
from poolproof.report.theme import MARKERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bokeh.plotting import figure

    from poolproof.report.theme import Theme

    Summary: TypeAlias = "Mapping[str, Any]"
    Figure: TypeAlias = figure

#: Parts of a task's time, in the order in which it passes through them -> what they are called.
PARTS: Final = {
    "queued": "in the queue",
    "prefetched": "in the worker",
    "running": "running",
    "acknowledging": "acknowledging",
    "total": "in all",
}
#: Ticks of a ratio: few enough to be read, and 1 is always among them.
_RATIOS: Final = (0.05, 0.1, 0.2, 0.33, 0.5, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 3, 5, 10, 20)


def throughput(summary: Summary, workload: str, theme: Theme) -> Figure:
    """Return the tasks a second of every side: a small dot a block, a large one the median."""
    rates = _of_workload(summary, workload, "throughput_per_s")
    plot = row_frame(list(rates), theme, "tasks a second")
    plot.x_range = Range1d(0, 1.08 * max(max(of["blocks"]) for of in rates.values()))
    plot.xaxis.formatter = NumeralTickFormatter(format="0,0.[0]")
    for index, side in _places(summary, rates):
        look = {"marker": MARKERS[index % len(MARKERS)], "color": theme.side(index)}
        blocks = ColumnDataSource(
            {"x": rates[side]["blocks"], "y": [side] * len(rates[side]["blocks"])}
        )
        plot.scatter("x", "y", source=blocks, size=7, alpha=0.45, **look)
        middle = ColumnDataSource({"x": [rates[side]["median"]], "y": [side]})
        plot.scatter("x", "y", source=middle, size=15, line_color=theme.text, **look)
    hover(plot, [("", "@y"), ("tasks a second", "@x{0,0.0}")])
    return plot


def ratios(comparisons: Sequence[Summary], theme: Theme) -> Figure:
    """Return one side's throughput divided by the other's for each workload, with its interval."""
    names = [one["workload"] for one in comparisons]
    plot = row_frame(names, theme, "times as many tasks a second", x_axis_type="log")
    low = min(0.8, *(one["low"] for one in comparisons)) / 1.1
    high = max(1.25, *(one["high"] for one in comparisons)) * 1.1
    plot.x_range = Range1d(low, high)
    plot.xaxis.ticker = FixedTicker(ticks=_ratio_ticks(low, high))
    plot.xaxis.formatter = NumeralTickFormatter(format="0.[00]")
    plot.add_layout(Span(location=1, dimension="height", line_color=theme.text, line_width=1.5))
    colours = [_winner(one, theme) for one in comparisons]
    source = ColumnDataSource(
        {
            "y": names,
            "ratio": [one["ratio"] for one in comparisons],
            "low": [one["low"] for one in comparisons],
            "high": [one["high"] for one in comparisons],
            "colour": colours,
            "outcome": [outcome(one) for one in comparisons],
        }
    )
    plot.segment("low", "y", "high", "y", source=source, line_width=5, color="colour", alpha=0.55)
    plot.scatter("ratio", "y", source=source, size=13, color="colour", line_color=theme.text)
    span = "@ratio{0.00} (@low{0.00} to @high{0.00})"
    hover(plot, [("", "@y: @outcome"), ("ratio", span)])
    return plot


def effort(summary: Summary, workload: str, theme: Theme) -> Figure:
    """Return the CPU time of a task on every side, of all processes of its pool."""
    found = _of_workload(summary, workload, "effort")
    plot = row_frame(list(found), theme, "milliseconds of CPU a task")
    values = {side: 1e3 * of["cpu_s_per_task"] for side, of in found.items()}
    plot.x_range = Range1d(0, 1.08 * max(values.values()))
    for index, side in _places(summary, found):
        source = ColumnDataSource({"y": [side], "x": [values[side]]})
        plot.hbar("y", right="x", source=source, height=0.62, color=theme.side(index), alpha=0.85)
    hover(plot, [("", "@y"), ("CPU a task", "@x{0.000} ms")])
    return plot


def sweep(summary: Summary, workload: str, theme: Theme) -> Figure:
    """Return the tasks a second of every pool by the number of its slots, with their intervals."""
    curves = [curve for curve in summary["sweep"]["curves"] if curve["workload"] == workload]
    plot = frame(theme, "slots", height=320, x_axis_type="log", y_axis_label="tasks a second")
    plot.y_range.start = 0
    plot.xaxis.ticker = FixedTicker(ticks=list(summary["sweep"]["concurrency"]))
    plot.xaxis.formatter = NumeralTickFormatter(format="0")
    plot.yaxis.formatter = NumeralTickFormatter(format="0,0.[0]")
    for index, curve in enumerate(curves):
        points = [p for p in curve["points"] if p["throughput_per_s"] is not None]
        look = {"color": theme.side(index), "legend_label": curve["pool"]}
        source = ColumnDataSource(
            {
                "x": [p["concurrency"] for p in points],
                "y": [p["throughput_per_s"] for p in points],
                "low": [p["low"] or p["throughput_per_s"] for p in points],
                "high": [p["high"] or p["throughput_per_s"] for p in points],
                "pool": [curve["pool"]] * len(points),
            }
        )
        plot.segment("x", "low", "x", "high", source=source, line_width=4, alpha=0.45, **look)
        dash = "solid" if index % 2 == 0 else "dashed"
        plot.line("x", "y", source=source, line_width=2, line_dash=dash, **look)
        marker = MARKERS[index % len(MARKERS)]
        plot.scatter("x", "y", source=source, size=10, marker=marker, **look)
    plot.legend.background_fill_alpha = 0
    plot.legend.border_line_color = None
    plot.legend.label_text_color = theme.text
    plot.legend.location = "top_left"
    hover(plot, [("@pool", "@x slots"), ("tasks a second", "@y{0,0.0}")])
    return plot


def latency(summary: Summary, workload: str, theme: Theme) -> Figure:
    """Return half, nine tenths, 99 % of the tasks: how long each part of their time took, in ms."""
    found = {
        side: of["latency_s"] for side, of in _of_workload(summary, workload, "open_loop").items()
    }
    rows = [(PARTS[part], side) for part in PARTS for side in found if found[side].get(part)]
    plot = row_frame(rows, theme, "milliseconds", x_axis_type="log")
    plot.xaxis.formatter = NumeralTickFormatter(format="0,0.[000]")
    names = {words: part for part, words in PARTS.items()}
    for index, side in _places(summary, found):
        mine = [row for row in rows if row[1] == side]
        points = [
            (row, name, 1e3 * at)
            for row in mine
            for name, at in sorted(found[side][names[row[0]]].items())
            if name.startswith("p") and at and at > 0
        ]
        source = ColumnDataSource(
            {
                "y": [row for row, _, _ in points],
                "x": [at for *_, at in points],
                "what": [name for _, name, _ in points],
                "size": [13 if name == "p50" else 8 for _, name, _ in points],
            }
        )
        colour = theme.side(index)
        for row in mine:
            line = [at for at_row, _, at in points if at_row == row]
            plot.line(line, [row] * len(line), color=colour, alpha=0.5, line_width=3)
        marker = MARKERS[index % len(MARKERS)]
        plot.scatter("x", "y", source=source, size="size", marker=marker, color=colour)
    hover(plot, [("", "@y"), ("@what", "@x{0,0.000} ms")])
    return plot


def memory(summary: Summary, theme: Theme) -> Figure:
    """Return the memory of every side's processes, idle and under load."""
    by = measure(summary["pools"])
    states = {f"{by}_{state}_bytes": state for state in ("idle", "loaded", "after")}
    rows, values, colours = [], [], []
    for index, (side, of) in enumerate(summary["pools"].items()):
        for key, words in states.items():
            if of["memory"].get(key) is not None:
                rows.append((side, words))
                values.append(of["memory"][key] / 1e6)
                colours.append(theme.side(index))
    plot = row_frame(rows, theme, "MB")
    plot.x_range = Range1d(0, 1.08 * max(values))
    texts = [size(value * 1e6) for value in values]
    source = ColumnDataSource({"y": rows, "x": values, "colour": colours, "text": texts})
    plot.hbar("y", right="x", source=source, height=0.62, color="colour", alpha=0.85)
    hover(plot, [("", "@y"), ("", "@text")])
    return plot


# --- parts ----------------------------------------------------------------------------------------


def _of_workload(summary: Summary, workload: str, measure: str) -> dict[str, Any]:
    return {
        side: of["workloads"][workload][measure]
        for side, of in summary["pools"].items()
        if of["workloads"].get(workload, {}).get(measure)
    }


def _places(summary: Summary, found: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    """Yield the sides found with their place among all: a side looks the same in every plot."""
    for index, side in enumerate(summary["pools"]):
        if side in found:
            yield index, side


def _ratio_ticks(low: float, high: float) -> list[float]:
    """Return 1 and, on both sides of it, ticks far enough apart to be read on a phone."""
    apart = (high / low) ** 0.16
    found = [1.0]
    for tick in sorted(_RATIOS, key=lambda tick: abs(math.log(tick))):
        if low <= tick <= high and all(max(tick / t, t / tick) >= apart for t in found):
            found.append(tick)
    return sorted(found)


def _winner(one: Summary, theme: Theme) -> str:
    return {MORE: theme.side(0), LESS: theme.side(1)}.get(one["outcome"], theme.innocent[0])
