"""The page of one browser: lanes, books, words and series, redrawn ten times a second."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from bokeh.layouts import column, row
from bokeh.models import (
    ColumnDataSource,
    Div,
    FixedTicker,
    HoverTool,
    InlineStyleSheet,
    Range1d,
)
from bokeh.plotting import figure
from jinja2 import Environment, PackageLoader

from poolproof.live import words
from poolproof.live.controls import controls
from poolproof.live.lanes import COLOURS, WINDOW_S
from poolproof.live.panel import panel
from poolproof.live.series import SPAN_S
from poolproof.live.stage import State

if TYPE_CHECKING:
    from bokeh.document import Document

    from poolproof.live.lanes import Lane
    from poolproof.live.show import Show
    from poolproof.live.stage import Side

FRAME_MS: Final = 100
_CSS: Final = files("poolproof.live") / "words.css"
#: Books, series and single bars change more slowly than lanes do.
_EVERY: Final = 5
_LANE_PX: Final = 26
_NAMES_PX: Final = 160  #: the same for all sides, so that their clocks stand below each other
_SAME_S: Final = 2.0
_BARS: Final = 400  #: above this, single tasks cannot be told apart
#: They stand on a light page and on a dark one.
_TEXT: Final = "#7d8590"
_LINE: Final = "rgba(128, 136, 148, 0.35)"
_SIDES: Final = ("#0a84d0", "#e07b00", "#12a37a", "#c2649c")
_STATES: Final = {
    State.QUEUED: "in the queue",
    State.PREFETCHED: "in the worker",
    State.RUNNING: "running",
    State.COMPLETED: "completed",
    State.REPEATED: "repeated",
    State.FAILED: "failed",
    State.CUT: "interrupted",
    State.STRANDED: "stranded",
    State.LOST: "lost",
}
_SERIES: Final = {
    "throughput": "tasks that ended, a second",
    "latency": "median time a task ran, ms",
    "memory": "memory of all processes, MB",
    "backlog": "tasks in the queue",
}


def build(document: Document, show: Show) -> None:
    """Fill a browser's document, and keep it up to date for as long as it is open."""
    page = Page(document, show)
    document.title = "poolproof"
    loader = PackageLoader("poolproof.live", ".")
    document.template = Environment(loader=loader, autoescape=True).get_template("page.html.jinja")
    document.add_periodic_callback(page.draw, FRAME_MS)
    page.draw()


@dataclass(slots=True)
class _SidePlot:
    """The lanes of one side."""

    plot: Any
    image: ColumnDataSource
    bars: ColumnDataSource
    marks: ColumnDataSource
    tray: Div
    names: tuple[str, ...] = ()


@dataclass(slots=True)
class Page:
    """What one browser sees."""

    document: Document
    show: Show
    _frame: int = 0
    _run: str | None = None
    _sides: dict[str, _SidePlot] = field(default_factory=dict)
    _series: dict[str, Any] = field(default_factory=dict)
    _head: Div = field(default_factory=lambda: _words(""))
    _news: Div = field(default_factory=lambda: _words(""))
    _books: Div = field(default_factory=lambda: _words(""))
    _flower: Div = field(default_factory=lambda: _words(""))

    def draw(self) -> None:
        """Bring the page up to date."""
        stage, now_ns = self.show.stage, self.show.now_ns
        if stage.run != self._run or set(stage.sides) != set(self._sides):
            self._lay_out()
        for label, side in stage.sides.items():
            self._draw_lanes(self._sides[label], side, now_ns)
        if self._frame % _EVERY == 0:
            self._draw_slowly(now_ns)
        self._frame += 1

    def _lay_out(self) -> None:
        stage = self.show.stage
        self._run = stage.run
        self._sides = {label: _side_plot(label) for label in stage.sides}
        self._series = {name: _series_plot(name, list(stage.sides)) for name in _SERIES}
        self.document.clear()
        lanes = [
            column(each.plot, each.tray, sizing_mode="stretch_width")
            for each in self._sides.values()
        ]
        plots = [plot for plot, _ in self._series.values()]
        self.document.add_root(
            column(
                self._head,
                *controls(self.show),
                self._news,
                *lanes,
                _beside(*plots),
                _beside(self._books, _words(_key())),
                self._flower,
                sizing_mode="stretch_width",
                name="page",
            )
        )

    # --- what changes with every frame --------------------------------------------------------

    def _draw_lanes(self, drawn: _SidePlot, side: Side, now_ns: int) -> None:
        lanes = list(side.lanes)
        names = tuple(lane.name for lane in lanes)
        height = max(1, len(lanes))
        if names != drawn.names:
            drawn.names = names
            drawn.plot.y_range.end = height
            drawn.plot.height = _LANE_PX * max(height, 2) + 70
            places = [height - index - 0.5 for index in range(len(names))]
            drawn.plot.yaxis.ticker = FixedTicker(ticks=places)
            drawn.plot.yaxis.major_label_overrides = dict(zip(places, names, strict=True))
            drawn.plot.ygrid.ticker = FixedTicker(ticks=list(range(height + 1)))
        drawn.image.data = {
            "image": [side.lanes.image(now_ns)],
            "x": [-WINDOW_S],
            "y": [0],
            "dw": [WINDOW_S],
            "dh": [height],
        }
        drawn.marks.data = _marks(side, now_ns, height)

    # --- what changes twice a second ----------------------------------------------------------

    def _draw_slowly(self, now_ns: int) -> None:
        stage = self.show.stage
        self._head.text = _head(self.show)
        told = [words.news(side, now_ns) for side in stage.sides.values()]
        said = "".join(f"<p>{escape(each)}</p>" for each in told if each)
        self._news.text = f'<div class="news" role="status" aria-live="polite">{said}</div>'
        self._books.text = _books(list(stage.sides.values()))
        self._flower.text = panel(self.show)
        for side in stage.sides.values():
            drawn = self._sides[side.label]
            drawn.bars.data = _bars(list(side.lanes), now_ns)
            drawn.tray.text = _tray(side, now_ns)
        for name, (_, sources) in self._series.items():
            for label, source in sources.items():
                ages, values = getattr(stage.sides[label].series, name)(now_ns)
                source.data = {"x": ages, "y": values}


# --- plots ----------------------------------------------------------------------------------------


def _words(text: str) -> Div:
    # Bokeh keeps each of its models apart from the page's style.
    return Div(
        text=text,
        sizing_mode="stretch_width",
        stylesheets=[InlineStyleSheet(css=_CSS.read_text("utf-8"))],
    )


def _beside(*parts: Any) -> Any:
    """Return a row that breaks where the screen is too narrow for it."""
    styles = {"flex-wrap": "wrap", "gap": "4px 18px"}
    return row(*parts, sizing_mode="stretch_width", styles=styles)


def _plain(**options: Any) -> Any:
    plot = figure(toolbar_location=None, sizing_mode="stretch_width", tools="", **options)
    plot.background_fill_color = plot.border_fill_color = None
    plot.outline_line_color = None
    plot.grid.grid_line_color = None
    plot.title.text_color = _TEXT
    for axis in plot.axis:
        axis.axis_line_color = axis.major_tick_line_color = _LINE
        axis.minor_tick_line_color = None
        axis.major_label_text_color = axis.axis_label_text_color = _TEXT
        axis.axis_label_text_font_style = "normal"
    plot.xaxis.ticker.desired_num_ticks = 5
    return plot


def _side_plot(label: str) -> _SidePlot:
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
    plot.ygrid.grid_line_color = _TEXT
    plot.ygrid.level = "overlay"
    image = ColumnDataSource({"image": [], "x": [], "y": [], "dw": [], "dh": []})
    bars = ColumnDataSource(_bars([], 0))
    marks = ColumnDataSource({"x": [], "y0": [], "y1": [], "what": []})
    plot.image_rgba("image", "x", "y", "dw", "dh", source=image)
    quads = plot.quad(
        "left", "right", "top", "bottom", source=bars, fill_alpha=0, line_color=_LINE, line_width=1
    )
    plot.segment("x", "y0", "x", "y1", source=marks, line_width=3, line_color="#d55e00")
    plot.text(
        "x",
        "y1",
        "what",
        source=marks,
        text_color="#d55e00",
        x_offset=4,
        y_offset=14,
        text_font_size="12px",
    )
    tips = [("task", "@number"), ("", "@who"), ("", "@what"), ("ran", "@took{0.000} s")]
    plot.add_tools(HoverTool(renderers=[quads], tooltips=tips))
    return _SidePlot(plot, image, bars, marks, _words(""))


def _series_plot(name: str, labels: list[str]) -> tuple[Any, dict[str, ColumnDataSource]]:
    plot = _plain(title=_SERIES[name], height=170, min_width=290, x_range=Range1d(-SPAN_S, 0))
    plot.y_range.start = 0
    plot.ygrid.grid_line_color = _LINE
    sources = {}
    for index, label in enumerate(labels):
        source = sources[label] = ColumnDataSource({"x": [], "y": []})
        look = {
            "color": _SIDES[index % len(_SIDES)],
            "line_dash": "solid" if index % 2 == 0 else "dashed",
        }
        plot.line("x", "y", source=source, line_width=2, legend_label=label, **look)
    plot.legend.location = "top_left"
    plot.legend.background_fill_alpha = 0
    plot.legend.border_line_color = None
    plot.legend.label_text_color = _TEXT
    plot.legend.label_text_font_size = "11px"
    plot.legend.padding = plot.legend.margin = 0
    return plot, sources


# --- data -----------------------------------------------------------------------------------------


def _marks(side: Side, now_ns: int, height: int) -> dict[str, list[Any]]:
    """Return faults and deaths of the worker; a death that a fault explains needs no name."""
    found: list[tuple[int, str]] = []
    for each in side.happened:
        if each.kind in {"fault", "exit"} and (now_ns - each.t_ns) / 1e9 < WINDOW_S:
            explained = bool(found) and (each.t_ns - found[-1][0]) / 1e9 < _SAME_S
            found.append((each.t_ns, "" if explained else each.what))
    count = len(found)
    return {
        "x": [(t_ns - now_ns) / 1e9 for t_ns, _ in found],
        "y0": [0] * count,
        "y1": [height] * count,
        "what": [what for _, what in found],
    }


def _bars(lanes: list[Lane], now_ns: int) -> dict[str, list[Any]]:
    """Return single tasks, if there are so few that they can be told apart."""
    found = [
        (height - 1, lane, bar)
        for height, lane in zip(range(len(lanes), 0, -1), lanes, strict=True)
        for bar in lane.bars
        if bar.end_ns is None or (now_ns - bar.end_ns) / 1e9 < WINDOW_S
    ]
    if len(found) > _BARS or any(len(lane.bars) == lane.bars.maxlen for lane in lanes):
        found = [each for each in found if each[2].look in {"cut", "poison"}]
    ends = [now_ns if bar.end_ns is None else bar.end_ns for _, _, bar in found]
    return {
        "left": [(bar.start_ns - now_ns) / 1e9 for _, _, bar in found],
        "right": [(end - now_ns) / 1e9 for end in ends],
        "bottom": [height for height, _, _ in found],
        "top": [height + 1 for height, _, _ in found],
        "number": [bar.number for _, _, bar in found],
        "who": [lane.name for _, lane, _ in found],
        "what": ["poison" if b.look == "poison" else b.how for _, _, b in found],
        "took": [(end - bar.start_ns) / 1e9 for end, (_, _, bar) in zip(ends, found, strict=True)],
    }


# --- words ----------------------------------------------------------------------------------------


def _head(show: Show) -> str:
    stage = show.stage
    if not stage.run:
        return "<h1>poolproof</h1><p>Waiting for a run to begin.</p>"
    state = "over" if stage.closed else "played again" if show.replay else "running"
    doing = [f"{side.label}: {side.workload}" for side in stage.sides.values() if side.workload]
    title = " against ".join(stage.sides)
    said = [f"Run {stage.run}, {state}", *doing, *([stage.phase] if stage.phase else [])]
    link = f' · <a href="{escape(show.flower)}">Flower</a>' if show.flower else ""
    return f'<h1>{escape(title)}</h1><p class="dim">{escape(" · ".join(said))}{link}</p>'


def _books(sides: list[Side]) -> str:
    heads = "".join(f'<th scope="col">{escape(side.label)}</th>' for side in sides)
    rows = "".join(
        f'<tr><th scope="row">{words_of}</th>'
        + "".join(f"<td>{side.counts[state]:,}</td>" for side in sides)
        + "</tr>"
        for state, words_of in _STATES.items()
        if any(side.counts[state] for side in sides) or state in {State.COMPLETED, State.LOST}
    )
    sums = "".join(f"<td>{side.enqueued:,}</td>" for side in sides)
    return (
        '<table class="books"><caption>The books: where every task is</caption>'
        f"<thead><tr><th></th>{heads}</tr></thead><tbody>{rows}</tbody>"
        f'<tfoot><tr><th scope="row">enqueued</th>{sums}</tr></tfoot></table>'
    )


def _tray(side: Side, now_ns: int) -> str:
    if not side.counts[State.STRANDED]:
        return '<p class="tray">Nothing is stranded.</p>'
    left = sorted(max(0.0, (due - now_ns) / 1e9) for due in side.due_ns.values())
    when = f", back in {left[0]:.1f} to {left[-1]:.1f} s" if left else ""
    chips = '<span class="chip"></span>' * min(len(left), 60)
    count = side.counts[State.STRANDED]
    return f'<p class="tray"><b>{count:,} stranded</b> in the broker{when} {chips}</p>'


def _key() -> str:
    """Return what the colours of the lanes mean."""
    rows = "".join(
        f'<li><span class="chip" style="background: {_css(COLOURS[look])}"></span> {text}</li>'
        for look, text in _LOOKS.items()
    )
    return f"<b>A lane is a slot: a child process, or a thread</b><ul>{rows}</ul>"


_LOOKS: Final = {
    "innocent": "an innocent task; the next one is lighter",
    "cut": "interrupted: it died with its slot",
    "poison": "the poison, which does the fault",
    "failed": "failed",
    "idle": "idle",
}


def _css(colour: tuple[int, int, int, int]) -> str:
    red, green, blue, alpha = colour
    return f"rgba({red}, {green}, {blue}, {alpha / 255:.2f})"
