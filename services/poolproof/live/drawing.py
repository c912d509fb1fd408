"""The plots of the page: a side's lanes with what befell them, and series over time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from bokeh.models import ColumnDataSource, Div, FixedTicker, HoverTool, Range1d
from bokeh.plotting import figure

from poolproof.live.lanes import WINDOW_S
from poolproof.live.series import SPAN_S
from poolproof.report.theme import EITHER

if TYPE_CHECKING:
    from poolproof.live.lanes import Bar, Lane
    from poolproof.live.side import Side
    from poolproof.live.stage import Stage

_LANE_PX: Final = 26
_NAMES_PX: Final = 160  #: the same for all sides, so that their clocks stand below each other
#: Above this, single tasks cannot be told apart; a picture that stands still bears more.
_BARS: Final = 400
_BARS_STILL: Final = 2_000
SERIES: Final = {
    "throughput": "tasks that ended, a second",
    "latency": "median time a task ran, ms",
    "memory": "memory of all processes, MB",
    "backlog": "tasks in the queue",
}


class SidePlot:
    """The lanes of one side."""

    def __init__(self, label: str, tray: Div) -> None:
        self.tray = tray
        self._names: tuple[str, ...] = ()
        self._window_s = WINDOW_S
        #: The run's own seconds: what is drawn on it moves on with every frame by itself.
        self._clock = Range1d(-WINDOW_S, 0)
        self._image = ColumnDataSource({n: [] for n in ("image", "x", "y", "dw", "dh", "newest")})
        self._bars = ColumnDataSource({n: [] for n in _BAR})
        self._deaths = ColumnDataSource({n: [] for n in ("x", "y0", "y1")})
        self._told = ColumnDataSource({n: [] for n in ("x", "y", "what")})
        self.plot = self._draw(label)

    def zoom(self, window_s: float) -> None:
        """Show the last so many seconds."""
        self._window_s = window_s
        self.plot.x_range.start = -window_s
        self._clock.start = float(self._clock.end) - window_s

    def show(self, side: Side, now_ns: int) -> None:
        """Draw the lanes as they are."""
        lanes = list(side.lanes)
        height = max(1, len(lanes))
        self._name(tuple(lane.name for lane in lanes), height)
        self._image.data = {
            "image": [side.lanes.image(now_ns)],
            "x": [-WINDOW_S],
            "y": [0],
            "dw": [WINDOW_S],
            "dh": [height],
            "newest": [side.lanes.newest()],  # nothing draws it: `scripts/bench live` reads it
        }
        self._clock.update(start=now_ns / 1e9 - self._window_s, end=now_ns / 1e9)
        # Mostly there are none, and each message costs its time.
        for source, data in (
            (self._deaths, _deaths(side, lanes, now_ns)),
            (self._told, _told(side, lanes, now_ns)),
        ):
            if data != source.data:
                source.data = data

    def show_bars(self, stage: Stage, side: Side, now_ns: int, *, still: bool) -> None:
        """Outline single tasks, if there are so few that they can be told apart."""
        most = _BARS_STILL if still else _BARS
        self._bars.data = _bars(stage, side, now_ns, self._window_s, most)

    def _name(self, names: tuple[str, ...], height: int) -> None:
        if names == self._names:
            return
        self._names = names
        plot = self.plot
        plot.y_range.end = height
        plot.height = _LANE_PX * max(height, 2) + 70
        places = [height - index - 0.5 for index in range(len(names))]
        plot.yaxis.ticker = FixedTicker(ticks=places)
        plot.yaxis.major_label_overrides = dict(zip(places, names, strict=True))
        plot.ygrid.ticker = FixedTicker(ticks=list(range(height + 1)))

    def _draw(self, label: str) -> Any:
        plot = _plain(
            title=label,
            x_range=Range1d(-WINDOW_S, 0),
            y_range=Range1d(0, 1),
            height=2 * _LANE_PX + 70,
            min_border_left=_NAMES_PX,
            x_axis_label="seconds before now",
        )
        plot.title.text_font_size = "15px"
        plot.yaxis.major_label_text_font_size = "11px"
        plot.ygrid.grid_line_color = EITHER.text
        plot.ygrid.level = "overlay"
        plot.image_rgba("image", "x", "y", "dw", "dh", source=self._image)
        plot.extra_x_ranges = {"clock": self._clock}
        look = {
            "fill_alpha": 0,
            "line_color": EITHER.line,
            "line_width": 1,
            "x_range_name": "clock",
        }
        quads = plot.quad("left", "right", "top", "bottom", source=self._bars, **look)
        red = EITHER.victim
        plot.segment("x", "y0", "x", "y1", source=self._deaths, line_width=3, line_color=red)
        words = {"text_color": red, "x_offset": 4, "y_offset": 14, "text_font_size": "12px"}
        plot.text("x", "y", "what", source=self._told, **words)
        plot.add_tools(HoverTool(renderers=[quads], tooltips=_TIPS))
        return plot


_BAR: Final = (
    *("left", "right", "bottom", "top"),
    *("number", "who", "began", "ended", "took", "how", "state"),
)
_TIPS: Final = [
    ("task", "@number"),
    ("slot", "@who"),
    ("began", "@began"),
    ("ended", "@ended"),
    ("ran", "@took{0.000} s"),
    ("this attempt", "@how"),
    ("in the books", "@state"),
]


@dataclass(slots=True)
class SeriesPlot:
    """One measure of all sides over the last minutes."""

    name: str  #: a key of `SERIES`
    plot: Any
    sources: dict[str, ColumnDataSource]

    @classmethod
    def of(cls, name: str, labels: list[str]) -> SeriesPlot:
        """Return it with nothing drawn yet."""
        plot = _plain(title=SERIES[name], height=140, min_width=290, x_range=Range1d(-SPAN_S, 0))
        plot.y_range.start = 0
        plot.ygrid.grid_line_color = EITHER.line
        sources = {}
        for index, label in enumerate(labels):
            source = sources[label] = ColumnDataSource({"x": [], "y": []})
            dash = "solid" if index % 2 == 0 else "dashed"
            look = {"color": EITHER.side(index), "line_dash": dash, "line_width": 2}
            plot.line("x", "y", source=source, legend_label=label, **look)
        _quiet_legend(plot)
        return cls(name, plot, sources)

    def show(self, stage: Stage, now_ns: int) -> None:
        """Draw it as it is."""
        for label, source in self.sources.items():
            ages, values = getattr(stage.sides[label].series, self.name)(now_ns)
            source.data = {"x": ages, "y": values}


def _quiet_legend(plot: Any) -> None:
    plot.legend.location = "top_left"
    plot.legend.background_fill_alpha = 0
    plot.legend.border_line_color = None
    plot.legend.label_text_color = EITHER.text
    plot.legend.label_text_font_size = "11px"
    plot.legend.padding = plot.legend.margin = 0


def _plain(**options: Any) -> Any:
    plot = figure(toolbar_location=None, sizing_mode="stretch_width", tools="", **options)
    plot.background_fill_color = plot.border_fill_color = None
    plot.outline_line_color = None
    plot.grid.grid_line_color = None
    plot.title.text_color = EITHER.text
    for axis in plot.axis:
        axis.axis_line_color = axis.major_tick_line_color = EITHER.line
        axis.minor_tick_line_color = None
        axis.major_label_text_color = axis.axis_label_text_color = EITHER.text
        axis.axis_label_text_font_style = "normal"
    plot.xaxis.ticker.desired_num_ticks = 5
    return plot


# --- data -----------------------------------------------------------------------------------------


def _deaths(side: Side, lanes: list[Lane], now_ns: int) -> dict[str, list[float]]:
    """Return a mark across every lane that a death took down; an ordered stop leaves none."""
    deaths = {each.t_ns for each in side.happened if each.kind in {"exit", "child"}}
    found = [
        ((lane.died_ns - now_ns) / 1e9, float(len(lanes) - place))
        for place, lane in enumerate(lanes)
        if lane.died_ns is not None and lane.died_ns in deaths
    ]
    return {
        "x": [x for x, _ in found],
        "y0": [top - 1 for _, top in found],
        "y1": [top for _, top in found],
    }


#: A death so soon after a fault needs no name of its own.
_SAME_S: Final = 2.0


def _told(side: Side, lanes: list[Lane], now_ns: int) -> dict[str, list[Any]]:
    """Return the names of faults, and of deaths of the worker that no fault explains.

    Each stands at the highest lane that died of it, or on top if none did.
    """
    found: list[tuple[int, str]] = []
    for each in side.happened:
        shown = each.kind in {"fault", "exit"} and (now_ns - each.t_ns) / 1e9 < WINDOW_S
        if shown and not (found and (each.t_ns - found[-1][0]) / 1e9 < _SAME_S):
            found.append((each.t_ns, each.what))
    return {
        "x": [(t_ns - now_ns) / 1e9 for t_ns, _ in found],
        "y": [_place(lanes, t_ns) for t_ns, _ in found],
        "what": [what for _, what in found],
    }


def _place(lanes: list[Lane], t_ns: int) -> int:
    died = [
        len(lanes) - place
        for place, lane in enumerate(lanes)
        if lane.died_ns is not None and 0 <= (lane.died_ns - t_ns) / 1e9 < _SAME_S
    ]
    return max(died, default=max(1, len(lanes)))


def _bars(
    stage: Stage, side: Side, now_ns: int, window_s: float, most: int
) -> dict[str, list[Any]]:
    """Return the single tasks of a window; of too many, only those that a fault touched."""
    lanes = list(side.lanes)
    since_ns = now_ns - round(window_s * 1e9)
    tops = zip(range(len(lanes), 0, -1), lanes, strict=True)
    found = list(chain.from_iterable(_seen(top, lane, since_ns) for top, lane in tops))
    if len(found) > most or any(lane.forgot_after(since_ns) for lane in lanes):
        found = [each for each in found if each[2].look in {"cut", "poison"}]
    ends = [now_ns if bar.end_ns is None else bar.end_ns for _, _, bar in found]
    return {
        "left": [bar.start_ns / 1e9 for _, _, bar in found],
        "right": [end / 1e9 for end in ends],
        "bottom": [top - 1 for top, _, _ in found],
        "top": [top for top, _, _ in found],
        "number": [bar.number for _, _, bar in found],
        "who": [lane.name for _, lane, _ in found],
        "began": [stage.clock(bar.start_ns) for _, _, bar in found],
        "ended": ["" if bar.end_ns is None else stage.clock(bar.end_ns) for _, _, bar in found],
        "took": [(end - bar.start_ns) / 1e9 for end, (_, _, bar) in zip(ends, found, strict=True)],
        "how": [f"the poison, {b.how}" if b.look == "poison" else b.how for _, _, b in found],
        "state": [stage.tasks.state_of(bar.number).words for _, _, bar in found],
    }


def _seen(top: int, lane: Lane, since_ns: int) -> list[tuple[int, Lane, Bar]]:
    return [(top, lane, bar) for bar in lane.bars if bar.end_ns is None or bar.end_ns >= since_ns]
