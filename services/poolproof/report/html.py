"""The report as one HTML file that needs no network: words first, plots, then every table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from bokeh.embed import components
from bokeh.resources import Resources
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from poolproof.judge.performance.memory import measure
from poolproof.report import content, crash_tables, machine, plots, timeline_plot
from poolproof.report import timeline as as_text
from poolproof.report.details import build, called, details, provenance
from poolproof.report.theme import THEMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bokeh.plotting import figure

    from poolproof.report.tables import Summary, Table
    from poolproof.report.theme import Theme

Draw: TypeAlias = "Callable[[Theme], figure]"


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot of the page: drawn once for a light page and once for a dark one."""

    title: str
    words: str  #: what it shows, for whoever cannot see it
    draw: Draw


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page: plots, and the tables with the same figures below them."""

    title: str
    note: str
    plots: tuple[Plot, ...]
    tables: tuple[Table, ...]


#: How each figure was made, in the order in which a reader doubts them.
METHOD: Final = (
    (
        "Both sides get the same tasks in short blocks that take turns, in an order drawn by a "
        "seed, after every slot has run a warm-up task. A round has its own workers, and some "
        "blocks of each side; every round is kept."
    ),
    (
        "Throughput of a round is the tasks of its blocks divided by the time from each block's "
        "first start to its last end, added up, from records that each process writes itself and "
        "that survive its death."
    ),
    (
        "The ratio is taken round by round: what slows a machine down slows all sides on it. Its "
        "95 % interval is by signed ranks. One side did more if all of it is more than 1 % away "
        "from 1.00; they did the same if all of it is within 1 %; all else is too noisy, or too "
        "close, to call. Where others took more than a tenth of the host's CPU time nothing is "
        "compared."
    ),
    (
        "Memory is the proportional set size of all processes of a side: shared pages count once. "
        "Where the system does not tell it, it is the unique set size: shared pages do not count."
    ),
    (
        "Latency is from when a task was meant to be sent, not from when it was: an open loop at "
        "one rate for all sides. A percentile is only given if ten tasks lie beyond it."
    ),
    (
        "CPU time and context switches of a task are those of all processes of its side, read "
        "before and after a block, less what idling costs."
    ),
    (
        "poolproof's own processes take CPU beside what is measured: a supervisor on each worker's "
        "host, the others where the run is played. What they took is below: above 90 % of a core a "
        "figure is flagged as their limit, and not the pool's."
    ),
    (
        "Every task is accounted for one by one. Innocent tasks are all but the poisoned one; a "
        "task is lost only if no copy of it is left in the broker."
    ),
)

_PAGE: Final = "page.html.jinja"


def html(summary: Summary, timelines: Sequence[Summary] = ()) -> str:
    """Return the report as one self-contained HTML page.

    `timelines` are those of `judge.timeline`, one a crash.
    """
    sections = list(_sections(summary, timelines))
    models = _models(sections)
    # Bokeh refuses to make nothing of nothing.
    script, divs = components(models, wrap_script=True) if models else ("", {})
    page = Environment(
        loader=PackageLoader("poolproof.report", "."), autoescape=True, undefined=StrictUndefined
    ).get_template(_PAGE)
    return page.render(
        title=title(summary),
        run=summary["run"],
        caveat=content.caveat(summary),
        sentences=summary["sentences"],
        warnings=content.warnings(summary),
        sections=sections,
        divs={name: Markup(div) for name, div in divs.items()},  # noqa: S704  Bokeh's own
        themes=[theme.name for theme in THEMES],
        method=METHOD,
        facts=(*machine.facts(summary), *provenance(summary), *called(summary)),
        build=build(summary),
        details=details(summary),
        differences=content.differences(summary),
        hosts=machine.hosts(summary),
        plan=dict(summary["plan"] or {}),
        bokeh=Markup(Resources(mode="inline", components=["bokeh"], minified=True).render()),  # noqa: S704
        script=Markup(script),  # noqa: S704
    )


def title(summary: Summary) -> str:
    """Return what was compared."""
    return " against ".join(summary["pools"]) or "poolproof"


# --- parts ----------------------------------------------------------------------------------------


def _sections(summary: Summary, timelines: Sequence[Summary]) -> Iterator[Section]:
    yield from _comparisons(summary)
    yield from _sweeps(summary)
    for make in (_throughput, _efforts, _latency, _memory):
        section = make(summary)
        if section.plots or any(table.rows for table in section.tables):
            yield section
    yield from _crashes(summary, timelines)
    table = crash_tables.noticed(summary)
    if table.rows:
        yield Section(table.title, table.note, (), (table,))
    table = content.books(summary)
    yield Section(table.title, table.note, (), (table,))


def _comparisons(summary: Summary) -> Iterator[Section]:
    pairs = groupby(content.judged(summary), key=lambda one: (one["a"], one["b"]))
    for ((a, b), found), table in zip(pairs, content.comparisons(summary), strict=True):
        ones = list(found)
        note = f"Right of 1.00 it is more on {a}, left of it on {b}; a bar is a 95 % interval."
        plot = Plot("", f"Ratios of {a} to {b}.", partial(plots.ratios, ones))
        yield Section(table.title, note, (plot,), (table,))


def _throughput(summary: Summary) -> Section:
    table = content.throughput(summary)
    note = "Each small mark is a round, the large one the median of the rounds."
    return Section(
        table.title, note, _of_workloads(summary, plots.throughput, "throughput_per_s"), (table,)
    )


def _sweeps(summary: Summary) -> Iterator[Section]:
    names = dict.fromkeys(
        curve["workload"] for curve in (summary.get("sweep") or {"curves": ()})["curves"]
    )
    for workload, table in zip(names, content.sweeps(summary), strict=True):
        plot = Plot(
            "",
            f"{table.title}; the table has the figures.",
            partial(plots.sweep, summary, workload),
        )
        yield Section(table.title, table.note, (plot,), (table,))


def _efforts(summary: Summary) -> Section:
    table = content.efforts(summary)
    note = "CPU time of all processes of the pool, divided by the tasks; its main process included."
    return Section(table.title, note, _of_workloads(summary, plots.effort, "effort"), (table,))


def _latency(summary: Summary) -> Section:
    table = content.durations(summary)
    note = (
        f"{table.note} The large mark is the median, the small ones are the higher percentiles "
        "that the sample supports. The scale is logarithmic."
    )
    return Section(table.title, note, _of_workloads(summary, plots.latency, "open_loop"), (table,))


def _of_workloads(summary: Summary, draw: Callable[..., Any], measure: str) -> tuple[Plot, ...]:
    names = dict.fromkeys(
        name
        for of in summary["pools"].values()
        for name, figures in of["workloads"].items()
        if figures.get(measure)
    )
    return tuple(
        Plot(
            name, f"{name}, by pool; the table below has the figures.", partial(draw, summary, name)
        )
        for name in names
    )


def _memory(summary: Summary) -> Section:
    table = content.costs(summary)
    key = f"{measure(summary['pools'])}_loaded_bytes"
    known = any(of["memory"].get(key) for of in summary["pools"].values())
    plot = Plot(
        "", "Memory by pool; the table below has the figures.", partial(plots.memory, summary)
    )
    return Section(table.title, table.note, (plot,) if known else (), (table,))


def _crashes(summary: Summary, timelines: Sequence[Summary]) -> Iterator[Section]:
    for table in crash_tables.crashes(summary):
        drawn = tuple(
            Plot(
                as_text.heading(around),
                f"What {len(around['slots'])} slots ran around the fault.",
                partial(timeline_plot.timeline, around),
            )
            for around in timelines
            if table.title == f"What one {around['fault']} takes along"
        )
        note = f"{table.note} {_KEY}" if drawn else table.note
        yield Section(table.title, note, drawn, (table,))


_KEY: Final = (
    "A row is a slot. Solid bars are innocent tasks, hatched ones innocent tasks that were "
    "interrupted, the darkest (on a dark page: brightest) one is the poison; x is a process's end."
)


def _models(sections: Sequence[Section]) -> dict[str, Any]:
    return {
        f"{theme.name}-{place}-{index}": plot.draw(theme)
        for theme in THEMES
        for place, section in enumerate(sections)
        for index, plot in enumerate(section.plots)
    }
