"""The page of one browser: lanes, books, words and series, redrawn twenty times a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bokeh.layouts import column
from bokeh.models import Button, Select
from jinja2 import Environment, PackageLoader

from poolproof.live import panels
from poolproof.live.controls import controls
from poolproof.live.drawing import SERIES, SeriesPlot, SidePlot
from poolproof.live.flower.panel import flower_panel
from poolproof.live.lanes import WINDOW_S
from poolproof.live.panels import beside
from poolproof.report import plots
from poolproof.report.theme import EITHER

if TYPE_CHECKING:
    from bokeh.document import Document

    from poolproof.live.show import Show
    from poolproof.live.stage import Stage

FRAME_MS: Final = 50
#: Books, series and single bars change more slowly than lanes do.
_EVERY: Final = 10
#: Plots of what was measured are made anew each time, and turns are short.
_SELDOM: Final = 40
#: A line of its own where the screen is narrow.
_WIDE: Final = {"flex": "1 1 18rem", "min-width": "18rem"}
_WINDOWS: Final = ("20", "10", "5", "2", "1", "0.5")


def build(document: Document, show: Show) -> None:
    """Fill a browser's document, and keep it up to date for as long as it is open."""
    page = Page(document, show)
    document.title = "poolproof"
    loader = PackageLoader("poolproof.live", ".")
    document.template = Environment(loader=loader, autoescape=True).get_template("page.html.jinja")
    document.add_periodic_callback(page.draw, FRAME_MS)
    page.draw()


class Page:
    """What one browser sees."""

    def __init__(self, document: Document, show: Show) -> None:
        self.document = document
        self.show = show
        self._frame = 0
        self._shown: object = None  #: what the layout was made for
        self._sides: dict[str, SidePlot] = {}
        self._series: list[SeriesPlot] = []
        self._head, self._news = panels.panel(), panels.panel()
        #: Always to be seen, however far one has scrolled.
        self._books = panels.panel(styles={"position": "sticky", "top": "0", "z-index": "2"})
        self._window_s = WINDOW_S
        self._still = False  #: the lanes stand still, for this browser alone
        self._measured = column(sizing_mode="stretch_width")
        self._measured_count = 0
        self._report = panels.panel()
        self._flower = panels.panel()

    def draw(self) -> None:
        """Bring the page up to date."""
        with self.show.lock:
            self._draw()

    def _draw(self) -> None:
        self.show.advance()  # what came since its timer's last time is in this frame already
        stage, now_ns = self.show.stage, self.show.now_ns
        if (shown := (stage.run, tuple(stage.sides), stage.plan, stage.closed)) != self._shown:
            self._shown = shown
            self._lay_out()
        if not self._still:
            for label, side in stage.sides.items():
                self._sides[label].show(side, now_ns)
        if self._frame % _EVERY == 0:
            self._draw_slowly(stage, now_ns)
        self._frame += 1

    def _lay_out(self) -> None:
        stage = self.show.stage
        labels = list(stage.sides)
        self._sides = {label: SidePlot(label, panels.panel()) for label in labels}
        self._series = [SeriesPlot.of(name, labels) for name in SERIES]
        self._measured_count, self._measured.children, self._report.text = 0, [], ""
        self._still = False
        self._zoom(self._window_s)
        lanes = [
            column(each.plot, each.tray, sizing_mode="stretch_width")
            for each in self._sides.values()
        ]
        self.document.clear()
        self.document.add_root(
            column(
                self._head,
                *controls(self.show),
                self._news,
                self._books,
                beside(*(each.plot for each in self._series)),
                *([beside(*self._view(), panels.panel(panels.key(), _WIDE))] if lanes else []),
                *lanes,
                self._flower,
                self._measured,
                self._report,
                sizing_mode="stretch_width",
                name="page",
            )
        )

    # --- what this browser looks at -----------------------------------------------------------

    def _view(self) -> list[Any]:
        shown = Select(
            title="Seconds shown", value=f"{self._window_s:g}", options=list(_WINDOWS), width=120
        )
        shown.on_change("value", lambda _name, _old, new: self._zoom(float(new)))
        still = Button(label="Hold the picture", width=150, align="end")

        def hold() -> None:
            self._hold(still=not self._still)
            still.label = "Let it go on" if self._still else "Hold the picture"

        still.on_click(hold)
        return [shown, still]

    def _zoom(self, window_s: float) -> None:
        self._window_s = window_s
        for each in self._sides.values():
            each.zoom(window_s)

    def _hold(self, *, still: bool) -> None:
        """Stop or go on; in a picture that stands still, more tasks can be told apart."""
        self._still = still
        if still:
            with self.show.lock:
                stage, now_ns = self.show.stage, self.show.now_ns
                for label, side in stage.sides.items():
                    self._sides[label].show(side, now_ns)
                    self._sides[label].show_bars(stage, side, now_ns, still=True)

    # --- what changes twice a second ----------------------------------------------------------

    def _draw_slowly(self, stage: Stage, now_ns: int) -> None:
        self._head.text = panels.head(self.show)
        self._news.text = panels.news(stage, now_ns)
        self._books.text = panels.books(list(stage.sides.values()))
        self._flower.text = flower_panel(self.show)
        if not self._still:
            for label, side in stage.sides.items():
                self._sides[label].show_bars(stage, side, now_ns, still=False)
                self._sides[label].tray.text = panels.tray(side, now_ns)
            for series in self._series:
                series.show(stage, now_ns)
        if self._frame % _SELDOM == 0:
            self._show_measured(stage)
        if stage.closed and not self._report.text and self.show.report(stage.run):
            self._report.text = panels.report(stage.run)

    def _show_measured(self, stage: Stage) -> None:
        """Show what a comparison has found so far, with the plots that its report will have."""
        count = stage.measured.count
        if count == self._measured_count or count % max(1, len(stage.sides)):
            return  # nothing new, or the middle of a turn
        self._measured_count = count
        summary = stage.measured.summary(list(stage.sides))
        workloads = stage.measured.workloads
        drawn = [plots.throughput(summary, workload, EITHER) for workload in workloads]
        for plot, workload in zip(drawn, workloads, strict=True):
            plot.title.text, plot.title.text_color = workload, EITHER.text
            plot.min_width = 290
        pairs = summary["comparisons"]
        words = [panels.panel(panels.so_far(summary))] if pairs else []
        ratios = [plots.ratios(pairs, EITHER)] if pairs and len(stage.sides) == 2 else []
        self._measured.children = [*words, *ratios, beside(*drawn)]
